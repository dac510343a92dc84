#!/usr/bin/env bash
# A private Kafka for development and tests: one node, broker and controller in one small JVM (KRaft), on
# 127.0.0.1, its data in DIR/kafka. Started again, it has the same port and the same data.
#
# usage: kafka.sh start|stop|kill|status [DIR]      DIR: var/local of this clone
#        kafka.sh fetch                             only bring the jars into the cache
#        kafka.sh tool CLASS ARGUMENT...            run one of Kafka's own tools, such as
#                                                   org.apache.kafka.tools.TopicCommand
#
# `kill` is SIGKILL, for tests. The jars come once through Maven (deploy/kafka/pom.xml) into a cache outside of the
# clone. When they cannot be had, it ends with exit code 75, so that a test run can skip and say so. It makes no
# topics (the services do), replicates nothing and lets everybody on this machine in: not for production.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly pom=$root/deploy/kafka/pom.xml
readonly copy_goal=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies
readonly exit_unavailable=75
readonly start_seconds=60 stop_seconds=20 fetch_seconds=300
readonly mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512 jaas=org.apache.kafka.common.security
readonly secure_preface=$((4 + 4 + 2 + 4 + 2 + 5 + 2 + 13 + 2 + 13 + 4)) # bytes of two answers, the first lists the mechanisms
# The first-tier compiler alone starts faster and, in this size, carries as many records a second.
readonly java_flags=(-Xms256m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData
    -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true
    "-Dlog4j.configuration=file:$root/deploy/kafka/log4j.properties")

# --- the jars ----------------------------------------------------------------------------------------------

unavailable() {
    echo "kafka.sh: $*" >&2
    exit "$exit_unavailable"
}

kafka_version() {
    sed -n 's:.*<version>\([0-9.]\{5,\}\)</version>.*:\1:p' "$pom" | head -n 1
}

# Fills the cache unless it was filled from this very pom.xml. One process at a time; the rest wait for it.
fetch() {
    jars_dir=$cache_dir/kafka-$(kafka_version)
    local sum
    sum=$(cksum <"$pom")
    if [[ $(cat "$jars_dir/complete" 2>/dev/null) != "$sum" ]]; then
        mkdir -p "$cache_dir"
        (
            flock 9
            [[ $(cat "$jars_dir/complete" 2>/dev/null) == "$sum" ]] || fetch_jars "$sum"
        ) 9>"$jars_dir.lock"
    fi
    local jars=("$jars_dir"/lib/*.jar)
    class_path=$(IFS=: && echo "${jars[*]}")
}

fetch_jars() { # CHECKSUM
    command -v mvn >/dev/null || unavailable "Maven is missing, so Kafka cannot be fetched; deploy/install.sh suite installs it"
    echo "fetching Kafka $(kafka_version) through Maven into $jars_dir"
    rm -rf "$jars_dir"
    mkdir "$jars_dir"
    if ! timeout "$fetch_seconds" mvn -B -q -C -f "$pom" "$copy_goal" -DincludeScope=runtime \
        -DoutputDirectory="$jars_dir/lib" </dev/null >"$jars_dir/fetch.log" 2>&1; then
        unavailable "Kafka $(kafka_version) cannot be fetched, because Maven failed or did not reach a repository; see $jars_dir/fetch.log"
    fi
    echo "$1" >"$jars_dir/complete"
}

# Names the archive of parsed classes for this Java and these jars; making one takes a start and a stop of the
# broker, and halves every later start. A JVM that cannot use it starts without it.
class_archive() {
    local java
    java=$(readlink -f "$(command -v java)")
    echo "$jars_dir/classes-$(stat -Lc '%n %s %Y' "$java" "${java%/bin/java}/lib/modules" 2>/dev/null | cksum | cut -d' ' -f1).jsa"
}

make_class_archive() { # FILE
    (
        flock 9
        [[ ! -e $1 ]] || exit 0
        echo "preparing Kafka's classes for quick starts (once)"
        local trial
        trial=$(mktemp -d)
        if (start_in "$trial/kafka" "$trial/log" "-XX:ArchiveClassesAtExit=$1.new" && end_process Kafka "$trial/kafka/pid" "$stop_seconds") \
            >/dev/null 2>&1 && [[ -s $1.new ]]; then
            mv -f "$1.new" "$1"
        fi
        kill_process "$trial/kafka/pid"
        rm -rf "$trial" "$1.new"
    ) 9>"$jars_dir/classes.lock"
}

# --- the server --------------------------------------------------------------------------------------------

write_properties() { # HOME
    local port controller_port scheme=PLAINTEXT
    port=$(kept_port "$1/port")
    controller_port=$(kept_port "$1/controller_port")
    if is_secured "${1%/kafka}"; then
        scheme=SASL_SSL
    fi
    {
        common_properties "$@"
        [[ $scheme == PLAINTEXT ]] || secure_properties "${1%/kafka}/tls"
    } | put_file "$1/server.properties"
}

common_properties() { # HOME
    cat <<END
# Written by deploy/local/kafka.sh at every start.
process.roles=broker,controller
node.id=1
listeners=$scheme://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=$scheme://127.0.0.1:$port
controller.quorum.voters=1@127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
inter.broker.listener.name=$scheme
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
log.dirs=$1/data

# one node holds everything
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4

# what the services count on
auto.create.topics.enable=false
delete.topic.enable=true
unclean.leader.election.enable=false
group.initial.rebalance.delay.ms=0

# a broker that was killed may not come back before its session ends (9 s by default)
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# a small heap: the cleaner alone would take half of it
log.cleaner.dedupe.buffer.size=8388608
log.preallocate=false
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
END
}

# TLS with the certificate of tls.sh, and the user "chat" by PLAIN (which stands here) or SCRAM (which format_data puts
# into the metadata log). The broker speaks to itself as the same user.
secure_properties() { # TLSDIR
    local password login
    password=$(cat "$1/kafka-password")
    login="username=\"chat\" password=\"$password\""
    cat <<END

# who may come in, and how
ssl.keystore.type=PEM
ssl.keystore.location=$1/server.both.pem
ssl.truststore.type=PEM
ssl.truststore.location=$1/ca.pem
ssl.client.auth=none
sasl.enabled.mechanisms=$mechanisms
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=$jaas.plain.PlainLoginModule required $login user_chat="$password";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=$jaas.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$jaas.scram.ScramLoginModule required;
END
}

# For Kafka's own tools: kafka.sh tool … --command-config DIR/kafka/client.properties
write_client_properties() { # HOME
    local tls=${1%/kafka}/tls
    put_file "$1/client.properties" <<END
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$tls/ca.pem
sasl.mechanism=PLAIN
sasl.jaas.config=$jaas.plain.PlainLoginModule required username="chat" password="$(cat "$tls/kafka-password")";
END
}

write_address() { # HOME
    local tls=${1%/kafka}/tls
    {
        env_line KAFKA_BOOTSTRAP_SERVERS "127.0.0.1:$(cat "$1/port")"
        if is_secured "${1%/kafka}"; then
            env_line KAFKA_SECURITY_PROTOCOL sasl_ssl
            env_line KAFKA_SASL_MECHANISM SCRAM-SHA-512
            env_line KAFKA_SASL_USERNAME chat
            env_line KAFKA_SASL_PASSWORD "$(cat "$tls/kafka-password")"
            env_line KAFKA_SSL_CA_FILE "$tls/ca.pem"
        fi
    } | put_file "$1/env"
}

# A fresh cluster id with each data folder: the services tell by it that the log is another one.
format_data() { # HOME JAVA_FLAG
    [[ ! -e $1/formatted ]] || return 0
    rm -rf "$1/data"
    local id
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'pl' | tr -d '=')
    {
        printf '%s\n' kafka.tools.StorageTool format "-t $id" "-c $1/server.properties"
        if is_secured "${1%/kafka}"; then
            printf -- '--add-scram %s=[name=chat,password=%s]\n' \
                SCRAM-SHA-256 "$(cat "${1%/kafka}/tls/kafka-password")" SCRAM-SHA-512 "$(cat "${1%/kafka}/tls/kafka-password")"
        fi
    } | put_file "$1/format.arguments" # a file, because everybody may read a command's arguments
    java "${java_flags[@]}" "$2" -cp "$class_path" "@$1/format.arguments" >"$1/format.log" 2>&1 ||
        fail "the data folder cannot be formatted; see $1/format.log"
    touch "$1/formatted"
}

# The broker is ready when it lists itself among the living in the answer to a Metadata request (version 1, no
# topics). The answer: length, correlation id, number of brokers, 4 bytes each.
answers() { # HOME
    local brokers
    if is_secured "${1%/kafka}"; then
        brokers=$(secure_question "$(cat "$1/port")" "${1%/kafka}/tls" | od -An -tu1 -j$((secure_preface + 8)) -N4 2>/dev/null) || return 1
    else
        brokers=$(
            exec 2>/dev/null
            exec 3<>"/dev/tcp/127.0.0.1/$(cat "$1/port")" || exit 1
            metadata_request >&3
            timeout 2 head -c 12 <&3 | od -An -tu1 -j8 -N4
        ) || return 1
    fi
    [[ $brokers == *[1-9]* ]]
}

metadata_request() {
    printf '\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\0\0\0\0'
}

# The same over TLS, behind a login: SaslHandshake (version 0), then PLAIN's bare token. Their answers: length,
# correlation id, error, the list of mechanisms; and an empty token.
secure_question() { # PORT TLSDIR
    local password length
    password=$(cat "$2/kafka-password")
    printf -v length '\\x%02x' $((6 + ${#password}))
    head -c $((secure_preface + 12)) < <(
        {
            printf '\0\0\0\x11\0\x11\0\0\0\0\0\x01\xff\xff\0\x05PLAIN'
            printf '%b' "\0\0\0$length\0chat\0"
            printf '%s' "$password"
            metadata_request
        } | timeout 2 openssl s_client -quiet -verify_quiet -verify_return_error -CAfile "$2/ca.pem" \
            -connect "127.0.0.1:$1" 2>/dev/null
    )
}

start_in() { # HOME LOGDIR JAVA_FLAG
    local home=$1 log=$2/kafka.log
    mkdir -p "$home/tmp" "$2"
    write_properties "$home"
    if is_secured "${home%/kafka}"; then
        write_client_properties "$home"
    fi
    format_data "$home" "$3"
    spawn "$home/pid" "$log" java "${java_flags[@]}" "$3" "-Djava.io.tmpdir=$home/tmp" \
        -cp "$class_path" kafka.Kafka "$home/server.properties"
    wait_ready Kafka "$home/pid" "$log" "$start_seconds" answers "$home"
}

start() { # DIR
    command -v java >/dev/null || unavailable "Java is missing, so Kafka cannot run; deploy/install.sh suite installs it"
    fetch
    local archive home=$1/kafka begin
    archive=$(class_archive)
    [[ -e $archive ]] || make_class_archive "$archive"

    mkdir -p "$home"
    exec 8>"$home/lock"
    flock 8
    if live_pid "$home/pid" >/dev/null; then
        echo "Kafka runs already on 127.0.0.1:$(cat "$home/port")"
        return 0
    fi
    begin=$(now_ms)
    start_in "$home" "$1/log" "-XX:SharedArchiveFile=$archive"
    write_address "$home"
    echo "Kafka ready on 127.0.0.1:$(cat "$home/port") after $(seconds_since "$begin") s"
}

case ${1-} in
start) start "$(stack_dir "${2-$default_dir}")" ;;
stop) end_process Kafka "${2-$default_dir}/kafka/pid" "$stop_seconds" ;;
kill) kill_process "${2-$default_dir}/kafka/pid" ;;
status) show_status kafka "${2-$default_dir}/kafka/pid" "127.0.0.1:$(cat "${2-$default_dir}/kafka/port" 2>/dev/null || true)" ;;
fetch) fetch ;;
tool)
    [[ $# -ge 2 ]] || fail "usage: kafka.sh tool CLASS ARGUMENT..."
    fetch
    exec java "-Dlog4j.configuration=file:$root/deploy/kafka/log4j.properties" -cp "$class_path" "${@:2}"
    ;;
*) fail "usage: kafka.sh start|stop|kill|status [DIR] | fetch | tool CLASS ARGUMENT..." ;;
esac
