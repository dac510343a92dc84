#!/usr/bin/env bash
# Is Kafka on 127.0.0.1:9092 ready? Ends with 0 when the broker lists itself among the living in the answer to a Metadata
# request. The health check of docker-compose.yml: Kafka's own tools would start a JVM each time.
set -euo pipefail
export LC_ALL=C

exec 3<>/dev/tcp/127.0.0.1/"${1:-9092}"
# Version 1, no topics. The answer begins with length, correlation id and number of brokers, 4 bytes each.
printf '\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\0\0\0\0' >&3
for ((i = 0; i < 12; i++)); do
    IFS= read -r -t 3 -d '' -n 1 byte <&3 # a zero byte reads as nothing
    if [[ $i -ge 8 && -n $byte ]]; then
        exit 0
    fi
done
exit 1
