#!/usr/bin/env bash
# A private Redis for development and tests on 127.0.0.1: server NUMBER (1, 2, ...) of a stack, in DIR/redis-NUMBER.
# Started again, it has the same port, and nothing else: it keeps no data, because nothing in Redis is authoritative
# and a restart must show that the services fill it again.
#
# usage: redis.sh start|stop|kill|status [DIR [NUMBER]]      DIR: var/local of this clone; NUMBER: 1
#
# `kill` is SIGKILL, for tests.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly start_seconds=20 stop_seconds=10
readonly number=${3-1}
[[ $number =~ ^[1-9][0-9]?$ ]] || fail "not the number of a server: $number"

answers() { # DIR PORT
    local tls=()
    if is_secured "$1"; then
        tls=(--tls --cacert "$1/tls/ca.pem")
        local -x REDISCLI_AUTH
        REDISCLI_AUTH=$(cat "$1/tls/redis-password")
    fi
    [[ $(redis-cli -h 127.0.0.1 -p "$2" "${tls[@]}" PING 2>/dev/null) == PONG ]]
}

write_settings() { # DIR HOME PORT
    {
        cat <<END
# Written by deploy/local/redis.sh at every start.
bind 127.0.0.1
dir "$2"
save ""
appendonly no
END
        if is_secured "$1"; then
            cat <<END
port 0
tls-port $3
tls-cert-file "$1/tls/server.pem"
tls-key-file "$1/tls/server.key"
tls-ca-cert-file "$1/tls/ca.pem"
tls-auth-clients no
requirepass $(cat "$1/tls/redis-password")
END
        else
            echo "port $3"
        fi
    } | put_file "$2/redis.conf"
}

start() { # DIR
    local home=$1/redis-$number log=$1/log/redis-$number.log begin port
    need_command redis-server
    mkdir -p "$home"
    exec 8>"$home/lock"
    flock 8
    port=$(kept_port "$home/port")
    if live_pid "$home/pid" >/dev/null; then
        echo "Redis $number runs already on 127.0.0.1:$port"
        return 0
    fi
    begin=$(now_ms)
    write_settings "$1" "$home" "$port"
    spawn "$home/pid" "$log" "$(command -v redis-server)" "$home/redis.conf"
    wait_ready "Redis $number" "$home/pid" "$log" "$start_seconds" answers "$1" "$port"
    echo "Redis $number ready on 127.0.0.1:$port after $(seconds_since "$begin") s"
}

case ${1-} in
start) start "$(stack_dir "${2-$default_dir}")" ;;
stop) end_process "Redis $number" "${2-$default_dir}/redis-$number/pid" "$stop_seconds" ;;
kill) kill_process "${2-$default_dir}/redis-$number/pid" ;;
status) show_status "redis-$number" "${2-$default_dir}/redis-$number/pid" \
    "127.0.0.1:$(cat "${2-$default_dir}/redis-$number/port" 2>/dev/null || true)" ;;
*) fail "usage: redis.sh start|stop|kill|status [DIR [NUMBER]]" ;;
esac
