# SPDX-License-Identifier: MIT
"""Servers for the tests: standalone as one process, or the suite by deploy/local/suite.sh.

Both are used alike: `urls`, `http(i)`, stop, kill, start. Everything is on free ports of the
loopback, its data in a folder that is removed, and ended by pid.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from client import WAIT, Http

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build")))
NO_KAFKA = 75  # exit code of deploy/local: Kafka cannot be had here

# What the tests would otherwise run into; tests of the limits set their own.
ROOMY = {"RATE_LIMIT_AUTH": "0", "RATE_LIMIT_USER": "0", "RATE_LIMIT_FRAMES": "0"}

# A build with SAN=… stops at its first report. The caller's own options win.
SUPPRESSIONS = os.path.join(ROOT, "tests", "sanitizers")
SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1",
    "LSAN_OPTIONS": f"suppressions={SUPPRESSIONS}/lsan.supp:print_suppressions=0",
    "TSAN_OPTIONS": f"halt_on_error=1:suppressions={SUPPRESSIONS}/tsan.supp",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
for _name, _value in SANITIZERS.items():
    os.environ[_name] = f"{_value}:{os.environ.get(_name, '')}"
REPORT = re.compile(r"(ERROR|WARNING): \w+Sanitizer|: runtime error: ")


def sanitizer_reports(path):
    """How many reports the log has; their text is printed."""
    with open(path, encoding="utf-8", errors="replace") as f:
        lines = f.readlines()
    found = [i for i, line in enumerate(lines) if REPORT.search(line)]
    for i in found:
        print(f"  {path}, line {i + 1}:\n{''.join(lines[i : i + 40])}")
    return len(found)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, question, patience=WAIT * 2):
    end = time.monotonic() + patience
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for {what}")
        time.sleep(0.02)


def is_ready(http):
    try:
        return http.call("GET", "/readyz").status == 200
    except OSError:
        return False


class NoKafka(Exception):
    pass


class Standalone:
    kind = "standalone"

    def __init__(self, **env):
        self.dir = tempfile.mkdtemp(prefix="chat-e2e-")
        self.port = free_port()
        self.env = {**ROOMY, "DATA_DIR": self.dir, "PORT": str(self.port), "ADMIN_PORT": "0", **env}
        scheme = "https" if "TLS_CERT_FILE" in env else "http"
        self.urls = [f"{scheme}://127.0.0.1:{self.port}"]
        self.process = None
        self.context = None

    def http(self, i=0):
        return Http(self.urls[i % len(self.urls)], self.context)

    def start(self, wait=True):
        self.log = open(os.path.join(self.dir, "log"), "ab")
        inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")}
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "standalone")],
            env={**inherited, **self.env},
            stdout=self.log,
            stderr=self.log,
        )
        if wait:
            wait_until("standalone to be ready", self._ready_or_dead)
        return self

    def _ready_or_dead(self):
        if self.process.poll() is not None:
            raise AssertionError(f"standalone ended with {self.process.returncode}:\n{self.text()}")
        return is_ready(self.http())

    def text(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        code = self.process.wait(timeout=WAIT * 2)
        self.log.close()
        return code

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def close(self, keep=False):
        code = 0
        if self.process is not None and self.process.poll() is None:
            code = self.stop()
        if os.path.exists(os.path.join(self.dir, "log")) and sanitizer_reports(os.path.join(self.dir, "log")):
            code = code or 1
        if keep or code != 0:
            print(f"  the data and log are kept in {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        return code

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        code = self.close(keep=kind is not None)
        if kind is None:
            assert code == 0, f"standalone ended with {code}"


class Suite:
    kind = "suite"
    script = os.path.join(ROOT, "deploy", "local", "suite.sh")
    daemon_script = os.path.join(ROOT, "deploy", "local", "daemon.sh")

    def __init__(self, gateways=2, services=2, redis=2, secure=False, **env):
        self.dir = tempfile.mkdtemp(prefix="chat-suite-")
        self.counts = ["--gateways", str(gateways), "--services", str(services), "--redis", str(redis)]
        self.counts += ["--secure"] if secure else []
        self.env = {**ROOMY, **env}
        self.context = None

    def start(self):
        settings = [word for k, v in self.env.items() for word in ("--env", f"{k}={v}")]
        done = subprocess.run(
            [self.script, "start", self.dir, "--port", "0", "--build", BUILD, *self.counts, *settings],
            capture_output=True,
            text=True,
        )
        if done.returncode == NO_KAFKA:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise NoKafka(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no Kafka here")
        assert done.returncode == 0, f"the suite did not start:\n{done.stdout}{done.stderr}\n{self.logs()}"
        self.urls = [f"http://127.0.0.1:{d['port']}" for d in self.daemons("gateway")]
        return self

    def http(self, i=0):
        return Http(self.urls[i % len(self.urls)], self.context)

    def daemons(self, daemon=None):
        found = []
        for name in sorted(os.listdir(os.path.join(self.dir, "run"))):
            if name.endswith(".json"):
                with open(os.path.join(self.dir, "run", name), encoding="utf-8") as f:
                    found.append(json.load(f))
        return [d for d in found if daemon in (None, d["daemon"])]

    def daemon(self, verb, name):
        subprocess.run([self.daemon_script, verb, name, self.dir], check=True, capture_output=True)

    def script_of(self, part, verb, *more):
        """One of the servers: kafka, mysql or redis."""
        path = os.path.join(ROOT, "deploy", "local", f"{part}.sh")
        subprocess.run([path, verb, self.dir, *more], check=True, capture_output=True)

    def values(self):
        with open(os.path.join(self.dir, "env"), encoding="utf-8") as f:
            return dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line)

    def logs(self, lines=40):
        text = ""
        folder = os.path.join(self.dir, "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                text += f"--- {name}\n" + "".join(f.readlines()[-lines:])
        return text

    def close(self, keep=False):
        code = subprocess.run([self.script, "stop", self.dir], capture_output=True, text=True).returncode
        folder = os.path.join(self.dir, "log")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        if sum(sanitizer_reports(os.path.join(folder, name)) for name in names):
            code = code or 1
        if keep or code != 0:
            print(f"  the data and logs are kept in {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        return code

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        code = self.close(keep=kind is not None)
        if kind is None:
            assert code == 0, f"stopping the suite failed with {code}"


class Remote:
    """A server that somebody else started and ends (in containers, behind a balancer), by its address. Its limits must be as
    roomy as ROOMY."""

    kind = "url"

    def __init__(self, url):
        self.urls = [url]
        self.context = None

    def http(self, i=0):
        return Http(self.urls[0], self.context)

    def start(self):
        wait_until(f"{self.urls[0]} to be ready", lambda: is_ready(self.http()))
        return self

    def close(self, keep=False):
        return 0
