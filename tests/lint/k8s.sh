#!/bin/bash
# SPDX-License-Identifier: MIT
# The manifests of deploy/k8s fit Kubernetes' schemas (kubernetes-validate, which holds them) and each other (k8s.py).
# No cluster is asked, and kustomize is not needed.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools.sh
. tests/lint/tools.sh
need_python_packages
"$lint_python" -B tests/lint/k8s.py || problem "deploy/k8s: see above"
if git ls-files --error-unmatch deploy/k8s/secrets.env .env >/dev/null 2>&1; then
    problem "secrets are committed"
fi
finish
