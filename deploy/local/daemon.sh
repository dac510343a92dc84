#!/usr/bin/env bash
# One daemon of a suite that suite.sh has set up: start it again with the environment that it had, stop it, kill it.
# For tests and for development, with the names of DIR/run: gateway-1, auth-svc-1, message-svc-2, ...
#
# usage: daemon.sh start|stop|kill|status NAME [DIR]      DIR: var/local of this clone
#
# `start` waits until the daemon's /readyz answers 200. `stop` is SIGTERM, then SIGKILL after DRAIN_SECONDS and two
# more; `kill` is SIGKILL. DIR/run/NAME.env is the daemon's whole environment (a shell can source it; change it to
# start the daemon with another one); DIR/run/NAME.json is the same for programs, with pid, port and admin_port, where
# pid is null while it does not run by this script's doing. The servers are not touched.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly start_seconds=60

json_string() { # TEXT
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\n'/\\n}
    text=${text//$'\t'/\\t}
    printf '"%s"' "$text"
}

# Loads DIR/run/NAME.env into the names and values of the array "settings".
load_settings() {
    local line key value
    declare -gA settings=()
    while IFS= read -r line; do
        [[ $line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || continue
        key=${line%%=*}
        eval "value=${line#*=}" # env_line quoted it
        settings[$key]=$value
    done <"$run.env"
}

write_json() { # PID, or null
    local key comma=''
    {
        printf '{"name": %s, "daemon": %s, "pid": %s, "port": %s, "admin_port": %s,\n "binary": %s, "log": %s,\n "env": {' \
            "$(json_string "$name")" "$(json_string "$daemon")" "$1" "${settings[PORT]-null}" \
            "${settings[ADMIN_PORT]}" "$(json_string "$binary")" "$(json_string "$log")"
        for key in "${!settings[@]}"; do
            printf '%s%s: %s' "$comma" "$(json_string "$key")" "$(json_string "${settings[$key]}")"
            comma=$',\n         '
        done
        printf '}}\n'
    } | put_file "$run.json"
}

answers() {
    port_is_open "${settings[ADMIN_PORT]}" &&
        [[ $(curl --silent --noproxy '*' --max-time 2 --output /dev/null --write-out '%{http_code}' \
            "http://127.0.0.1:${settings[ADMIN_PORT]}/readyz") == 200 ]]
}

# Starts the program with the settings as its whole environment. They are exported rather than given to env(1),
# whose arguments everybody on the machine could read.
launch() {
    local limit
    limit=$(ulimit -Hn) # many sockets need many files
    [[ $limit != unlimited && $limit -le 1048576 ]] || limit=1048576
    ulimit -Sn "$limit"
    (
        for key in $(compgen -e); do
            export -n "${key?}"
        done
        for key in "${!settings[@]}"; do
            export "$key=${settings[$key]}"
        done
        spawn "$run.pid" "$log" "$binary"
    )
}

start() {
    local pid
    need_command curl
    exec 8>"$run.lock"
    flock 8
    if pid=$(live_pid "$run.pid"); then
        echo "$name runs already"
        return 0
    fi
    [[ -f $binary && -x $binary ]] || fail "$binary is missing: build it first"
    launch
    write_json "$(cut -d' ' -f1 "$run.pid")"
    wait_ready "$name" "$run.pid" "$log" "$start_seconds" answers
}

name=${2-}
daemon=${name%-*}
[[ $# -ge 2 && $# -le 3 ]] || fail "usage: daemon.sh start|stop|kill|status NAME [DIR]"
dir=$(existing_dir "${3-$default_dir}")
run=$dir/run/$name log=$dir/log/$name.log
[[ -e $run.env ]] || fail "no daemon $name in $dir/run; suite.sh makes the daemons of a folder"
load_settings
binary=$(cat "$run.binary")

case $1 in
start) start ;;
stop)
    end_process "$name" "$run.pid" $((${settings[DRAIN_SECONDS]-10} + 2))
    write_json null
    ;;
kill)
    kill_process "$run.pid"
    write_json null
    ;;
status) show_status "$name" "$run.pid" "${settings[PORT]+port ${settings[PORT]}, }admin port ${settings[ADMIN_PORT]}" ;;
*) fail "usage: daemon.sh start|stop|kill|status NAME [DIR]" ;;
esac
