#!/bin/bash
# SPDX-License-Identifier: MIT
# No shell script gives shellcheck anything to find.
. "$(dirname "$0")/lib.sh"
need shellcheck

mapfile -t scripts < <({
    source_files -name '*.sh'
    grep -rlE -m 1 '^#!/bin/(ba)?sh' .ci deploy tests 2>/dev/null
} | sort -u)
for script in "${scripts[@]}"; do
    shellcheck -x -P SCRIPTDIR "$script" || problem "$script: see above"
done
finish
