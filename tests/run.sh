#!/bin/bash
# SPDX-License-Identifier: MIT
# All parts of `make test`, one after the other; each goes on when another one failed. A part closes
# with a line "N passed, M failed"; the sum of all is the last line here, and the only one of that
# form. With arguments: only the parts named.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# name     script, relative to the root. A script that is missing is a failure: no part is skipped
#          without a word.
parts='
unit       tests/unit/run.sh
fuzz       tests/fuzz/run.sh
store      tests/store/run.sh
bus        tests/bus/run.sh
standalone tests/e2e/run.py standalone
suite      tests/e2e/run.py suite
lint       tests/lint/run.sh
'

passed=0
failed=0
closing='^([0-9]+) passed, ([0-9]+) failed$'
log=$(mktemp)
trap 'rm -f "$log"' EXIT

run_part() { # name script [arguments]
    local name=$1 code good=0 bad=0
    shift
    echo "== $name"
    if [ ! -x "$1" ]; then
        echo "$1 is missing"
        bad=1
    else
        "$@" 2>&1 </dev/null | tee "$log" | grep --line-buffered -vE "$closing"
        code=${PIPESTATUS[0]}
        if [[ $(tail -n 1 "$log") =~ $closing ]]; then
            good=${BASH_REMATCH[1]}
            bad=${BASH_REMATCH[2]}
        else
            echo "$name ended without saying how many passed"
            bad=1
        fi
        if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
            echo "$name ended with exit code $code"
            bad=1
        fi
    fi
    echo "-- $name: $good passed, $bad failed"
    passed=$((passed + good))
    failed=$((failed + bad))
}

while read -r name script; do
    [ -z "$name" ] && continue
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then
        continue
    fi
    read -r -a command <<<"$script"
    run_part "$name" "${command[@]}"
done <<<"$parts"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
