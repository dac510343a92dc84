#!/bin/bash
# SPDX-License-Identifier: MIT
# Functions that this code base does without, and what takes their place.
. "$(dirname "$0")/lib.sh"

table='
strcpy|stpcpy|strcat|strncat|strncpy  buf_*, arena_*, snprintf: these know the size
sprintf|vsprintf|gets                 snprintf, buf_printf, arena_printf
atoi|atol|atoll|atof                  strtoll with a check of its end: these accept anything
strtok|strtok_r                       strcspn, strspn: these write into their input
rand|srand|random|srandom|drand48     random_bytes, or a generator of the test
system|popen                          a shell is never needed
alloca                                the arena: the stack has no out of memory
gmtime|localtime|ctime|asctime|mktime clock_*: these share a buffer or look at the time zone
tmpnam|tempnam|mktemp                 mkstemp
setjmp|longjmp                        errors are returned
gethostbyname|inet_ntoa|inet_aton     getaddrinfo, inet_ntop, inet_pton
'

mapfile -t files < <(c_files)
for file in "${files[@]}"; do
    code=$(awk -f tests/lint/strip.awk "$file")
    while read -r names why; do
        [ -z "$names" ] && continue
        while IFS= read -r hit; do
            problem "$file:${hit%%:*}: ${names//|/, }: $why"
        done < <(grep -nE "(^|[^A-Za-z0-9_>.])($names)[[:space:]]*\(" <<<"$code")
    done <<<"$table"
done
finish
