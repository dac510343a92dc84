#!/usr/bin/env bash
# The whole suite as local processes: the servers of stack.sh, then gateway, auth-svc, message-svc, group-svc and
# presence-svc, in one or more instances, all on 127.0.0.1.
#
# usage: suite.sh [run|start] [DIR] [OPTION...]
#        suite.sh stop|status [DIR]                 DIR: var/local of this clone
#
#   --port PORT         the first gateway's port; 0 takes a free one, as the others do    ($PORT, else 8080)
#   --gateways COUNT    gateways                                                          (1)
#   --services COUNT    instances of each service                                         (1)
#   --redis COUNT       Redis servers                                                     (1)
#   --build FOLDER      where the daemons' programs are                                   (build of this clone)
#   --secure            TLS and passwords between daemons and servers; the folder must be new
#   --env [DAEMON:]NAME=VALUE    a setting for all daemons, or for gateway, auth-svc, ... alone; may be repeated
#
# `run` stays, and ends everything on Ctrl-C or SIGTERM; `start` returns when all is ready, and `stop` ends it:
# gateways first, so that the services still answer what they are asked, then services, then servers, each by its pid.
# The daemons get the settings of this script's list and nothing else of the caller's environment. DIR/env says where
# everything is, DIR/run/NAME.json how to reach and restart each daemon (daemon.sh), DIR/log/NAME.log what it said.
# It builds nothing and restarts nothing: a daemon that ends is only reported.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly services=(auth-svc message-svc group-svc presence-svc)
# Handed on to the daemons when the caller has them.
readonly inherited=(PATH HOME TZ LANG MODE LOG_LEVEL ACCESS_TOKEN_SECONDS REFRESH_TOKEN_SECONDS RATE_LIMIT_AUTH
    RATE_LIMIT_USER RATE_LIMIT_FRAMES MAX_CONNECTIONS MAX_SOCKETS_PER_USER ALLOWED_ORIGINS ADMIN_USERS
    KAFKA_TOPIC_PREFIX KAFKA_PARTITIONS GATEWAY_THREADS TLS_CERT_FILE TLS_KEY_FILE TRUSTED_PROXIES DRAIN_SECONDS
    ASAN_OPTIONS LSAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS)
# From DIR/env, where kafka.sh says how its broker is to be spoken to.
readonly kafka_settings=(KAFKA_BOOTSTRAP_SERVERS KAFKA_SECURITY_PROTOCOL KAFKA_SASL_MECHANISM KAFKA_SASL_USERNAME
    KAFKA_SASL_PASSWORD KAFKA_SSL_CA_FILE)

# --- setting up DIR/run ------------------------------------------------------------------------------------

# Prints the lines of DIR/run/NAME.env. Each daemon gets only the addresses and secrets that are its own.
daemon_env() { # DAEMON NUMBER PORT
    local daemon=$1 key setting
    for key in "${inherited[@]}"; do
        if [[ -n ${!key+set} ]]; then
            env_line "$key" "${!key}"
        fi
    done
    env_line INSTANCE_ID "$2"
    env_line ADMIN_PORT "$(free_port)"
    env_line BIND 127.0.0.1
    for key in "${kafka_settings[@]}"; do
        if [[ -n ${!key+set} ]]; then
            env_line "$key" "${!key}"
        fi
    done
    case $daemon in
    gateway)
        env_line PORT "$3"
        env_line JWT_SECRET "$jwt_secret"
        ;;
    auth-svc)
        env_line DATABASE_URL "$AUTH_DATABASE_URL"
        env_line JWT_SECRET "$jwt_secret"
        ;;
    message-svc) env_line DATABASE_URL "$MESSAGE_DATABASE_URL" ;;
    group-svc) env_line DATABASE_URL "$GROUP_DATABASE_URL" ;;
    presence-svc)
        env_line REDIS_ADDR "$REDIS_ADDR"
        [[ -z ${REDIS_PASSWORD-} ]] || env_line REDIS_PASSWORD "$REDIS_PASSWORD"
        ;;
    esac
    for setting in "${extra[@]}"; do
        if [[ $setting =~ ^(${daemon}:)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]]; then
            env_line "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}"
        fi
    done
}

make_daemon() { # DAEMON NUMBER [PORT]
    local run=$dir/run/$1-$2
    daemon_env "$1" "$2" "${3-}" | put_file "$run.env"
    echo "$build/$1" >"$run.binary"
    names+=("$1-$2")
}

make_daemons() {
    local daemon number port
    unset "${kafka_settings[@]}" REDIS_PASSWORD # the caller's are for other servers
    # shellcheck source=/dev/null
    source "$dir/env"
    for daemon in "${services[@]}"; do
        for ((number = 1; number <= service_count; number++)); do
            make_daemon "$daemon" "$number"
        done
    done
    for ((number = 1; number <= gateway_count; number++)); do
        port=$first_port
        if [[ $port -eq 0 || $number -gt 1 ]]; then
            port=$(free_port)
        fi
        make_daemon gateway "$number" "$port"
    done
}

setting_of() { # NAME KEY: the daemon's value, or nothing
    sed -n "s/^$2=//p" "$dir/run/$1.env" | tail -n 1
}

# Adds the daemons' ports to DIR/env.
tell_addresses() {
    local name scheme upper
    urls=()
    {
        for name in "${names[@]}"; do
            upper=${name^^}
            env_line "${upper//-/_}_ADMIN_PORT" "$(setting_of "$name" ADMIN_PORT)"
            if [[ $name == gateway-* ]]; then
                scheme=http
                [[ -z $(setting_of "$name" TLS_CERT_FILE) ]] || scheme=https
                urls+=("$scheme://127.0.0.1:$(setting_of "$name" PORT)")
            fi
        done
        env_line GATEWAY_URL "${urls[0]}"
        (IFS=, && env_line GATEWAY_URLS "${urls[*]}")
    } >"$dir/run/suite.env"
    write_env "$dir"
}

kept_secret() { # FILE
    [[ -s $1 ]] || random_hex 32 | put_file "$1"
    cat "$1"
}

# --- starting and stopping ---------------------------------------------------------------------------------

daemon_names() { # PATTERN: the daemons of DIR/run
    local file
    for file in "$dir"/run/*.env; do
        file=${file##*/}
        # shellcheck disable=SC2053 # a pattern
        if [[ $file != suite.env && -e $dir/run/$file && ${file%.env} == $1 ]]; then
            echo "${file%.env}"
        fi
    done
}

start() {
    local begin name job jobs=() result=0 urls=() names=()
    begin=$(now_ms)
    for name in $(daemon_names '*'); do
        if live_pid "$dir/run/$name.pid" >/dev/null; then
            fail "a suite runs already in $dir; suite.sh stop ends it"
        fi
    done
    for name in gateway "${services[@]}"; do
        [[ -f $build/$name && -x $build/$name ]] || fail "$build/$name is missing: build it first"
    done
    if [[ $first_port -ne 0 ]] && port_is_open "$first_port"; then
        fail "port $first_port is taken; PORT=8081 make suite takes another one, PORT=0 a free one"
    fi
    rm -rf "$dir/run"
    mkdir "$dir/run"
    started=yes
    "$here/stack.sh" start "$dir" --redis "$redis_count" ${secure:+--secure} & # in the background, so that a signal is heard at once
    wait $! || exit $?
    jwt_secret=$(kept_secret "$dir/jwt_secret")
    make_daemons
    for name in "${names[@]}"; do
        : >"$dir/log/$name.log"
        "$here/daemon.sh" start "$name" "$dir" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || result=1
    done
    [[ $result -eq 0 ]] || exit 1
    tell_addresses
    echo "chat suite ready after $(seconds_since "$begin") s: ${urls[*]} (logs in $dir/log)"
}

stop_daemons() { # PATTERN
    local name
    for name in $(daemon_names "$1"); do
        "$here/daemon.sh" stop "$name" "$dir" &
    done
    wait
}

stop() {
    stop_daemons 'gateway-*'
    stop_daemons '*-svc-*'
    rm -f "$dir/run/suite.env"
    "$here/stack.sh" stop "$dir"
}

status() {
    local name result=0
    for name in $(daemon_names '*'); do
        "$here/daemon.sh" status "$name" "$dir" || result=$?
    done
    "$here/stack.sh" status "$dir" || result=$?
    return "$result"
}

# Ends what this run has started; set for every way out until all is ready, and to the end for `run`.
clean_up() {
    local result=$? under_way
    trap '' INT TERM HUP
    trap - EXIT
    if [[ -n $started ]]; then
        echo "stopping the suite"
        under_way=$(jobs -p)
        # shellcheck disable=SC2086 # several numbers
        kill -TERM $under_way 2>/dev/null || true
        wait
        stop || result=1
    fi
    exit "$result"
}

# Says once of each process that it ended without daemon.sh having ended it.
watch() {
    local name pid
    declare -A reported=()
    while true; do
        for name in $(daemon_names '*'); do
            read -r pid _ 2>/dev/null <"$dir/run/$name.pid" || continue
            if [[ ${reported[$name]-} == "$pid" ]] || live_pid "$dir/run/$name.pid" >/dev/null; then
                continue
            fi
            sleep 0.2 # daemon.sh removes the file right after the process
            if grep -qs "^$pid " "$dir/run/$name.pid"; then
                echo "$name ended by itself; its log is $dir/log/$name.log" >&2
                reported[$name]=$pid
            fi
        done
        sleep 1 &
        wait $! # a signal ends the waiting, not only the sleeping
    done
}

usage() {
    sed -n '5,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

command=run
if [[ ${1-} =~ ^(run|start|stop|status)$ ]]; then
    command=$1
    shift
fi
dir=$default_dir build=$root/build first_port=${PORT:-8080} gateway_count=1 service_count=1 redis_count=1 secure='' extra=()
while [[ $# -gt 0 ]]; do
    [[ $1 != -* || $1 == --secure || $# -ge 2 ]] || usage
    case $1 in
    --port) first_port=$2 && shift 2 ;;
    --gateways) gateway_count=$2 && shift 2 ;;
    --services) service_count=$2 && shift 2 ;;
    --redis) redis_count=$2 && shift 2 ;;
    --secure) secure=yes && shift ;;
    --build) build=$(existing_dir "$2") && shift 2 ;;
    --env)
        [[ $2 =~ ^((gateway|auth-svc|message-svc|group-svc|presence-svc):)?[A-Za-z_][A-Za-z0-9_]*= ]] || usage
        extra+=("$2") && shift 2
        ;;
    -*) usage ;;
    *) dir=$1 && shift ;;
    esac
done
[[ $first_port =~ ^[0-9]{1,5}$ && $gateway_count =~ ^[1-9]$ && $service_count =~ ^[1-9]$ ]] || usage

started=
case $command in
run | start)
    dir=$(stack_dir "$dir")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    start
    if [[ $command == run ]]; then
        trap 'exit 0' INT TERM HUP # the way to end it
        watch
    fi
    trap - EXIT
    ;;
stop)
    dir=$(existing_dir "$dir")
    stop
    ;;
status)
    dir=$(existing_dir "$dir")
    status
    ;;
esac
