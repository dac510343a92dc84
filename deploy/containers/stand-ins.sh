#!/usr/bin/env bash
# Makes images with the names that docker-compose.yml uses, out of Debian's packages and Kafka's jars, for an engine that
# reaches no image registry. They keep as much of the public images' contract as the compose file leans on: entry
# points, users, folders, environment. For trying things out: the public images are what should run.
#
# usage: stand-ins.sh base|kafka|mysql|redis|balancer|prometheus...      all of them when none is named
#
# Needs root, debootstrap, a Docker engine (DOCKER_HOST), and the packages' mirror; for Kafka also Maven
# (deploy/local/kafka.sh fetch). There is no stand-in for Grafana, which Debian does not have. An image that is there
# already is made anew; the names are those of .env.example.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
readonly base=debian:bookworm-slim
export DOCKER_BUILDKIT=0 # the old builder is part of every engine, and asks no registry

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

name_of() { # SETTING
    sed -n "s/^$1=//p" "$root/.env.example"
}

# Reads a Dockerfile from the standard input; the files for it are in the context.
make_image() { # NAME
    mkdir -p "$work/context"
    cat >"$work/Dockerfile"
    docker build --network=host --tag "$1" --file "$work/Dockerfile" "$work/context" >"$work/log" 2>&1 || {
        tail -n 10 "$work/log" >&2
        return 1
    }
    rm -rf "$work/context"
    echo "made $1"
}

put_program() { # NAME: the standard input, as a file of the context
    mkdir -p "$work/context"
    cat >"$work/context/$1"
    chmod 755 "$work/context/$1"
}

make_base() {
    debootstrap --variant=minbase bookworm "$work/root" >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        return 1
    }
    rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/usr/share/{doc,man,locale,info}/*
    printf 'path-exclude /usr/share/%s/*\n' doc man locale >"$work/root/etc/dpkg/dpkg.cfg.d/slim"
    printf '#!/bin/sh\nexit 101\n' >"$work/root/usr/sbin/policy-rc.d" # start no services
    chmod 755 "$work/root/usr/sbin/policy-rc.d"
    tar -C "$work/root" -c . | docker import --change 'CMD ["bash"]' - "$base" >/dev/null
    rm -rf "$work/root"
    echo "made $base"
}

make_kafka() {
    local version
    version=$(sed -n 's:.*<version>\([0-9.]\{5,\}\)</version>.*:\1:p' "$root/deploy/kafka/pom.xml" | head -n 1)
    "$root/deploy/local/kafka.sh" fetch
    mkdir -p "$work/context"
    cp -r "${XDG_CACHE_HOME:-$HOME/.cache}/chatroom/kafka-$version/lib" "$work/context/libs"
    cp "$root/deploy/kafka/log4j.properties" "$work/context/"
    chmod -R a+rX "$work/context"
    # KAFKA_A_B becomes a.b; a new folder is formatted for CLUSTER_ID
    put_program run <<'END_RUN'
#!/bin/bash
set -euo pipefail
java=(java -Dlog4j.configuration=file:/opt/kafka/config/log4j.properties -cp '/opt/kafka/libs/*')
env | grep '^KAFKA_' | grep -v '^KAFKA_\(HEAP\|JVM\|LOG4J\|OPTS\)' | while IFS='=' read -r name value; do
    name=${name#KAFKA_}
    name=${name//___/-}
    name=${name//_/.}
    printf '%s=%s\n' "${name,,}" "$value"
done >/tmp/server.properties
"${java[@]}" kafka.tools.StorageTool format --ignore-formatted -t "$CLUSTER_ID" -c /tmp/server.properties
read -r -a heap <<<"${KAFKA_HEAP_OPTS:--Xmx1G -Xms1G}"
exec "${java[0]}" "${heap[@]}" "${java[@]:1}" kafka.Kafka /tmp/server.properties
END_RUN
    put_program kafka-topics.sh <<'END_TOPICS'
#!/bin/bash
exec java -Dlog4j.configuration=file:/opt/kafka/config/log4j.properties -cp '/opt/kafka/libs/*' \
    org.apache.kafka.tools.TopicCommand "$@"
END_TOPICS
    make_image "$(name_of KAFKA_IMAGE)" <<END
FROM $base
RUN mkdir -p /usr/share/man/man1 && apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* && useradd --uid 1000 --create-home appuser \
    && install -d -o appuser -g appuser /var/lib/kafka/data
COPY libs /opt/kafka/libs
COPY log4j.properties /opt/kafka/config/
COPY kafka-topics.sh /opt/kafka/bin/
COPY run /etc/kafka/docker/run
USER appuser
VOLUME /var/lib/kafka/data
CMD ["/etc/kafka/docker/run"]
END
}

make_mysql() {
    # A new folder gets a root password and what /docker-entrypoint-initdb.d does, without any network.
    put_program docker-entrypoint.sh <<'END_RUN'
#!/bin/bash
set -euo pipefail
[[ ${1-} != -* ]] || set -- mariadbd "$@"
chown -R mysql: /var/lib/mysql
if [[ ! -d /var/lib/mysql/mysql ]]; then
    mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db >/dev/null
    "$@" --user=mysql --skip-networking &
    server=$!
    until mariadb -uroot -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 $server
        sleep 0.2
    done
    mariadb -uroot -e "ALTER USER root@localhost IDENTIFIED BY '$MYSQL_ROOT_PASSWORD'"
    for file in /docker-entrypoint-initdb.d/*.sh; do
        if [[ -x $file ]]; then
            "$file"
        else
            . "$file"
        fi
    done
    kill $server
    wait $server
fi
exec "$@" --user=mysql
END_RUN
    make_image "$(name_of MYSQL_IMAGE)" <<END
FROM $base
RUN apt-get update && apt-get install -y --no-install-recommends mariadb-server \
    && rm -rf /var/lib/apt/lists/* /var/lib/mysql /etc/mysql/mariadb.conf.d/* \
    && install -d -o mysql -g mysql /var/lib/mysql /run/mysqld
COPY docker-entrypoint.sh /usr/local/bin/
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mariadbd"]
END
}

make_redis() {
    put_program docker-entrypoint.sh <<'END_RUN'
#!/bin/sh
set -e
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
exec "$@"
END_RUN
    make_image "$(name_of REDIS_IMAGE)" <<END
FROM $base
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
COPY docker-entrypoint.sh /usr/local/bin/
WORKDIR /data
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server"]
END
}

make_balancer() {
    make_image "$(name_of BALANCER_IMAGE)" <<END
FROM $base
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
END
}

make_prometheus() {
    make_image "$(name_of PROMETHEUS_IMAGE)" <<END
FROM $base
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* \
    && install -d -o nobody -g nogroup /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
END
}

wanted=("$@")
[[ $# -gt 0 ]] || wanted=(base kafka mysql redis balancer prometheus)
for image in "${wanted[@]}"; do
    case $image in
    base | kafka | mysql | redis | balancer | prometheus) "make_$image" ;;
    *)
        echo "usage: stand-ins.sh base|kafka|mysql|redis|balancer|prometheus..." >&2
        exit 2
        ;;
    esac
done
