#!/usr/bin/env bash
# Removes the reply topics that killed instances have left behind. Each instance reads its answers from a topic of its
# own, PREFIXreply.DAEMON-INSTANCE, and deletes it at a clean stop; one that was killed and never comes back under its
# name cannot. A left-over costs Kafka a partition and some memory, nothing else: there is no hurry.
#
# usage: prune.sh [--delete] --bootstrap HOST:PORT [--prefix chat.] -- COMMAND [ARGUMENT...]
#
# COMMAND prints the INSTANCE_IDs of all living instances, or DAEMON-INSTANCE_ID, one a line (examples in
# deploy/topics/README.md). It is run after the topics were listed, so that an instance that starts meanwhile is safe.
# Without --delete the script only says what it would remove. When COMMAND fails or names nobody, nothing is removed.
#
# Kafka's own tool is used: kafka-topics.sh of the path or of /opt/kafka/bin, or what KAFKA_TOPICS says, for example
# KAFKA_TOPICS='docker compose exec -T kafka /opt/kafka/bin/kafka-topics.sh'.
set -euo pipefail

fail() {
    echo "prune.sh: $*" >&2
    exit 1
}

find_tool() {
    if [[ -n ${KAFKA_TOPICS-} ]]; then
        read -r -a tool <<<"$KAFKA_TOPICS"
    elif command -v kafka-topics.sh >/dev/null; then
        tool=(kafka-topics.sh)
    else
        tool=(/opt/kafka/bin/kafka-topics.sh)
    fi
    command -v "${tool[0]}" >/dev/null || fail "${tool[0]} is missing; KAFKA_TOPICS can name another command"
}

kafka_topics() {
    "${tool[@]}" --bootstrap-server "$bootstrap" "$@" </dev/null
}

reply_topics() {
    local names
    names=$(kafka_topics --list) || fail "Kafka cannot be asked for its topics"
    tr -d '\r' <<<"$names" | grep -E "^${prefix//./\\.}reply\.(gateway|(auth|message|group|presence)-svc)-." || true
}

# The topics of the standard input whose instance is not among the living.
left_over() { # LIVING, one a line
    local topic name instance
    while IFS= read -r topic; do
        name=${topic#"$prefix"reply.}
        instance=${name#@(gateway|auth-svc|message-svc|group-svc|presence-svc)-}
        grep -qxF -e "$instance" -e "$name" <<<"$1" || echo "$topic"
    done
}

# One pattern for all, since each call of the tool starts a JVM.
remove() { # TOPIC...
    local pattern
    pattern=$(IFS='|' && echo "${*//./\\.}")
    kafka_topics --delete --topic "$pattern"
}

shopt -s extglob
prefix=chat. bootstrap='' delete=''
while [[ $# -gt 0 && $1 != -- ]]; do
    case $1 in
    --delete) delete=yes && shift ;;
    --bootstrap) bootstrap=${2-} && shift 2 ;;
    --prefix) prefix=${2-} && shift 2 ;;
    *) fail "unknown argument $1; usage: prune.sh [--delete] --bootstrap HOST:PORT [--prefix chat.] -- COMMAND..." ;;
    esac
done
[[ -n $bootstrap && ${1-} == -- && $# -ge 2 ]] ||
    fail "usage: prune.sh [--delete] --bootstrap HOST:PORT [--prefix chat.] -- COMMAND [ARGUMENT...]"
shift
[[ $prefix =~ ^[A-Za-z0-9._-]*$ ]] || fail "no topic begins with $prefix"

find_tool
all=$(reply_topics)
living=$("$@" </dev/null | tr -d '\r' | sed '/^[[:space:]]*$/d') || fail "the command that names the living failed: nothing removed"
[[ -n $living ]] || fail "nobody is alive, says the command: nothing removed"
mapfile -t dead < <(left_over "$living" <<<"$all" | sed '/^$/d')

echo "$(grep -c . <<<"$all" || true) reply topics, $(grep -c . <<<"$living") living instances, ${#dead[@]} left over"
[[ ${#dead[@]} -gt 0 ]] || exit 0
printf '%s\n' "${dead[@]}"
if [[ -z $delete ]]; then
    echo "nothing removed: --delete does"
else
    remove "${dead[@]}"
    echo "removed"
fi
