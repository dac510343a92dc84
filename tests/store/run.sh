#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the programs of tests/store: each on SQLite by itself, and on a private MariaDB that is
# started here, every program with a schema of its own. Closes with "N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
dir=$(mktemp -d)
passed=0
failed=0

finish() {
    deploy/local/stack.sh stop "$dir" >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap finish EXIT

deploy/local/stack.sh start "$dir" --only mysql
set -a
# shellcheck disable=SC1091 # written by the line above
. "$dir/env"
set +a

# A program may restart the server to see what its clients do.
printf '#!/bin/sh\n%s stop %s && %s start %s\n' "$PWD/deploy/local/mysql.sh" "$dir" \
    "$PWD/deploy/local/mysql.sh" "$dir" >"$dir/restart-mysql"
chmod +x "$dir/restart-mysql"

for source in tests/store/test_*.c; do
    name=$(basename "$source" .c)
    mariadb --socket="$MYSQL_SOCKET" -e "
        CREATE DATABASE \`$name\` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
        CREATE USER '$name'@'127.0.0.1' IDENTIFIED BY 'only-for-this-test';
        GRANT ALL ON \`$name\`.* TO '$name'@'127.0.0.1';"
    url="mysql://$name:only-for-this-test@127.0.0.1:$MYSQL_PORT/$name"
    output=$(DATABASE_URL=$url DATABASE_RESTART="$dir/restart-mysql" \
        timeout 600 "$build/tests/store/$name" 2>&1) && code=0 || code=$?
    bad=0
    while read -r good wrong; do
        passed=$((passed + good))
        bad=$((bad + wrong))
    done < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' <<<"$output")
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        printf '%s\n' "-- $name (exit code $code)" "$output"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
