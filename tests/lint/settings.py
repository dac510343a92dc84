# SPDX-License-Identifier: MIT
"""The settings that the daemons know, read from the tables in their sources; for compose.py and k8s.py."""

import glob
import re

DAEMONS = ("gateway", "auth-svc", "message-svc", "group-svc", "presence-svc")


def known():
    names = set()
    for path in glob.glob("common/svc_settings.c") + [p for d in DAEMONS for p in glob.glob(f"{d}/*.c")]:
        with open(path, encoding="utf-8") as f:
            names.update(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)"', f.read()))
    return names


class Problems:
    """Collects sentences; done() prints them and gives the exit code."""

    def __init__(self):
        self.found = []

    def unless(self, good, sentence):
        if not good:
            self.found.append(sentence)

    def done(self):
        for sentence in self.found:
            print(sentence)
        return 1 if self.found else 0
