#!/usr/bin/env bash
# Installs what the project needs from Debian 12 and what this machine lacks, in groups:
#
#   build   compiler, protobuf compiler and the libraries' headers
#   suite   the servers of deploy/local: MariaDB, Redis, Java and Maven for Kafka, and the tests' Python
#   lint    clang, its tools and sanitizers, cppcheck, shellcheck, and a Python for the lints of deploy
#
# usage: deploy/install.sh GROUP...
#
# When nothing is missing it only looks, and says nothing. It starts no system service and leaves none
# running; the local stack has private servers of its own. It fetches no Kafka: deploy/local/kafka.sh does.
set -euo pipefail

readonly build_packages=(gcc make pkg-config libh2o-evloop-dev librdkafka-dev libmariadb-dev libmariadb3
    libhiredis-dev libjansson-dev libjwt-dev libuv1-dev libprotobuf-c-dev protobuf-c-compiler libsodium-dev
    libsqlite3-dev libutf8proc-dev libssl-dev zlib1g-dev)
readonly lint_packages=(clang clang-format clang-tidy cppcheck shellcheck libclang-rt-14-dev python3-venv)
# PACKAGE:COMMAND is wanted only where the command is missing, however it came there. The -core packages of
# MariaDB hold its programs and no service.
readonly suite_packages=(mariadb-server-core:mariadbd mariadb-client-core:mariadb redis-server:redis-server
    openjdk-17-jre-headless:java maven:mvn python3:python3 curl:curl)

PATH=$PATH:/usr/sbin:/sbin

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

wanted_packages() {
    local group entry
    for group in "$@"; do
        case $group in
        build) printf '%s\n' "${build_packages[@]}" ;;
        lint) printf '%s\n' "${lint_packages[@]}" ;;
        suite)
            for entry in "${suite_packages[@]}"; do
                command -v "${entry#*:}" >/dev/null || echo "${entry%%:*}"
            done
            ;;
        demo) command -v python3 >/dev/null || echo python3 ;;
        *) fail "unknown group '$group'; the groups are build, demo, suite and lint" ;;
        esac
    done
}

# Prints those of the packages that are not installed.
missing_of() {
    local installed name
    [[ $# -gt 0 ]] || return 0
    # dpkg-query fails when it does not know one of the names: then that one is missing
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
    for name in "$@"; do
        [[ $'\n'$installed$'\n' == *$'\n'"installed $name"$'\n'* ]] || echo "$name"
    done
}

# Debian's package scripts ask /usr/sbin/policy-rc.d before they start a service; 101 means "no".
forbid_services() {
    readonly policy=/usr/sbin/policy-rc.d
    [[ ! -e $policy ]] || return 0
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
}

[[ $# -gt 0 ]] || fail "usage: deploy/install.sh build|demo|suite|lint..."
command -v dpkg-query >/dev/null || fail "this is not Debian: install by hand what this script lists"

wanted=$(wanted_packages "$@") # a variable of its own, so that an unknown group ends the script
mapfile -t wanted_list < <(printf '%s' "$wanted")
mapfile -t missing < <(missing_of "${wanted_list[@]}")
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || fail "needs root or sudo to install: ${missing[*]}"
    exec sudo -- "$BASH" "${BASH_SOURCE[0]}" "$@"
fi

echo "installing from Debian: ${missing[*]}"
forbid_services
export DEBIAN_FRONTEND=noninteractive
apt_options=(-q -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
log=$(mktemp)
if ! { apt-get "${apt_options[@]}" update &&
    apt-get "${apt_options[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install: ${missing[*]}"
fi
rm -f "$log"
