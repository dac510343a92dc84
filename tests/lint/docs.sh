#!/bin/bash
# SPDX-License-Identifier: MIT
# Documents tell the truth about files: what a link or a name in `code` points at exists (seen from
# the root, from the document, or, for a bare file name, anywhere), and each top folder with sources
# has a README.md. Fenced blocks are not looked at.
. "$(dirname "$0")/lib.sh"

kinds='c|h|md|sh|sql|proto|yml|yaml|py|json|js|css|html|awk|cnf|properties|conf'
all=$(source_files -name '*')

exists() { # path, document's folder
    local path=${1%/} base
    compgen -G "$path" >/dev/null && return 0
    compgen -G "$2/$path" >/dev/null && return 0
    if [[ $path != */* ]]; then
        base=${path//\*/[^/]*}
        base=${base//./\\.}
        grep -qE "(^|/)$base$" <<<"$all" && return 0
    fi
    return 1
}

# Is this word the name of a file of ours? Paths into a top folder, and names with a known ending.
is_name() {
    [[ $1 =~ ^[A-Za-z0-9_.*-]+(/[A-Za-z0-9_.*-]+)*/?$ ]] || return 1
    [[ $1 =~ (^|/)[A-Z_]+(/|\.(json|c|h|sh|sql|proto|conf|yml)$) ]] && return 1 # NAME.c: any name
    [[ $1 == build/* || $1 == var/* || $1 == /* ]] && return 1
    [[ $1 =~ ^[A-Za-z0-9_/*-]+(\.[A-Za-z0-9_*-]+)*\.($kinds)$ ]] && return 0
    [[ $1 == */* && -d ${1%%/*} ]]
}

names_in() { # one per line: "code name" or "link target"
    awk '
        /^[ ]*```/ { fenced = !fenced; next }
        fenced { next }
        {
            line = $0
            while (match(line, /`[^`]+`/)) {
                n = split(substr(line, RSTART + 1, RLENGTH - 2), words, /[ \t]+/)
                for (i = 1; i <= n; i++) { print "code", words[i] }
                line = substr(line, 1, RSTART - 1) " " substr(line, RSTART + RLENGTH)
            }
            while (match(line, /\]\([^) ]+\)/)) {
                print "link", substr(line, RSTART + 2, RLENGTH - 3)
                line = substr(line, RSTART + RLENGTH)
            }
        }' "$1"
}

while IFS= read -r document; do
    folder=$(dirname "$document")
    while read -r kind name; do
        if [ "$kind" = code ]; then
            is_name "$name" && ! exists "$name" "$folder" &&
                problem "$document: there is no file $name"
        elif [[ $name != http://* && $name != https://* && $name != \#* && $name != mailto:* ]]; then
            name=${name%%#*}
            [ -e "$folder/$name" ] || problem "$document: the link to $name is dead"
        fi
    done < <(names_in "$document")
done < <(source_files -name '*.md')

while IFS= read -r top; do
    [ -f "$top/README.md" ] || problem "$top: has no README.md"
done < <(grep -E '^[^./][^/]*/.*\.(c|h|sh|sql|proto|py|yml)$' <<<"$all" | cut -d/ -f1 | sort -u)
finish
