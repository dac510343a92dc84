#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the programs of tests/bus: test_bus* once on the in-process bus and once on a private Kafka
# that is started here, the others once. Closes with "N passed, M failed". Where Kafka cannot be
# had, its half is skipped with a line that says so, or fails when REQUIRE_KAFKA=1.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
dir=$(mktemp -d)
passed=0
failed=0

finish() {
    deploy/local/stack.sh stop "$dir" >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap finish EXIT

run() { # bus program
    local output code=0 bad=0
    output=$(BUS=$1 timeout 600 "$2" 2>&1) || code=$?
    if [[ $(tail -n 1 <<<"$output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        bad=${BASH_REMATCH[2]}
    fi
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        printf '%s\n' "-- $2 on $1 (exit code $code)" "$output"
    fi
}

for source in tests/bus/test_*.c; do
    run local "$build/${source%.c}"
done

code=0
deploy/local/stack.sh start "$dir" --only kafka || code=$?
if [ "$code" -eq 75 ] && [ "${REQUIRE_KAFKA:-0}" != 1 ]; then
    echo "SKIPPED the bus on Kafka: Kafka cannot be had here"
elif [ "$code" -ne 0 ]; then
    echo "Kafka did not start (exit code $code)"
    failed=$((failed + 1))
else
    set -a
    # shellcheck disable=SC1091 # written by stack.sh
    . "$dir/env"
    set +a
    for source in tests/bus/test_bus*.c; do
        [[ $source == *_local.c ]] || run kafka "$build/${source%.c}"
    done
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
