#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs every lint of this folder: a line each, and the output of those that fail. Closes with
# "N passed, M failed". LINT_NOTES=1 shows also what the lints only remark.
. "$(dirname "$0")/lib.sh"

passed=0
failed=0
for lint in layers banned sizes docs contract format shell compose k8s monitoring; do
    if output=$("tests/lint/$lint.sh" 2>&1); then
        echo "ok      $lint"
        passed=$((passed + 1))
        [ -n "${LINT_NOTES:-}" ] && [ -n "$output" ] && echo "$output"
    else
        echo "FAILED  $lint"
        grep -v '^note: ' <<<"$output"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
