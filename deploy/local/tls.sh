#!/usr/bin/env bash
# A private authority, a server certificate for 127.0.0.1 and passwords, in DIR/tls. Where that folder stands, kafka.sh, mysql.sh
# and redis.sh of the same DIR speak TLS alone and ask for passwords; `stack.sh start DIR --secure` calls this first.
#
# usage: tls.sh make [DIR]                      DIR: var/local of this clone
#
# The authority's key is thrown away once it has signed: nobody can add a certificate later. For development and
# tests; a cluster has an authority of its own.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly days=3650

request() { # EXTENSIONS SUBJECT ARGUMENT...: a new key and its certificate
    local extensions=$1 subject=$2
    shift 2
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$days" -subj "$subject" \
        -config <(printf '[req]\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n[extensions]\n%b' "$extensions") \
        "$@" 2>&1
}

make() { # DIR
    local tls=$1/tls problem
    need_command openssl
    [[ ! -e $tls ]] || return 0
    [[ ! -e $1/kafka && ! -e $1/mysql ]] || fail "the servers in $1 were made without --secure; take another folder"
    rm -rf "$tls.new"
    mkdir "$tls.new"
    cd "$tls.new"
    problem=$(request 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n' \
        "/CN=chat local authority" -keyout ca.key -out ca.pem) || fail "openssl made no authority: $problem"
    problem=$(request 'basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' \
        "/CN=chat local server" -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem) ||
        fail "openssl made no certificate: $problem"
    rm ca.key
    cat server.key server.pem >server.both.pem # as Kafka wants it
    random_hex 16 >redis-password
    random_hex 16 >kafka-password
    mv "$tls.new" "$tls"
}

case ${1-} in
make) make "$(stack_dir "${2-$default_dir}")" ;;
*) fail "usage: tls.sh make [DIR]" ;;
esac
