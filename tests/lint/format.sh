#!/bin/bash
# SPDX-License-Identifier: MIT
# Every C file says its licence and is as clang-format writes it (make format); no source has blanks
# at the end of a line.
. "$(dirname "$0")/lib.sh"
need clang-format

mapfile -t files < <(c_files)
for file in "${files[@]}"; do
    head -n 1 "$file" | grep -q '^// SPDX-License-Identifier: MIT$' ||
        problem "$file: no SPDX line at its start"
    clang-format "$file" | cmp -s - "$file" || problem "$file: not formatted (make format)"
done
mapfile -t files < <(source_files -name '*.[ch]' -o -name '*.sh' -o -name '*.proto' -o -name '*.py')
for file in "${files[@]}"; do
    if grep -qE '[[:blank:]]$' "$file"; then
        problem "$file: blanks at the end of a line"
    fi
done
finish
