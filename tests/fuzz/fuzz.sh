#!/bin/bash
# SPDX-License-Identifier: MIT
# Fuzzes each target under $BUILD for FUZZ_SECONDS (default: 60), one after the other; called by
# `make fuzz`, which builds them with libFuzzer. With arguments: only the targets named (pbjson).
# What libFuzzer found new stays under $BUILD/corpus and is used again; what failed is
# $BUILD/finding-*: mend it, and keep the input in tests/fuzz/corpus.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build/fuzz}
seconds=${FUZZ_SECONDS:-60}
found=0

for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then
        continue
    fi
    mkdir -p "$build/corpus/$name"
    echo "== $name, $seconds s"
    "$build/${source%.c}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -max_len=4096 -print_final_stats=1 -artifact_prefix="$build/finding-$name-" \
        "$build/corpus/$name" "tests/fuzz/corpus/$name" >"$build/$name.log" 2>&1
    code=$?
    if [ $code -ne 0 ]; then
        found=$((found + 1))
        echo "$name: a finding (exit code $code); the log is $build/$name.log"
        grep -nE '^==|SUMMARY|does not hold|runtime error|^artifact|Test unit' "$build/$name.log"
    fi
    grep -E 'stat::(number_of_executed|average_exec|new_units)' "$build/$name.log"
done
[ $found -eq 0 ]
