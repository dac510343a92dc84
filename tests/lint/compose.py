# SPDX-License-Identifier: MIT
"""What Compose itself does not check in docker-compose.yml and .env.example: run by compose.sh."""

import os
import re
import sys

import yaml

import settings

SECRET = re.compile(r"PASSWORD|SECRET|CLUSTER_ID")


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def example_values():
    with open(".env.example", encoding="utf-8") as f:
        lines = [line.rstrip("\n") for line in f]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def check_service(name, service, project, problems):
    services = project["services"]
    for network in service.get("networks", []):
        problems.unless(network in project["networks"], f"{name}: there is no network {network}")
    for target, condition in (service.get("depends_on") or {}).items() if isinstance(service.get("depends_on"), dict) else ():
        problems.unless(target in services, f"{name}: depends on {target}, which there is not")
        problems.unless("healthcheck" in services.get(target, {}) or condition.get("condition") != "service_healthy",
                        f"{name}: waits for the health of {target}, which has no check")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            problems.unless(os.path.exists(source), f"{name}: there is no {source} to mount")
        else:
            problems.unless(source in project["volumes"], f"{name}: there is no volume {source}")
    problems.unless("ports" not in service or name in ("balancer", "prometheus", "grafana"),
                    f"{name}: nobody outside may reach it")


def check_daemon(name, service, values, known, problems):
    problems.unless(service["build"]["args"] == {"DAEMON": name}, f"{name}: builds another daemon")
    problems.unless(os.path.isdir(name), f"{name}: there is no such daemon")
    for setting in service["environment"]:
        problems.unless(setting in known, f"{name}: no daemon knows the setting {setting}")
    problems.unless(seconds(service["stop_grace_period"]) > int(values["DRAIN_SECONDS"]) + 1,
                    f"{name}: is killed before its drain ends")


def main():
    problems = settings.Problems()
    with open("docker-compose.yml", encoding="utf-8") as f:
        text = f.read()
    project = yaml.safe_load(text)
    values, known = example_values(), settings.known()

    problems.unless("version" not in project, "a version is obsolete")
    used = set(re.findall(r"\$\{([A-Z_]+)", re.sub(r"\s#.*", "", text)))
    for name in sorted(used - values.keys()):
        problems.found.append(f".env.example does not explain {name}")
    for name in sorted(values.keys() - used):
        problems.found.append(f"{name} of .env.example is used nowhere")
    for name, value in values.items():
        problems.unless(not (SECRET.search(name) and value), f".env.example holds a secret: {name}")
        problems.unless(not re.search(r"""["'#]""", value), f".env.example: {name} needs no quotes and no comment")

    for name, service in project["services"].items():
        check_service(name, service, project, problems)
    for name in settings.DAEMONS:
        problems.unless(name in project["services"], f"there is no service {name}")
        check_daemon(name, project["services"][name], values, known, problems)
    return problems.done()


if __name__ == "__main__":
    sys.exit(main())
