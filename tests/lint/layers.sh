#!/bin/bash
# SPDX-License-Identifier: MIT
# Who may include what. Only what a table below lists is allowed. Looks at each file's own #include
# lines; a header that brings another one is checked where it stands itself.
. "$(dirname "$0")/lib.sh"

# common/ by layer: a module may include the rows above its own; within the first row, its row too.
# A module is a file and its parts: db.c, db.h, db_impl.h, db_sqlite.c.
layers='
err arena buf map clock log random text topics
config metrics
pool
token bus db redis admin
pb
rpc
outbox
svc
'

# file (first match counts)      project headers it may include (* matches slashes too)
folders='
tests/unit/*                     @/* tests/* common/* proto/*
tests/*                          *
gateway/standalone.c             gateway/* auth-svc/* message-svc/* group-svc/* presence-svc/* common/*
gateway/*                        gateway/* common/* proto/* !common/db* !common/redis* !common/outbox*
*-svc/main.c                     @/* common/* proto/*
*-svc/store*                     @/store* @/schema.h @/keys.h @/rules* common/* !common/bus* !common/rpc* !common/svc* !common/pb*
*-svc/*                          @/* common/* proto/* !common/db* !common/redis* !common/bus_*
'

# foreign header                 its owners
foreign='
librdkafka/*                     common/bus_kafka*
mysql.h                          common/db_mysql*
mysql/*                          common/db_mysql*
mariadb/*                        common/db_mysql*
errmsg.h                         common/db_mysql*
mysqld_error.h                   common/db_mysql*
sqlite3.h                        common/db_sqlite*
hiredis/*                        common/redis*
jansson.h                        gateway/pbjson*
jwt.h                            common/token*
openssl/*                        common/token* common/redis* tests/unit/common/test_token* gateway/http* gateway/tls* gateway/ws*
h2o.h                            gateway/*
h2o/*                            gateway/*
sodium.h                         auth-svc/password* auth-svc/refresh* common/random*
utf8proc.h                       common/text* auth-svc/text*
zlib.h                           gateway/http*
protobuf-c/*                     common/pb* common/rpc* common/svc* gateway/pbjson* gateway/routes* gateway/calls* tests/*
uv.h                             common/* gateway/standalone.c gateway/main.c tests/*
sanitizer/*                      common/arena.c
'

# ISO C, POSIX, Linux
system=' assert ctype errno float inttypes limits locale math setjmp signal stdalign stdarg stdatomic
stdbool stddef stdint stdio stdlib stdnoreturn string strings time arpa/inet dirent dlfcn endian fcntl
fnmatch getopt glob ifaddrs libgen malloc netdb net/if netinet/in netinet/tcp poll pthread pwd regex sched
semaphore spawn sys/epoll sys/eventfd sys/file sys/ioctl sys/mman sys/prctl sys/random sys/resource
sys/select sys/signalfd sys/socket sys/stat sys/statvfs sys/syscall sys/time sys/timerfd sys/types
sys/uio sys/un sys/utsname sys/wait syslog termios threads ucontext unistd wchar wctype '
system=${system//$'\n'/ }

declare -A layer_of
row=0
while read -r -a modules; do
    [ ${#modules[@]} -eq 0 ] && continue
    row=$((row + 1))
    for module in "${modules[@]}"; do
        layer_of[$module]=$row
    done
done <<<"$layers"

# common/db_sqlite.c -> db; the longest name in the table that fits.
module_of() {
    local name=${1#common/}
    name=${name%.[ch]}
    while [ -z "${layer_of[$name]:-}" ] && [[ $name == *_* ]]; do
        name=${name%_*}
    done
    module=$name
}

check_common() { # file header
    local file=$1 header=$2 from to
    [[ $header == proto/* ]] && [[ $file == common/rpc* || $file == common/svc* ]] && return
    if [[ $header != common/* ]]; then
        problem "$file: common/ may not include $header"
        return
    fi
    module_of "$file" && from=$module
    module_of "$header" && to=$module
    if [ -z "${layer_of[$from]:-}" ]; then
        problem "$file: the module $from has no layer in tests/lint/layers.sh"
    elif [ -z "${layer_of[$to]:-}" ]; then
        problem "$file: $header has no layer in tests/lint/layers.sh"
    elif [ "$from" != "$to" ] && [ "${layer_of[$to]}" -ge "${layer_of[$from]}" ] &&
        [ "${layer_of[$to]}" -ne 1 ]; then
        problem "$file: $header is not in a layer below $from"
    fi
}

# Does the header match one of the patterns, and none with "!"? "@" is the file's own folder.
allowed() { # file header patterns…
    local header=$2 own yes=1 pattern
    own=$(dirname "$1")
    [[ $own == tests/unit/* ]] && own=${own#tests/unit/}
    shift 2
    for pattern in "$@"; do
        pattern=${pattern/@/$own}
        # shellcheck disable=SC2053 # a pattern on purpose
        if [[ $pattern == !* ]]; then
            [[ $header == ${pattern#!} ]] && return 1
        elif [[ $header == $pattern ]]; then
            yes=0
        fi
    done
    return $yes
}

lookup() { # table key: sets patterns to the rest of the first row whose first word matches the key
    local key=$2 first
    patterns=()
    while read -r first rest; do
        # shellcheck disable=SC2053
        if [ -n "$first" ] && [[ $key == $first ]]; then
            read -r -a patterns <<<"$rest"
            return 0
        fi
    done <<<"$1"
    return 1
}

check_own() { # file header
    local file=$1 header=$2
    if [[ $header != */* ]]; then
        problem "$file: write \"$header\" from the root: #include \"folder/$header\""
    elif [[ $file == common/* ]]; then
        check_common "$file" "$header"
    elif ! lookup "$folders" "$file"; then
        problem "$file: no row in tests/lint/layers.sh says what it may include"
    elif ! allowed "$file" "$header" "${patterns[@]}"; then
        problem "$file: may not include $header"
    fi
    if [ ! -f "$header" ] && [[ $header != proto/*.pb-c.h && $header != *-svc/schema.h ]]; then
        problem "$file: $header does not exist"
    fi
}

check_foreign() { # file header
    local file=$1 header=$2
    [[ $system == *" ${header%.h} "* ]] && return
    if ! lookup "$foreign" "$header"; then
        problem "$file: <$header> has no owner in tests/lint/layers.sh"
    elif ! allowed "$file" "$file" "${patterns[@]}"; then
        problem "$file: <$header> belongs to ${patterns[*]}"
    fi
}

include_line='^#[[:space:]]*include[[:space:]]*(["<])([^">]+)[">]'

check_file() {
    local file=$1 line header first=1
    while IFS= read -r line; do
        [[ $line =~ $include_line ]] || continue
        header=${BASH_REMATCH[2]}
        if [ "${BASH_REMATCH[1]}" = '"' ]; then
            check_own "$file" "$header"
        else
            check_foreign "$file" "$header"
        fi
        # So that each header is compiled once with nothing before it.
        if [ $first -eq 1 ] && [[ $file == *.c ]] && [ -f "${file%.c}.h" ] &&
            [[ $header != "${file%.c}"* ]]; then # its own, or its module's private one
            problem "$file: its own header comes first"
        fi
        first=0
    done < <(grep '^#' "$file")
}

checked=0
while IFS= read -r file; do
    check_file "$file"
    checked=$((checked + 1))
done < <(c_files)
[ $checked -gt 0 ] || problem "no C file found"
finish
