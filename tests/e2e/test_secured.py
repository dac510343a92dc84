# SPDX-License-Identifier: MIT
"""TLS and passwords between daemons and servers: that all works with them, and nothing without.

The suite here has certificates and passwords (deploy/local, --secure), and its daemons log in to
Kafka by each of the three mechanisms. Then daemons are started with one thing wrong, and must say
what it is in one sentence.
"""

import os
import subprocess
import tempfile
import threading

from client import User
from marks import only
from server import BUILD, ROOT, Suite, wait_until
from test_logs import check_traces


def use(suite):
    http = suite.http()
    alice, bob = User(http, "alice"), User(http, "bob")
    answer = http.call("POST", "/api/login", {"username": alice.name, "password": alice.password})
    assert answer.status == 200, answer
    with alice.socket() as a, bob.socket() as b:
        users = a.ack("presence", {"user_ids": [bob.id]})["users"]
        if users[0]["status"] != "online":
            a.expect("user_status", lambda f: f["content"]["status"] == "online")
        group = alice.group(members=[bob])
        b.expect("group", lambda f: f["content"]["change"] == "joined")
        for target in ({"to": bob.id}, {"group": group}):
            sent = alice.send("through every lock", **target)
            assert b.expect("message", lambda f: f["content"]["id"] == sent["id"])
        b.close()
        a.expect("user_status", lambda f: f["content"]["status"] == "offline")


class Attempt:
    """A daemon with a setting that is wrong, until it has said so or ended."""

    def __init__(self, daemon, said, **changes):
        env = {**daemon["env"], **changes, "ADMIN_PORT": "0", "INSTANCE_ID": "wrong"}
        self.changes, self.said, self.lines = changes, said, []
        program = os.path.join(BUILD, daemon["daemon"])
        self.process = subprocess.Popen([program], env=env, stderr=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if self.said in line:
                break
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def check(self):
        told = f"{self.changes}: wanted {self.said!r}, was told {''.join(self.lines)}"
        assert self.said in self.lines[-1] and "level=info" not in self.lines[-1], told
        assert 'msg="ready"' not in "".join(self.lines), told


def attempts(suite, other_ca):
    values = suite.values()
    own_ca = values["KAFKA_SSL_CA_FILE"]
    auth, presence = (suite.daemons(name)[0] for name in ("auth-svc", "presence-svc"))
    kafka, url = auth["env"]["KAFKA_BOOTSTRAP_SERVERS"], auth["env"]["DATABASE_URL"]
    redis = presence["env"]["REDIS_ADDR"]
    start, rest = url.split("@")
    user = start[: start.rindex(":")]

    yield Attempt(auth, "Invalid username or password", KAFKA_SASL_PASSWORD="no", KAFKA_SASL_MECHANISM="PLAIN")
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        yield Attempt(auth, "invalid credentials", KAFKA_SASL_PASSWORD="no", KAFKA_SASL_MECHANISM=mechanism)
    yield Attempt(auth, "not signed by KAFKA_SSL_CA_FILE", KAFKA_SSL_CA_FILE=other_ca)
    yield Attempt(auth, "made for another name", KAFKA_BOOTSTRAP_SERVERS=kafka.replace("127.0.0.1", "localhost"))
    yield Attempt(auth, "cannot be read", KAFKA_SSL_CA_FILE=other_ca + ".gone")

    yield Attempt(auth, "Access denied", DATABASE_URL=f"{user}:no@{rest}")
    yield Attempt(auth, "Access denied", DATABASE_URL=url.split("?")[0])  # its user needs TLS
    yield Attempt(auth, "self-signed certificate", DATABASE_URL=url.replace(own_ca, other_ca))
    yield Attempt(auth, "certificate failed", DATABASE_URL=url.replace("127.0.0.1", "localhost"))
    yield Attempt(auth, "cannot be read", DATABASE_URL=url + ".gone")

    yield Attempt(presence, "WRONGPASS", REDIS_PASSWORD="no")
    yield Attempt(presence, "NOAUTH", REDIS_PASSWORD="")
    yield Attempt(presence, "self-signed certificate", REDIS_ADDR=redis.replace(own_ca, other_ca))
    yield Attempt(presence, "mismatch", REDIS_ADDR=redis.replace("127.0.0.1", "localhost"))
    yield Attempt(presence, "holds no CA", REDIS_ADDR=redis + ".gone")


def text_of(suite):
    text = ""
    for daemon in suite.daemons():
        with open(daemon["log"], encoding="utf-8") as log:
            text += log.read()
    return text


def check_logs(suite, attempts):
    """Nobody complains while all is right, and nobody tells a password, even then."""
    text = text_of(suite)
    bad = [line for line in text.splitlines() if "level=warn" in line or "level=error" in line]
    assert not bad, bad
    text += "".join(line for attempt in attempts for line in attempt.lines)
    for daemon in suite.daemons():
        env = daemon["env"]
        words = [env.get(name) for name in ("KAFKA_SASL_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET")]
        words += [env["DATABASE_URL"].split(":")[2].split("@")[0]] if "DATABASE_URL" in env else []
        assert not [word for word in words if word and word in text], daemon["name"]


@only("suite")
def test_locks_and_who_has_no_key():
    mechanisms = {
        "gateway:KAFKA_SASL_MECHANISM": "PLAIN",
        "auth-svc:KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "presence-svc:PRESENCE_GRACE_SECONDS": "0",
        "LOG_LEVEL": "debug",
    }
    other = os.path.join(ROOT, "deploy", "local", "tls.sh")
    with Suite(gateways=1, services=1, redis=1, secure=True, **mechanisms) as suite:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([other, "make", folder], check=True)
            tried = list(attempts(suite, os.path.join(folder, "tls", "ca.pem")))
            wait_until("the group of wrong daemons", lambda: not any(a.thread.is_alive() for a in tried))
            for attempt in tried:
                attempt.check()
        use(suite)
        check_traces(suite.http(), lambda: text_of(suite))
        check_logs(suite, tried)
