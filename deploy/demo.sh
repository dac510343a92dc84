#!/usr/bin/env bash
# Two users, a group and a message, shown hop by hop on a server of its own, which leaves nothing behind.
#
# usage: demo.sh [suite]      standalone by default; suite: five daemons with Kafka, MariaDB and Redis
#
# BUILD names the folder of the programs (build), as in the tests.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

if [[ $# -gt 1 || ${1-suite} != suite ]]; then
    echo "usage: demo.sh [suite]" >&2
    exit 2
fi
command -v python3 >/dev/null || {
    echo "demo.sh: python3 is missing; deploy/install.sh demo installs it" >&2
    exit 1
}
exec python3 "$root/deploy/demo.py" "$@"
