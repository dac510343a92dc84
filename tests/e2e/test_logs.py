# SPDX-License-Identifier: MIT
"""What daemons write about requests: every hop knows the trace, and no hop tells a secret."""

import os
import re
import secrets
import time

from client import Refused, Socket, User, unique
from marks import only
from server import Standalone, wait_until


class Trace:
    """A traceparent of ours, and the lines of all daemons that carry its id."""

    def __init__(self):
        self.id = secrets.token_hex(16)
        self.header = {"traceparent": f"00-{self.id}-{secrets.token_hex(8)}-01"}

    def hops(self, text):
        """Pairs of daemon and event, with the RPC's name where it is one."""
        found = set()
        for line in text.splitlines():
            if f"trace=00-{self.id}-" in line:
                svc, event = re.search(r" svc=(\S+)", line)[1], re.search(r' msg="([^"]*)"', line)[1]
                method = re.search(r" method=(\S+)", line)
                found.add((svc, f"{event} {method[1]}" if event == "handled" else event))
        return found


def expect_hops(trace, text, *wanted):
    """Lines are written behind the answers: wait for them."""
    missing = lambda: set(wanted) - trace.hops(text())  # noqa: E731
    wait_until(f"the trace in {wanted}", lambda: not missing(), patience=10)


def check_traces(http, text):
    alice, bob = User(http, "alice"), User(http, "bob")
    group = alice.group(visibility="public")

    login, made, sent, doubted, opened = (Trace() for _ in range(5))
    body = {"username": alice.name, "password": alice.password}
    answer = http.call("POST", "/api/login", body, headers=login.header)
    assert answer.status == 200, answer
    alice.ok("POST", "/api/groups", {"name": unique("group")}, 201, headers=made.header)
    message = {"content": "x", "type": "text", "receiver_id": bob.id}
    alice.ok("POST", "/api/messages", message, 201, headers=sent.header)
    # A no of message-svc's copy is asked of group-svc: one question for many, so without their traces.
    message = {"content": "x", "type": "text", "group_id": group}
    assert bob.call("POST", "/api/messages", message, headers=doubted.header).status == 403
    # The frames of a socket go on in the trace of its handshake.
    with alice.socket(headers=opened.header) as socket:
        socket.ack("chat_message", {"content": "x", "type": "text", "receiver_id": bob.id})
        socket.ack("presence", {"user_ids": [bob.id]})
        socket.ack("sync", {"conversations": {f"u:{bob.id}": 0}})

    expect_hops(login, text, ("gateway", "request"), ("auth-svc", "handled Login"))
    expect_hops(made, text, ("gateway", "request"), ("group-svc", "handled CreateGroup"))
    expect_hops(sent, text, ("gateway", "request"), ("message-svc", "command"), ("gateway", "message delivered"))
    expect_hops(doubted, text, ("gateway", "request"), ("message-svc", "command"), ("message-svc", "doubt refused"))
    expect_hops(
        opened,
        text,
        ("gateway", "request"),
        ("gateway", "frame"),
        ("message-svc", "command"),
        ("gateway", "message delivered"),
        ("presence-svc", "handled GetPresence"),
        ("message-svc", "handled Sync"),
    )


@only("standalone")
def test_a_trace_is_in_the_lines_of_every_hop():
    with Standalone(LOG_LEVEL="debug") as server:
        check_traces(server.http(), server.text)


def marked(word):
    return f"{word}-{secrets.token_hex(12)}"


class Secrets:
    """What was sent and received, to be looked for in logs."""

    def __init__(self):
        self.words = {}

    def mark(self, word):
        self.words[word] = marked(word)
        return self.words[word]

    def grant(self, name, user):
        self.words[f"access token of {name}"] = user.token
        self.words[f"signature of {name}"] = user.token.split(".")[2]
        self.words[f"refresh token of {name}"] = user.refresh_token

    def found_in(self, text):
        return [word for word, value in self.words.items() if value in text]


def refused_upgrade(http, **more):
    try:
        Socket(http, **more).close()
    except Refused:
        pass


def use_accounts(http, s):
    alice = User(http, "alice", password=s.mark("password"))
    s.grant("alice", alice)
    login = {"username": alice.name, "password": alice.password, "device": "a phone"}
    alice.take(http.call("POST", "/api/login", login).json)
    s.grant("alice's login", alice)
    http.call("POST", "/api/login", {**login, "password": s.mark("wrong-password")})
    http.call("POST", "/api/register", {"username": alice.name, "password": s.mark("password-of-a-taken-name")})
    http.call("POST", "/api/register", {"username": "a b", "password": s.mark("password-of-a-bad-name")})
    http.call("POST", "/api/register", {"username": unique(), "password": [s.mark("password-of-another-type")]})
    http.call("POST", "/api/register", raw=b'{"username": 1, "password": "' + s.mark("broken-json").encode())
    http.call("GET", "/api/users/me", token=s.mark("not-a-token"))
    http.call("GET", f"/api/users/me?token={alice.token}")
    http.call("POST", "/api/refresh", {"refresh_token": s.mark("not-a-refresh-token")})
    old = alice.refresh_token
    for _ in range(2):  # the second time it is a repeat, and the third one ends the session
        alice.take(http.call("POST", "/api/refresh", {"refresh_token": alice.refresh_token}).json)
        s.grant("a refresh", alice)
    http.call("POST", "/api/refresh", {"refresh_token": old})
    alice.take(http.call("POST", "/api/login", login).json)
    s.grant("the last login", alice)
    change = {"old_password": s.mark("wrong-old-password"), "new_password": s.mark("refused-password")}
    alice.call("PUT", "/api/password", change)
    change = {"old_password": alice.password, "new_password": s.mark("new-password")}
    alice.ok("PUT", "/api/password", change, 204)
    http.call("POST", "/api/login", {"username": alice.name, "password": alice.password})
    return alice


def use_messages(http, s, alice):
    bob = User(http, "bob")
    group = alice.group(members=[bob])
    with alice.socket() as a, bob.socket(token_in="protocol") as b, bob.socket(token_in="query"):
        for target in ({"receiver_id": bob.id}, {"group_id": group}, {"receiver_id": 9**15}, {"group_id": 9**15}):
            word = f"text-{'-'.join(target)}-{len(s.words)}"
            body = {"type": "text", **target}
            alice.call("POST", "/api/messages", {**body, "content": s.mark(f"rest-{word}")})
            a.ask("chat_message", {**body, "content": s.mark(f"frame-{word}")})
        both = {"type": "text", "receiver_id": bob.id, "group_id": group}
        alice.call("POST", "/api/messages", {**both, "content": s.mark("text-for-two")})
        a.ask("chat_message", {**both, "content": s.mark("frame-for-two")})
        a.ask("chat_message", {"type": "NO TYPE", "receiver_id": bob.id, "content": s.mark("text-of-no-type")})
        a.ask("chat_message", {"type": "text", "receiver_id": bob.id, "content": [s.mark("text-in-a-list")]})
        a.ask(s.mark("frame-type-nobody-knows"), {"content": s.mark("text-of-it")})
        retry = {"type": "text", "receiver_id": bob.id, "client_id": unique("c")}
        for word in ("first-text", "second-text"):
            alice.call("POST", "/api/messages", {**retry, "content": s.mark(word)})
        a.send_frame(1, b'{"type":"chat_message","content":{"content":"' + s.mark("broken-frame").encode())
        a.ack("auth", {"token": alice.token})
        a.error("auth", {"token": s.mark("token-in-a-frame")})
        a.ack("sync", {"conversations": {f"u:{bob.id}": 0, f"g:{group}": 0}})
        a.ack("typing", {"receiver_id": bob.id})
        b.fence()
    bob.ok("GET", f"/api/messages?type=group&target_id={group}")
    for place in ("header", "protocol", "query"):
        refused_upgrade(http, token=s.mark(f"upgrade-by-{place}"), token_in=place)
    alice.ok("POST", "/api/logout", status=204)
    alice.call("GET", "/api/users/me")


@only("standalone")
def test_no_secret_is_in_the_log_at_any_level():
    s = Secrets()
    with Standalone(LOG_LEVEL="debug") as server:
        use_messages(server.http(), s, use_accounts(server.http(), s))
        with open(os.path.join(server.dir, "jwt.secret"), encoding="utf-8") as f:
            s.words["the signing secret"] = f.read().strip()
        time.sleep(0.2)
        server.stop()
        text = server.text()
        assert "handled" in text and "frame" in text and "command" in text
        assert len(s.words) > 40 and not s.found_in(text), s.found_in(text)
