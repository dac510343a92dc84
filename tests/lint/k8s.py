# SPDX-License-Identifier: MIT
"""deploy/k8s: every file fits Kubernetes' schemas, and what one names, another makes. Run by k8s.sh."""

import os
import sys

import kubernetes_validate
import yaml

import settings

FOLDER = "deploy/k8s"
VERSION = "1.31"
WORKLOADS = ("Deployment", "StatefulSet")


def load(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return [document for document in yaml.safe_load_all(f) if document]


def keys_of(lines):
    return {line.split("=", 1)[0] for line in lines if "=" in line and not line.startswith("#")}


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


class Checker:
    def __init__(self):
        self.problems = settings.Problems()
        (self.root,) = load("kustomization.yaml")
        self.objects = []
        for name in self.root["resources"]:
            if os.path.exists(os.path.join(FOLDER, name)):
                self.objects += [(name, o) for o in load(name)]
            else:
                self.problems.found.append(f"kustomization.yaml: there is no {name}")
        self.maps = {g["name"]: keys_of(g["literals"]) for g in self.root["configMapGenerator"]}
        with open(os.path.join(FOLDER, "secrets.env.example"), encoding="utf-8") as f:
            secret_keys = keys_of(f.read().splitlines())
        self.secrets = {g["name"]: secret_keys for g in self.root["secretGenerator"]}

    def of_kind(self, *kinds):
        return [(name, o) for name, o in self.objects if o["kind"] in kinds]

    def check_lists(self):
        unless = self.problems.unless
        listed = set(self.root["resources"]) | {"kustomization.yaml"}
        for name in sorted(os.listdir(FOLDER)):
            unless(not name.endswith(".yaml") or name in listed, f"{name}: kustomization.yaml does not list it")
        seen = set()
        for name, o in self.objects:
            identity = (o["kind"], o["metadata"]["name"])
            unless(identity not in seen, f"{name}: {identity} stands there twice")
            seen.add(identity)
        names = {o["metadata"]["name"] for _, o in self.of_kind(*WORKLOADS)}
        unless(names == set(settings.DAEMONS), f"the workloads are {sorted(names)}")
        used = {c["image"] for _, o in self.of_kind(*WORKLOADS) for c in o["spec"]["template"]["spec"]["containers"]}
        unless(used == {i["name"] for i in self.root["images"]}, "kustomization.yaml's images are not those used")
        known = settings.known()
        for map_name, keys in self.maps.items():
            for key in sorted(keys - known):
                self.problems.found.append(f"{map_name}: no daemon knows the setting {key}")

    def check_schemas(self):
        for name, o in self.objects:
            try:
                kubernetes_validate.validate(o, VERSION, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(str(part) for part in error.path)
                self.problems.found.append(f"{name}: {o['kind']} {o['metadata']['name']}: {where}: {error.message}")

    def check_container(self, name, container):
        unless = self.problems.unless
        for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            unless(container.get(probe, {}).get("httpGet") == {"path": path, "port": "admin"}, f"{name}: no {probe} of {path}")
        unless(set(container["resources"]["requests"]) == {"cpu", "memory"}, f"{name}: no requests")
        unless("memory" in container["resources"]["limits"], f"{name}: no limit of memory")
        guard = container["securityContext"]
        unless(guard["readOnlyRootFilesystem"] and not guard["allowPrivilegeEscalation"], f"{name}: too many rights")
        for source in container["envFrom"]:
            unless(source["configMapRef"]["name"] in self.maps, f"{name}: no ConfigMap {source}")
        for variable in container["env"]:
            wanted = variable["valueFrom"].get("secretKeyRef")
            unless(wanted is None or wanted["key"] in self.secrets.get(wanted["name"], ()), f"{name}: no secret {wanted}")

    def check_pods(self):
        unless = self.problems.unless
        services = {o["metadata"]["name"]: o for _, o in self.of_kind("Service")}
        for name, o in self.of_kind(*WORKLOADS):
            pod = o["spec"]["template"]
            unless(matches(o["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"]), f"{name}: selects other pods")
            unless(o["kind"] != "StatefulSet" or o["spec"]["serviceName"] in services, f"{name}: no service of its instances")
            unless(pod["spec"]["terminationGracePeriodSeconds"] >= 20, f"{name}: is killed before its drain ends")
            for container in pod["spec"]["containers"]:
                self.check_container(name, container)

    def check_references(self):
        unless = self.problems.unless
        pods = [o["spec"]["template"] for _, o in self.of_kind(*WORKLOADS)]
        workloads = {(o["kind"], o["metadata"]["name"]) for _, o in self.of_kind(*WORKLOADS)}
        services = {o["metadata"]["name"]: o["spec"] for _, o in self.of_kind("Service")}
        for name, o in self.of_kind("Service"):
            chosen = [p for p in pods if matches(o["spec"]["selector"], p["metadata"]["labels"])]
            ports = {port["name"] for p in chosen for c in p["spec"]["containers"] for port in c["ports"]}
            for port in o["spec"]["ports"]:
                unless(port["targetPort"] in ports, f"{name}: no pod has the port {port['targetPort']}")
        for name, o in self.of_kind("HorizontalPodAutoscaler"):
            target = o["spec"]["scaleTargetRef"]
            unless((target["kind"], target["name"]) in workloads, f"{name}: the autoscaler's target is missing")
        for name, o in self.of_kind("PodDisruptionBudget"):
            wanted = o["spec"]["selector"]["matchLabels"]
            unless(any(matches(wanted, p["metadata"]["labels"]) for p in pods), f"{name}: the budget is for no pod")
        for name, o in self.of_kind("Ingress"):
            for path in (path for rule in o["spec"]["rules"] for path in rule["http"]["paths"]):
                backend = path["backend"]["service"]
                ports = {port["name"] for port in services.get(backend["name"], {"ports": []})["ports"]}
                unless(backend["port"]["name"] in ports, f"{name}: there is no service {backend}")

    def run(self):
        self.check_lists()
        self.check_schemas()
        self.check_pods()
        self.check_references()
        return self.problems.done()


if __name__ == "__main__":
    sys.exit(Checker().run())
