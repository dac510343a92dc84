#!/usr/bin/env bash
# Does the balancer have a ready gateway? The health check of docker-compose.yml.
set -euo pipefail

exec 3<>/dev/tcp/127.0.0.1/8404
printf 'GET /ready HTTP/1.0\r\n\r\n' >&3
IFS= read -r -t 3 line <&3
[[ $line == 'HTTP/1.'[01]' 200 '* ]]
