#!/bin/bash
# SPDX-License-Identifier: MIT
# Prometheus takes its configuration, the alerts go off when they should (promtool), and every metric that an alert or
# a dashboard asks for stands in a source.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools.sh
. tests/lint/tools.sh
need python3
need_promtool

output=$("$promtool" check config deploy/prometheus/prometheus.yml 2>&1) || problem "$output"
output=$("$promtool" test rules deploy/prometheus/alerts_test.yml 2>&1) || problem "$output"
for dashboard in deploy/grafana/dashboards/*.json; do
    output=$(python3 -m json.tool "$dashboard" 2>&1 >/dev/null) || problem "$dashboard: $output"
done

made=$(grep -rhoE --include='*.c' '"chat_[a-z_]+"' common gateway ./*-svc | tr -d '"' | sort -u)
while read -r metric; do
    base=${metric%_bucket}
    grep -qxF "$base" <<<"$made" || problem "no source makes the metric $base"
done < <(grep -hoE 'chat_[a-z_]+' deploy/prometheus/alerts.yml deploy/grafana/dashboards/*.json | sort -u)
finish
