#!/usr/bin/env bash
# Prints the Debian packages that hold the shared libraries of programs, each once: what an image needs to run them.
#
# usage: packages.sh PROGRAM...
#
# Used by deploy/Dockerfile. It looks at what the programs are linked with; a library that they load by name at run
# time would have to be added here (MariaDB's way to log in at MySQL 8 comes with the package of its library).
set -euo pipefail

# A library of Debian may be known to dpkg by its name in /lib or by the one in /usr/lib, which are one folder.
package_of() { # FILE
    local file=$1 name
    for name in "$file" "/usr$file" "${file#/usr}"; do
        if dpkg-query --search "$name" 2>/dev/null | grep -v '^diversion' | head -n 1 | cut -d: -f1 | grep .; then
            return 0
        fi
    done
    echo "packages.sh: no package holds $file" >&2
    return 1
}

[[ $# -gt 0 ]] || {
    echo "usage: packages.sh PROGRAM..." >&2
    exit 2
}
linked=$(ldd "$@")
if [[ $linked == *'not found'* ]]; then
    grep 'not found' <<<"$linked" >&2
    exit 1
fi
libraries=$(awk '$2 == "=>" && $3 ~ /^\// { print $3 }' <<<"$linked" | sort -u)
packages=$(for library in $libraries; do package_of "$library"; done)
sort -u <<<"$packages"
