#!/usr/bin/env bash
# Makes the schemas and users of the services, each with rights on its own schema only. The official images of MariaDB
# and of MySQL run it once, when the data folder is new (it is mounted into /docker-entrypoint-initdb.d). The tables
# are made by the services themselves.
#
# From the environment: MYSQL_ROOT_PASSWORD, AUTH_DB_PASSWORD, MESSAGE_DB_PASSWORD, GROUP_DB_PASSWORD (letters and
# digits).
set -euo pipefail

readonly services=(auth message group)
declare -rA schema_of=([auth]=auth [message]=message [group]=groups)

sql=''
for service in "${services[@]}"; do
    password=${service^^}_DB_PASSWORD
    [[ ${!password-} =~ ^[A-Za-z0-9]{16,}$ ]] || {
        echo "init.sh: $password must have at least 16 letters and digits" >&2
        exit 1
    }
    sql+="CREATE DATABASE IF NOT EXISTS \`${schema_of[$service]}\`;"
    sql+="CREATE USER IF NOT EXISTS '$service'@'%' IDENTIFIED BY '${!password}';"
    sql+="GRANT ALL PRIVILEGES ON \`${schema_of[$service]}\`.* TO '$service'@'%';"
done
client=$(command -v mariadb || command -v mysql)
MYSQL_PWD=$MYSQL_ROOT_PASSWORD "$client" --protocol=socket --user=root <<<"$sql"
