#!/usr/bin/env bash
# A private MariaDB for development and tests on 127.0.0.1 and a socket file, its data in DIR/mysql: one schema and
# one user for each service that keeps data, with rights on that schema only. Started again, it has the same port,
# data and passwords.
#
# usage: mysql.sh start|stop|kill|status [DIR]      DIR: var/local of this clone
#
# `kill` is SIGKILL, for tests. The administrator is whoever made the data, by the socket file and without a
# password: mariadb --socket=DIR/mysql/sock. The script makes no tables; each service applies its own schema.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly start_seconds=60 stop_seconds=30
readonly services=(auth message group)
declare -rA schema_of=([auth]=auth [message]=message [group]=groups)

write_settings() { # HOME
    put_file "$1/my.cnf" <<END
# Written by deploy/local/mysql.sh at every start.
[mysqld]
datadir=$1/data
tmpdir=$1/tmp
socket=$1/sock
pid-file=$1/mariadbd.pid
port=$(kept_port "$1/port")
bind-address=127.0.0.1
skip-name-resolve
local-infile=OFF
character-set-server=utf8mb4
collation-server=utf8mb4_bin
max-connections=200
performance-schema=OFF
innodb-buffer-pool-size=64M
innodb-log-file-size=32M
# an acknowledged message survives power loss: never weaken this one
innodb-flush-log-at-trx-commit=1
END
    if is_secured "${1%/mysql}"; then
        cat >>"$1/my.cnf" <<END
ssl-ca=${1%/mysql}/tls/ca.pem
ssl-cert=${1%/mysql}/tls/server.pem
ssl-key=${1%/mysql}/tls/server.key
require-secure-transport=ON
END
    fi
    # the server refuses to run as root unless told so
    if [[ $(id -u) -eq 0 ]]; then
        echo 'user=root' >>"$1/my.cnf"
    fi
}

install_data() { # HOME
    [[ ! -e $1/installed ]] || return 0
    rm -rf "$1/data"
    mariadb-install-db --defaults-file="$1/my.cnf" --skip-test-db --auth-root-authentication-method=socket \
        --auth-root-socket-user="$(id -un)" >"$1/install.log" 2>&1 ||
        fail "the data folder cannot be made; see $1/install.log"
}

ask() { # HOME: runs the SQL of standard input as the administrator
    mariadb --no-defaults --socket="$1/sock" --user="$(id -un)" --batch --skip-column-names
}

answers() { # HOME
    [[ $(ask "$1" <<<'SELECT 1' 2>/dev/null) == 1 ]]
}

# Once for a data folder: schemas, users, and DIR/mysql/env with their addresses.
make_users() { # HOME
    [[ ! -e $1/installed ]] || return 0
    local service schema password sql='' port require='' options=''
    port=$(cat "$1/port")
    if is_secured "${1%/mysql}"; then
        require='REQUIRE SSL' options="?tls=verify&ca=${1%/mysql}/tls/ca.pem"
    fi
    {
        env_line MYSQL_SOCKET "$1/sock"
        env_line MYSQL_PORT "$port"
        for service in "${services[@]}"; do
            schema=${schema_of[$service]}
            password=$(random_hex 16)
            env_line "${service^^}_DATABASE_URL" "mysql://$service:$password@127.0.0.1:$port/$schema$options"
            sql+="CREATE DATABASE IF NOT EXISTS \`$schema\`;"
            sql+="CREATE OR REPLACE USER '$service'@'%' IDENTIFIED BY '$password' $require;"
            sql+="GRANT ALL PRIVILEGES ON \`$schema\`.* TO '$service'@'%';"
        done
    } >"$1/env"
    ask "$1" <<<"$sql" || fail "the schemas and users cannot be made; see ${1%/mysql}/log/mysql.log"
    touch "$1/installed"
}

start() { # DIR
    local home=$1/mysql begin
    need_command mariadbd
    need_command mariadb
    # a socket's address has 108 bytes
    [[ ${#home} -le 100 ]] || fail "the folder's path is too long for a socket file: $home"
    mkdir -p "$home/tmp"
    exec 8>"$home/lock"
    flock 8
    if live_pid "$home/pid" >/dev/null; then
        echo "MariaDB runs already on 127.0.0.1:$(cat "$home/port")"
        return 0
    fi
    begin=$(now_ms)
    write_settings "$home"
    install_data "$home"
    spawn "$home/pid" "$1/log/mysql.log" "$(command -v mariadbd)" --defaults-file="$home/my.cnf"
    wait_ready MariaDB "$home/pid" "$1/log/mysql.log" "$start_seconds" answers "$home"
    make_users "$home"
    echo "MariaDB ready on 127.0.0.1:$(cat "$home/port") after $(seconds_since "$begin") s"
}

case ${1-} in
start) start "$(stack_dir "${2-$default_dir}")" ;;
stop) end_process MariaDB "${2-$default_dir}/mysql/pid" "$stop_seconds" ;;
kill) kill_process "${2-$default_dir}/mysql/pid" ;;
status) show_status mysql "${2-$default_dir}/mysql/pid" "127.0.0.1:$(cat "${2-$default_dir}/mysql/port" 2>/dev/null || true)" ;;
*) fail "usage: mysql.sh start|stop|kill|status [DIR]" ;;
esac
