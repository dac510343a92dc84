#!/bin/bash
# SPDX-License-Identifier: MIT
# gateway/web/openapi.json and asyncapi.json say what the sources say (contract.py).
. "$(dirname "$0")/lib.sh"
need python3
output=$(python3 -B tests/lint/contract.py) || problem "$output"
finish
