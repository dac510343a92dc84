#!/usr/bin/env bash
# Makes .env, the settings and secrets of docker-compose.yml, from .env.example: with a random value for each secret,
# readable by its owner only. A .env that is there already stays as it is.
#
# usage: deploy/compose-env.sh [FILE]      FILE: .env of this clone
set -euo pipefail
umask 077

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
file=${1-$root/.env}
readonly secrets='JWT_SECRET|MYSQL_ROOT_PASSWORD|[A-Z]+_DB_PASSWORD|REDIS_PASSWORD|GRAFANA_PASSWORD'

random_hex() { # BYTES
    od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# 16 random bytes in base64 without its special characters, as Kafka writes ids.
random_id() {
    head -c 16 /dev/urandom | base64 | tr '+/' 'pl' | tr -d '='
}

if [[ -e $file ]]; then
    echo "$file is there already: nothing done"
    exit 0
fi
new=$file.new.$$
trap 'rm -f "$new"' EXIT
while IFS= read -r line; do
    if [[ $line =~ ^($secrets)=$ ]]; then
        line+=$(random_hex 32)
    elif [[ $line == KAFKA_CLUSTER_ID= ]]; then
        line+=$(random_id)
    fi
    printf '%s\n' "$line"
done <"$root/.env.example" >"$new"
mv -n -- "$new" "$file"
echo "$file made, with new secrets"
