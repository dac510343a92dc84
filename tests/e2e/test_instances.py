# SPDX-License-Identifier: MIT
"""Many instances: two gateways and two of each service, and what happens when one of them goes.

The claims are the contract's: what was acked is stored once, `seq` is dense, every receiver gets
each message once (live, or by sync after a gap).
"""

import os
import signal
import subprocess
import threading
import time

from client import WAIT, User, unique
from marks import only
from server import is_ready, wait_until


class Sender(threading.Thread):
    """Sends by REST until told to stop; each message again with its client_id until it is acked."""

    def __init__(self, user, **target):
        super().__init__(daemon=True)
        self.user, self.target = user, target
        self.acked, self.problem = [], None
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.acked.append(send_until_acked(self.user, f"n{len(self.acked)}", **self.target))
        except Exception as e:  # noqa: BLE001: told by finish()
            self.problem = e

    def finish(self):
        self.stopping.set()
        self.join(WAIT * 4)
        assert not self.is_alive(), "a send hangs"
        if self.problem:
            raise self.problem
        return self.acked


def send_until_acked(user, content, **target):
    body = {"content": content, "type": "text", "client_id": unique("c"), **target}
    end = time.monotonic() + WAIT * 4
    while True:
        try:
            r = user.call("POST", "/api/messages", body)
        except OSError:
            r = None
        if r is not None and r.status in (200, 201):
            return r.json["message"]
        assert r is None or r.status in (503, 504), r
        assert time.monotonic() < end, f"not acked for {WAIT * 4} s: {r!r}"
        time.sleep(0.05)


def whole_history(user, kind, target):
    messages, after, more = [], 0, True
    while more:
        path = f"/api/messages?type={kind}&target_id={target}&limit=200&after={after}"
        page = wait_until("history", lambda: (lambda r: r.json if r.status == 200 else None)(user.call("GET", path)))
        messages += page["messages"]
        more = page["has_more"]
        after = messages[-1]["seq"] if messages else 0
    return messages


def check_history(messages, acked):
    assert [m["seq"] for m in messages] == list(range(1, len(messages) + 1)), "seq is dense"
    by_client = {}
    for m in messages:
        assert m["client_id"] not in by_client, "one message for a client_id"
        by_client[m["client_id"]] = m
    for m in acked:
        stored = by_client[m["client_id"]]
        assert (stored["id"], stored["seq"], stored["content"]) == (m["id"], m["seq"], m["content"])


def received_all(socket, messages):
    """Live frames, then what sync adds: each message once by id, pushed ones in order of seq."""
    want = {m["id"] for m in messages}
    got, last = {}, 0
    end = time.monotonic() + WAIT * 2
    while set(got) != want and time.monotonic() < end:
        message = socket.expect("message")["content"]
        assert message["id"] not in got, f"twice: {message}"
        assert message["seq"] > last, f"out of order: {message['seq']} after {last}"
        got[message["id"]], last = message, message["seq"]
    assert set(got) == want


def talk_through(server, disturb):
    alice, bob = User(server.http(0)), User(server.http(1))
    group = alice.group(members=[bob])
    a, b = alice.socket(), bob.socket()
    senders = [Sender(alice, group_id=group), Sender(bob, group_id=group)]
    for s in senders:
        s.start()
    wait_until("some sends", lambda: all(len(s.acked) > 5 for s in senders))
    disturb()
    before = [len(s.acked) for s in senders]
    wait_until("sends after the disturbance", lambda: all(len(s.acked) > n + 5 for s, n in zip(senders, before)))
    acked = [m for s in senders for m in s.finish()]
    stored = whole_history(alice, "group", group)
    check_history(stored, acked)
    for socket in (a, b):
        received_all(socket, stored)


@only("suite")
def test_a_killed_message_svc_loses_nothing(server):
    def disturb():
        server.daemon("kill", "message-svc-1")

    try:
        talk_through(server, disturb)
    finally:
        server.daemon("start", "message-svc-1")


@only("suite")
def test_a_stopped_message_svc_hands_over(server):
    def disturb():
        server.daemon("stop", "message-svc-2")
        server.daemon("start", "message-svc-2")

    talk_through(server, disturb)


@only("suite")
def test_a_kill_in_the_middle_of_a_rebalance(server):
    """One instance comes back while the other is killed; nobody may keep the partitions."""

    def disturb():
        server.daemon("kill", "message-svc-1")
        starting = threading.Thread(target=server.daemon, args=("start", "message-svc-1"))
        starting.start()
        time.sleep(0.2)
        server.daemon("kill", "message-svc-2")
        starting.join()
        server.daemon("start", "message-svc-2")

    talk_through(server, disturb)


@only("suite")
def test_every_service_survives_the_loss_of_one_instance(server):
    for daemon in ("auth-svc", "group-svc", "presence-svc"):
        server.daemon("kill", f"{daemon}-1")
        try:
            def works():
                try:
                    alice, bob = User(server.http(0)), User(server.http(1))
                    group = alice.group(members=[bob])
                    return alice.send("still here", group=group)["seq"] == 1
                except (AssertionError, OSError):
                    return False

            wait_until(f"work without {daemon}-1", works)
        finally:
            server.daemon("start", f"{daemon}-1")


@only("suite")
def test_a_killed_gateway(server):
    alice, bob = User(server.http(1)), User(server.http(1))
    b = bob.socket(server.http(0))
    alice.send("before", to=bob.id)
    b.expect("message")
    server.daemon("kill", "gateway-1")
    try:
        missed = alice.send("missed", to=bob.id)
        again = bob.socket(server.http(1))
        again.send("sync", {"conversations": {f"u:{alice.id}": 1}}, id="s")
        assert again.expect("message")["content"]["id"] == missed["id"]
        alice.send("live", to=bob.id)
        assert again.expect("message")["content"]["content"] == "live"
        again.close()
        watcher = alice.socket()
        watcher.ack("presence", {"user_ids": [bob.id]})
    finally:
        server.daemon("start", "gateway-1")
        wait_until("the gateway to be back", lambda: is_ready(server.http(0)))


def kafka_pid(server):
    with open(os.path.join(server.dir, "kafka", "pid"), encoding="ascii") as f:
        return int(f.read().split()[0])


def admin_sql(server, sql):
    socket = server.values()["MYSQL_SOCKET"]
    return subprocess.run(["mariadb", f"--socket={socket}", "-N", "-e", sql], check=True, capture_output=True, text=True).stdout


@only("suite")
def test_killed_between_commit_and_publish(server):
    """The batch waits for a table lock; the broker freezes; the lock goes, the rows are committed,
    and no event can leave. Then every message-svc is killed. Their successors publish from the rows."""
    alice, bob = User(server.http(0)), User(server.http(1))
    a, b = alice.socket(), bob.socket()
    first = alice.send("first", to=bob.id)
    assert b.expect("message")["content"]["id"] == first["id"]
    locker = subprocess.Popen(
        ["mariadb", f"--socket={server.values()['MYSQL_SOCKET']}", "-N", "--unbuffered"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    locker.stdin.write("LOCK TABLES message.message WRITE; SELECT 'locked';\n")
    locker.stdin.flush()
    assert locker.stdout.readline().strip() == "locked"
    content = {"content": "between", "type": "text", "receiver_id": bob.id, "client_id": unique("c")}
    a.send("chat_message", content, id="m")
    blocked = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock%'"
    wait_until("the batch to wait for the lock", lambda: int(admin_sql(server, blocked)) > 0)
    pid = kafka_pid(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        locker.stdin.close()
        locker.wait(WAIT)
        stored = f"SELECT COUNT(*) FROM message.message WHERE client_id = '{content['client_id']}'"
        wait_until("the commit", lambda: int(admin_sql(server, stored)) == 1)
        for i in (1, 2):
            server.daemon("kill", f"message-svc-{i}")
    finally:
        os.kill(pid, signal.SIGCONT)
        starts = [threading.Thread(target=server.daemon, args=("start", f"message-svc-{i}")) for i in (1, 2)]
        for t in starts:
            t.start()
        for t in starts:
            t.join()
    second = send_until_acked(alice, "after", receiver_id=bob.id)
    assert second["seq"] == 3, second
    for socket in (a, b):
        got = [socket.expect("message")["content"] for _ in range(3 if socket is a else 2)]
        assert [m["content"] for m in got][-2:] == ["between", "after"], got
    answer = a.expect(where=lambda f: f.get("id") == "m")
    assert answer["type"] == "ack" or answer["content"]["code"] == "timeout", answer
    again = a.ack("chat_message", content)
    assert again["seq"] == 2
    check_history(whole_history(bob, "private", alice.id), [first, second])


@only("suite")
def test_without_a_database_sends_say_unavailable_and_nothing_is_lost(server):
    alice, bob = User(server.http(0)), User(server.http(1))
    b = bob.socket()
    alice.send("before", to=bob.id)
    server.script_of("mysql", "stop")
    try:
        body = {"content": "during", "type": "text", "receiver_id": bob.id, "client_id": unique("c")}
        r = alice.call("POST", "/api/messages", body)
        assert r.status in (503, 504) and "retry-after" in r.headers, r
        r = alice.call("GET", f"/api/messages?type=private&target_id={bob.id}")
        assert r.status in (503, 504), r
    finally:
        server.script_of("mysql", "start")
    during = send_until_acked(alice, "after", receiver_id=bob.id)
    assert during["seq"] in (2, 3)
    stored = whole_history(bob, "private", alice.id)
    check_history(stored, [during])
    received_all(b, stored)


@only("suite")
def test_without_redis_messages_flow(server):
    alice, bob = User(server.http(0)), User(server.http(1))
    b = bob.socket()
    for i in ("1", "2"):
        server.script_of("redis", "stop", i)
    try:
        alice.send("no Redis", to=bob.id)
        assert b.expect("message")["content"]["content"] == "no Redis"
    finally:
        for i in ("1", "2"):
            server.script_of("redis", "start", i)

    def online():
        r = alice.call("GET", "/api/users/online?limit=200")
        return r.status == 200 and bob.id in [u["id"] for u in r.json["users"]]

    wait_until("presence to be refilled by heartbeats", online)


@only("suite")
def test_without_kafka_sends_say_unavailable_and_sockets_stay(server):
    alice, bob = User(server.http(0)), User(server.http(1))
    b = bob.socket()
    alice.send("before", to=bob.id)
    b.expect("message")
    server.script_of("kafka", "stop")
    try:
        r = alice.call("POST", "/api/messages", {"content": "x", "type": "text", "receiver_id": bob.id})
        assert r.status in (503, 504) and "retry-after" in r.headers, r
        b.fence()
    finally:
        server.script_of("kafka", "start")
    message = send_until_acked(alice, "after", receiver_id=bob.id)
    while b.expect("message")["content"]["id"] != message["id"]:
        pass
