#!/bin/bash
# Is the daemon of this container ready? Ends with 0 when /readyz of its admin port answers 200. The health check of
# the images, which hold bash and no HTTP client.
set -euo pipefail

exec 3<>"/dev/tcp/127.0.0.1/${ADMIN_PORT:-9100}"
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
IFS= read -r -t 3 line <&3
[[ $line == 'HTTP/1.'[01]' 200 '* ]]
