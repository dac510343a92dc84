#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the end-to-end tests: run.py standalone|suite [word…], or run.py url http://HOST:PORT [word…]

`url` is a suite that runs already, such as docker-compose.yml's with RATE_LIMIT_…=0.

Every function test_* of the files test_*.py is one test. It gets what its parameters name: `server`
(one for all tests, gateway 0 and 1 may be the same process), `http` (its first gateway). A test
marked @only("standalone") or @only("suite") runs there alone. With words: only tests whose
"file.name" contains one of them. The last line is "N passed, M failed".
"""

import glob
import importlib
import inspect
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import contract  # noqa: E402
from server import NoKafka, Remote, Standalone, Suite  # noqa: E402


def tests(kind, words):
    here = os.path.dirname(os.path.abspath(__file__))
    for path in sorted(glob.glob(os.path.join(here, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, function in list(vars(module).items()):
            full = f"{module.__name__[5:]}.{name[5:]}"
            if not name.startswith("test_") or getattr(function, "only", kind) != kind:
                continue
            if not words or any(word in full for word in words):
                yield full, function


def run_one(full, function, server):
    given = {"server": server, "http": server.http()}
    arguments = {name: given[name] for name in inspect.signature(function).parameters}
    start = time.monotonic()
    try:
        function(**arguments)
    except Exception:  # noqa: BLE001: reported, and counted as a failure
        print(f"FAILED {full}")
        traceback.print_exc(file=sys.stdout)
        return False
    print(f"ok {full} ({time.monotonic() - start:.2f} s)", flush=True)
    return True


def main():
    kind, words = sys.argv[1], sys.argv[2:]
    server = Remote(words.pop(0)) if kind == "url" else {"standalone": Standalone, "suite": Suite}[kind]()
    results = []
    contract.begin()
    try:
        server.start()
        for full, function in tests(kind, words):
            results.append(run_one(full, function, server))
    except NoKafka as reason:
        needed = os.environ.get("REQUIRE_KAFKA") == "1"
        print(f"{'FAILED' if needed else 'SKIPPED'} the suite: {reason}")
        print(f"0 passed, {1 if needed else 0} failed")
        return 1 if needed else 0
    finally:
        code = server.close(keep=not all(results) or not results)
    if code != 0:
        print(f"FAILED the server did not stop cleanly: {code}")
        results.append(False)
    if contract.complain(full=kind == "standalone" and not words):
        print("FAILED documented calls or frames that no test exercises (contract.py, NOT_EXERCISED)")
        results.append(False)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
