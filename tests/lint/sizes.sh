#!/bin/bash
# SPDX-License-Identifier: MIT
# Functions of at most 80 lines (from brace to brace), files of at most 600, headers of at most 150.
# What is over the aims (40, 400) is told and does no harm. Relies on the format: a function's
# braces stand alone in the first column.
. "$(dirname "$0")/lib.sh"

while IFS= read -r file; do
    lines=$(wc -l <"$file")
    limit=600
    [[ $file == *.h ]] && limit=150
    if [ "$lines" -gt $limit ]; then
        problem "$file: $lines lines; at most $limit"
    elif [ "$lines" -gt 400 ]; then
        echo "note: $file: $lines lines; the aim is 400"
    fi
    while read -r start length name; do
        if [ "$length" -gt 80 ]; then
            problem "$file:$start: $name has $length lines; at most 80"
        else
            echo "note: $file:$start: $name has $length lines; the aim is 40"
        fi
    done < <(awk '
        /^TEST\(/ { name = substr($0, 6); sub(/\).*/, "", name); next }
        /^[A-Za-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
        /^\{$/ { start = NR }
        /^\}$/ && start { if (NR - start + 1 > 40) { print start, NR - start + 1, name } start = 0 }
    ' "$file")
done < <(c_files)
finish
