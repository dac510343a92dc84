#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs all unit tests under $BUILD (default: build), prints the output of those that fail, and
# closes with the sum of all: "N passed, M failed". With arguments: only programs whose path
# contains one of them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
passed=0
failed=0

wanted() {
    [ $# -eq 1 ] && return 0
    local program=$1 word
    shift
    for word in "$@"; do
        [[ $program == *"$word"* ]] && return 0
    done
    return 1
}

for source in tests/unit/*/test_*.c; do
    program=$build/${source%.c}
    wanted "$program" "$@" || continue
    output=$(timeout 300 "$program" 2>&1)
    code=$?
    if [[ $(tail -n 1 <<<"$output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        bad=${BASH_REMATCH[2]}
    else
        bad=0
    fi
    # A sanitizer may fail a program after its last line; a crash leaves no last line at all.
    if [ $code -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        printf '%s\n' "-- $program (exit code $code)" "$output"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
