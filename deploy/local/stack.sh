#!/usr/bin/env bash
# The servers that the suite needs, private to one folder: Kafka, MariaDB and Redis on free ports of 127.0.0.1,
# started side by side. Any number of stacks run next to each other, each in its own folder.
#
# usage: stack.sh start [DIR] [--only kafka,mysql,redis] [--redis COUNT] [--secure]
#        stack.sh stop [DIR]
#        stack.sh status [DIR]                      DIR: var/local of this clone
#
# `start` writes DIR/env, which a shell can source (`stop` removes it): KAFKA_BOOTSTRAP_SERVERS, MYSQL_SOCKET, MYSQL_PORT,
# AUTH_DATABASE_URL, MESSAGE_DATABASE_URL, GROUP_DATABASE_URL and REDIS_ADDR. Started again, the servers have the
# same ports and data. `start` ends with 75 when Kafka cannot be fetched (see kafka.sh); then nothing is left running.
# With --secure, in a new folder, the servers speak TLS alone and ask for passwords, from then on at every start.
# The suite's own daemons are started by suite.sh, not here.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

start() { # DIR ONLY REDIS_COUNT
    local dir=$1 only=,$2, count=$3 begin number pid jobs=() result=0
    begin=$(now_ms)
    trap 'give_up "$dir"' INT TERM HUP
    if [[ -n $secure ]]; then
        "$here/tls.sh" make "$dir"
    fi
    if [[ $only == *,kafka,* ]]; then
        "$here/kafka.sh" start "$dir" &
        jobs+=($!)
    fi
    if [[ $only == *,mysql,* ]]; then
        "$here/mysql.sh" start "$dir" &
        jobs+=($!)
    fi
    if [[ $only == *,redis,* ]]; then
        for ((number = 1; number <= count; number++)); do
            "$here/redis.sh" start "$dir" "$number" &
            jobs+=($!)
        done
    fi
    for pid in "${jobs[@]}"; do
        wait "$pid" || result=$?
    done
    if [[ $result -ne 0 ]]; then
        stop "$dir"
        exit "$result"
    fi
    write_env "$dir"
    echo "servers ready after $(seconds_since "$begin") s; their addresses are in $dir/env"
}

# The start was interrupted: ends what is under way and what runs already.
give_up() { # DIR
    local starting
    trap '' INT TERM HUP
    starting=$(jobs -p)
    # shellcheck disable=SC2086 # several numbers
    kill -TERM $starting 2>/dev/null || true
    wait
    stop "$1"
    exit 143
}

redis_numbers() { # DIR
    local home
    for home in "$1"/redis-*/; do
        home=${home%/}
        [[ ! -d $home ]] || echo "${home##*-}"
    done
}

stop() { # DIR
    local number
    "$here/kafka.sh" stop "$1" &
    "$here/mysql.sh" stop "$1" &
    for number in $(redis_numbers "$1"); do
        "$here/redis.sh" stop "$1" "$number" &
    done
    wait
    rm -f "$1/env"
}

status() { # DIR
    local number result=0
    "$here/kafka.sh" status "$1" || result=$?
    "$here/mysql.sh" status "$1" || result=$?
    for number in $(redis_numbers "$1"); do
        "$here/redis.sh" status "$1" "$number" || result=$?
    done
    return "$result"
}

usage() {
    fail "usage: stack.sh start [DIR] [--only kafka,mysql,redis] [--redis COUNT] [--secure] | stop [DIR] | status [DIR]"
}

command=${1-}
shift || true
dir=$default_dir only=kafka,mysql,redis count=1 secure=
while [[ $# -gt 0 ]]; do
    [[ $1 != -* || $1 == --secure || $# -ge 2 ]] || usage
    case $1 in
    --secure) secure=yes && shift ;;
    --only) only=$2 && shift 2 ;;
    --redis) count=$2 && shift 2 ;;
    -*) usage ;;
    *) dir=$1 && shift ;;
    esac
done
[[ $only =~ ^(kafka|mysql|redis)(,(kafka|mysql|redis))*$ ]] || usage
[[ $count =~ ^[1-9]$ ]] || fail "--redis takes a number from 1 to 9"

case $command in
start)
    dir=$(stack_dir "$dir")
    start "$dir" "$only" "$count"
    ;;
stop) stop "$dir" ;;
status) status "$dir" ;;
*) usage ;;
esac
