# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the lints share: they run in the root of the tree and look at sources, not at what is built.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export LC_ALL=C.UTF-8

# Paths of the files that match the given find expression, sorted, without "./".
source_files() {
    find . \( -name .git -o -path ./build -o -path ./var -o -name .cache -o -name __pycache__ \
        -o -name node_modules \) -prune -o -type f \( "$@" \) -printf '%P\n' | sort
}

c_files() {
    source_files -name '*.c' -o -name '*.h'
}

need() {
    if ! command -v "$1" >/dev/null; then
        echo "$1 is missing: deploy/install.sh lint"
        exit 1
    fi
}

problems=0
problem() {
    echo "$*"
    problems=$((problems + 1))
}

finish() {
    [ "$problems" -eq 0 ]
    exit
}
