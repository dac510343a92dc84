#!/usr/bin/env bash
# Can a service log in over the network? Then the server is up and init.sh is through (while it runs, the images let
# nobody in but by the socket file). The health check of docker-compose.yml.
set -euo pipefail

client=$(command -v mariadb || command -v mysql)
[[ $(MYSQL_PWD=$GROUP_DB_PASSWORD "$client" --host=127.0.0.1 --user=group --batch --skip-column-names \
    --connect-timeout=3 --execute='SELECT 1' groups) == 1 ]]
