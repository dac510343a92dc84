# shellcheck shell=bash
# What the scripts of the local stack share: folders, free ports, and servers that are started detached, waited
# for and ended by their pid file. It knows no server: each one's settings and its question "are you ready?"
# stand in its own script. Sourced, never run.
#
# A pid file holds "PID START", where START is the process's start time in the kernel's ticks since boot. Both
# must agree with /proc before a signal is sent: so a number that the kernel gave to somebody else is left alone.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
# shellcheck disable=SC2034 # for the scripts that source this file
default_dir=$root/var/local
cache_dir=${XDG_CACHE_HOME:-${HOME:?"HOME must be set"}/.cache}/chatroom
# where Debian has mariadbd, and where only root looks
[[ :$PATH: == *:/usr/sbin:* ]] || PATH=$PATH:/usr/sbin

umask 077

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

now_ms() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

seconds_since() { # START_MS
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

need_command() { # COMMAND
    command -v "$1" >/dev/null || fail "$1 is missing; deploy/install.sh suite installs it"
}

# Makes the folder if needed and prints its absolute path. A folder made here hides itself from git.
stack_dir() { # DIR
    [[ ! $1 =~ [[:space:]\"\'\\*?] && ! $PWD =~ [[:space:]] ]] ||
        fail "MariaDB's installer takes no folder with spaces or quotes in its path: $1"
    if [[ ! -d $1 ]]; then
        mkdir -p -- "$1" && echo '*' >"$1/.gitignore"
    fi
    mkdir -p -- "$1/log" && (cd -- "$1" && pwd -P)
}

existing_dir() { # DIR
    [[ -d $1 ]] || fail "no such folder: $1"
    (cd -- "$1" && pwd -P)
}

random_hex() { # BYTES
    od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# Does the stack of this folder have certificates (tls.sh)? Then its servers speak TLS alone.
is_secured() { # DIR
    [[ -e $1/tls ]]
}

# --- ports -------------------------------------------------------------------------------------------------

port_is_open() { # PORT: does somebody listen there?
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Prints a free port between 20000 and 31999, below those that the kernel hands to outgoing connections: a
# server that is killed finds its port again. Chosen ports are noted for two minutes, so that two stacks that
# start at once never choose the same one.
free_port() {
    local noted=$cache_dir/ports recent port
    mkdir -p "$cache_dir"
    (
        flock 9
        recent=$(awk -v oldest=$((EPOCHSECONDS - 120)) '$2 >= oldest' "$noted" 2>/dev/null || true)
        while true; do
            port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
            [[ $'\n'$recent != *$'\n'"$port "* ]] && ! port_is_open "$port" && break
        done
        printf '%s\n' "$recent" "$port $EPOCHSECONDS" | grep . >"$noted"
        echo "$port"
    ) 9>"$noted.lock"
}

# Prints the port that the file remembers; chooses one and remembers it the first time.
kept_port() { # FILE
    [[ -s $1 ]] || free_port >"$1"
    cat "$1"
}

# --- processes ---------------------------------------------------------------------------------------------

# Prints the start time of a process, nothing when it is gone or has ended and nobody asked for its result.
process_start() { # PID
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    local fields
    read -r -a fields <<<"${stat##*) }" # after the name, which may hold anything
    [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
    return 0
}

# Prints the pid when the process of this pid file lives, and fails otherwise.
live_pid() { # PIDFILE
    local pid start
    read -r pid start 2>/dev/null <"$1" || return 1
    [[ -n $start && $(process_start "$pid") == "$start" ]] && echo "$pid"
}

# Starts a command in a session of its own, so that Ctrl-C in the terminal does not reach it, without any of the
# caller's open files (a lock, make's pipes), its output appended to the log.
spawn() { # PIDFILE LOG COMMAND...
    local pidfile=$1 log=$2
    shift 2
    (
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            [[ $fd -le 2 ]] || exec {fd}>&-
        done
        # bash lets background commands ignore SIGINT and SIGQUIT; env gives them back
        exec env --default-signal=INT,QUIT setsid -- "$@"
    ) </dev/null >>"$log" 2>&1 &
    local pid=$! start
    start=$(process_start "$pid")
    echo "$pid ${start:-gone}" >"$pidfile"
}

# Asks until the answer is yes. Ends with one sentence when the process ends before, or time is up.
wait_ready() { # LABEL PIDFILE LOG SECONDS COMMAND...
    local label=$1 pidfile=$2 log=$3 deadline=$(($(now_ms) + $4 * 1000)) seconds=$4 pause_ms=20 pause
    shift 4
    until "$@"; do
        if ! live_pid "$pidfile" >/dev/null; then
            last_lines "$log"
            fail "$label ended while starting; its log is $log"
        fi
        if [[ $(now_ms) -ge $deadline ]]; then
            last_lines "$log"
            kill_process "$pidfile"
            fail "$label is not ready after $seconds s; its log is $log"
        fi
        printf -v pause '0.%03d' "$pause_ms"
        sleep "$pause"
        pause_ms=$((pause_ms < 150 ? pause_ms * 5 / 4 : pause_ms))
    done
}

last_lines() { # LOG
    tail -n 8 "$1" 2>/dev/null | sed 's/^/    /' >&2 || true
}

# SIGTERM, and SIGKILL for whoever has not ended after so many seconds. Nothing happens when none lives.
end_process() { # LABEL PIDFILE SECONDS
    local pid deadline=$(($(now_ms) + $3 * 1000))
    if pid=$(live_pid "$2"); then
        kill -TERM "$pid" 2>/dev/null || true
        while live_pid "$2" >/dev/null; do
            if [[ $(now_ms) -ge $deadline ]]; then
                echo "$1 did not end within $3 s of SIGTERM: killed" >&2
                kill_process "$2"
                return 0
            fi
            sleep 0.03
        done
    fi
    rm -f "$2"
}

# SIGKILL, and waits until the process is gone.
kill_process() { # PIDFILE
    local pid
    if pid=$(live_pid "$1"); then
        kill -KILL "$pid" 2>/dev/null || true
        while live_pid "$1" >/dev/null; do
            sleep 0.02
        done
    fi
    rm -f "$1"
}

show_status() { # LABEL PIDFILE WHERE
    local pid
    if pid=$(live_pid "$2"); then
        printf '%-16s running  pid %-8s %s\n' "$1" "$pid" "$3"
    else
        printf '%-16s stopped\n' "$1"
        return 3
    fi
}

# --- DIR/env -----------------------------------------------------------------------------------------------

# Prints NAME=VALUE so that a shell can source it; plain values stand there unquoted.
env_line() { # NAME VALUE
    if [[ $2 =~ ^[A-Za-z0-9_./:@,+%=-]*$ ]]; then
        printf '%s=%s\n' "$1" "$2"
    else
        printf '%s=%q\n' "$1" "$2"
    fi
}

# Replaces a file by standard input, at once and readable by its owner only.
put_file() { # FILE
    local new=$1.new.$BASHPID
    cat >"$new" && mv -f "$new" "$1"
}

# Gathers DIR/env from what the living servers and the daemons' list say.
write_env() { # DIR
    local dir=$1 part addresses=() file before='' behind=''
    if is_secured "$dir"; then
        before=rediss:// behind="?ca=$dir/tls/ca.pem"
    fi
    {
        for part in kafka mysql; do
            if live_pid "$dir/$part/pid" >/dev/null; then
                cat "$dir/$part/env"
            fi
        done
        for file in "$dir"/redis-*/pid; do
            if live_pid "$file" >/dev/null; then
                addresses+=("${before}127.0.0.1:$(cat "${file%/pid}/port")$behind")
            fi
        done
        if [[ ${#addresses[@]} -gt 0 ]]; then
            (IFS=, && env_line REDIS_ADDR "${addresses[*]}")
            if is_secured "$dir"; then
                env_line REDIS_PASSWORD "$(cat "$dir/tls/redis-password")"
            fi
        fi
        if [[ -e $dir/run/suite.env ]]; then
            cat "$dir/run/suite.env"
        fi
    } | put_file "$dir/env"
}
