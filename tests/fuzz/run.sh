#!/bin/bash
# SPDX-License-Identifier: MIT
# Replays the corpora through the fuzz targets under $BUILD (default: build), prints the output of
# those that fail, and closes with "N passed, M failed". Fuzzing itself is fuzz.sh.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
passed=0
failed=0

for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    program=$build/${source%.c}
    output=$(timeout 300 "$program" "tests/fuzz/corpus/${name#fuzz_}" 2>&1)
    code=$?
    bad=0
    if [[ $(tail -n 1 <<<"$output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        bad=${BASH_REMATCH[2]}
    fi
    if [ $code -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        printf '%s\n' "-- $program (exit code $code)" "$(tail -n 30 <<<"$output")"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
