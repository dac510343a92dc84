#!/bin/bash
# SPDX-License-Identifier: MIT
# docker-compose.yml is consistent (compose.py), and whichever Compose is installed reads it.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools.sh
. tests/lint/tools.sh
need_python_packages
"$lint_python" -B tests/lint/compose.py || problem "docker-compose.yml: see above"

# Compose asks for values where the example has none.
filled=$(mktemp)
trap 'rm -f "$filled"' EXIT
sed 's/^\([A-Z_]*\)=$/\1=x/' .env.example >"$filled"
for compose in docker-compose 'docker compose'; do
    read -r -a command <<<"$compose"
    if "${command[@]}" version >/dev/null 2>&1; then
        output=$("${command[@]}" -f docker-compose.yml --env-file "$filled" --profile monitoring config 2>&1 >/dev/null) ||
            problem "$compose config: $output"
    else
        echo "note: $compose is not installed: not asked"
    fi
done
finish
