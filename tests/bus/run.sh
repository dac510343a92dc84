#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the tests of the bus under $BUILD (default: build): each program on the in-process bus, and
# those that are for both over Kafka as well: at KAFKA_BOOTSTRAP_SERVERS, or a broker of its own
# (deploy/local/kafka.sh) in a folder that goes with it. Where no broker can be had it says so and
# goes on. Closes with the sum of all: "N passed, M failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
passed=0
failed=0
dir=

end() {
    if [ -n "$dir" ]; then
        deploy/local/kafka.sh stop "$dir" >/dev/null
        rm -rf "$dir"
    fi
}
trap end EXIT

run() { # BUS PROGRAM
    local output code bad=0
    output=$(BUS=$1 timeout 300 "$build/tests/bus/$2" 2>&1)
    code=$?
    if [[ $(tail -n 1 <<<"$output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        bad=${BASH_REMATCH[2]}
    fi
    if [ $code -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        printf '%s\n' "-- $2 on BUS=$1 (exit code $code)" "$output"
    fi
}

for program in test_bus test_bus_groups test_bus_local; do
    run local $program
done

if [ -z "${KAFKA_BOOTSTRAP_SERVERS-}" ]; then
    dir=$(mktemp -d)
    if output=$(deploy/local/kafka.sh start "$dir" 2>&1); then
        # shellcheck source=/dev/null
        source "$dir/kafka/env"
    else
        echo "not run over Kafka: $output"
    fi
fi
if [ -n "${KAFKA_BOOTSTRAP_SERVERS-}" ]; then
    export KAFKA_BOOTSTRAP_SERVERS
    for program in test_bus test_bus_groups; do
        run kafka $program
    done
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
