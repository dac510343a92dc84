# SPDX-License-Identifier: MIT
"""Hostile clients: what is malformed, too much or not theirs is refused, and the server goes on."""

import base64
import hashlib
import hmac
import json
import os
import re
import resource
import socket
import struct
import threading
import time

import contract
from client import Http, Refused, Socket, User, unique
from marks import only
from server import Standalone, free_port, wait_until

LOGIN = b'{"username":"x","password":"12345678"}'
NOBODY = 10**12  # an id that nothing has


def talk(http, data, wait=10.0):
    """Everything that the server says to these bytes until it hangs up or is silent for so long; did it hang up?"""
    said = b""
    with socket.create_connection((http.host, http.port), timeout=wait) as s:
        try:
            s.sendall(data)
            while more := s.recv(65536):
                said += more
        except TimeoutError:
            return said, False
        except ConnectionError:
            pass
    return said, True


def statuses(said):
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3})", said)]


def login(head, body=LOGIN, version=b"1.1"):
    return b"POST /api/login HTTP/%s\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n%s" % (version, head, body)


def get(path, head=b"Connection: close\r\n"):
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path, head)


def handshake(token, head=b"", protocols=b"chat.v1"):
    lines = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    lines += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + protocols + b"\r\n"
    return get(b"/api/ws", lines + b"Authorization: Bearer " + token.encode() + b"\r\n" + head)


def answer_of(user, method, path, body=None):
    """What an answer tells, without the numbers that were asked for."""
    r = user.call(method, path, body)
    return r.status, r.code, re.sub(r"\d+", "N", r.json["detail"])


def at_once(*calls):
    """The results of the calls, all begun together."""
    results, gate = [None] * len(calls), threading.Barrier(len(calls))

    def run(i):
        gate.wait()
        results[i] = calls[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


# -- HTTP


def test_heads_that_two_servers_could_read_differently(http):
    hidden = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    length = b"Content-Length: %d\r\n" % len(LOGIN)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(LOGIN), LOGIN)
    chunked = b"Transfer-Encoding: chunked\r\n"
    for data in (
        login(length + chunked, chunks),
        login(chunked + length, chunks),
        login(length + length),
        login(length + b"Content-Length: 5\r\n"),
        login(b"Content-Length: 38, 38\r\n"),
        login(b"Content-Length: +38\r\n"),
        login(b"Content-Length: 18446744073709551654\r\n"),
        login(chunked + chunked, chunks),
        login(b"Transfer-Encoding: xchunked\r\n", chunks),
        login(b"Transfer-Encoding: chunked, identity\r\n", chunks),
        login(b"Transfer-Encoding : chunked\r\n", chunks),
        login(b"X: a\r\n Transfer-Encoding: chunked\r\n" + length),
        login(chunked, chunks, version=b"1.0"),
        login(chunked, b"10000000000000026\r\n" + LOGIN + b"\r\n0\r\n\r\n"),
        login(chunked, b"0x26\r\n" + LOGIN + b"\r\n0\r\n\r\n"),
    ):
        said, hung_up = talk(http, data + hidden)
        assert statuses(said) == [400] and hung_up, (data, said)


def test_nothing_behind_a_chunked_body_is_a_request(http):
    chunked = b"Transfer-Encoding: chunked\r\n"
    for body in (b"26\r\n%s\r\n0\r\n\r\n", b"26\n%s\n0\n\n", b"26 zz\r\n%s\r\n0\r\nA: b\r\n\r\n", b"26;a=b\n%s\r\n0\r\n\r\n"):
        said, hung_up = talk(http, login(chunked, body % LOGIN) + get(b"/hidden"))
        assert statuses(said) == [401] and hung_up, (body, said)


def test_odd_requests(http):
    user = User(http)
    bearer = b"Connection: close\r\nAuthorization: Bearer " + user.token.encode() + b"\r\n"
    for data, expected in (
        (b"GET /healthz\r\n\r\n", [400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(300), [400]),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", [400]),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rY: b\r\n\r\n", [400]),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", [400]),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1000000 + b"\r\n\r\n", [400]),
        (get(b"/api/../healthz"), [404]),
        (get(b"/healthz%00"), [404]),
        (get(b"//" * 100000), [404]),
        (get(b"/api/users/%00", bearer), [404]),
        (get(b"/api/users?" + b"q=b&" * 90000, bearer), [200]),
        (get(b"/api/users?q=%ff", bearer), [400]),
        (get(b"/api/users?q=a%00b", bearer), [400]),
        (get(b"/api/users?q=%g", bearer), [400]),
        (get(b"/healthz", b"") * 200 + get(b"/healthz"), [200] * 201),
        (login(b"Content-Length: 38\r\nExpect: 100-continue\r\nConnection: close\r\n"), [100, 401]),
        (login(b"Content-Length: 38\r\nExpect: 200-ok\r\n"), [417]),
    ):
        said, _ = talk(http, data)
        assert statuses(said) in (expected, []) if len(data) > 500000 else statuses(said) == expected, (data[:200], said[:300])
    said, _ = talk(http, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert statuses(said) == [200] and said.endswith(b"\r\n\r\n"), said


def test_json_torture(http):
    for text, status in (
        (b"[" * 500000, 400),
        (b'{"a":' * 100000, 400),
        (b'{"a":[' + b"1," * 400000 + b"1]}", 400),
        (b"{" + b",".join(b'"k%d":1' % i for i in range(60000)) + b"}", 400),
        (b'{"username":"a","username":"b"}', 400),
        (b'{"username":"\\ud800","password":"12345678"}', 400),
        (b'{"username":"\xff","password":"12345678"}', 400),
        (b'{"username":"a\\u0000b","password":"12345678"}', 422),
        (b'{"username":1e999}', 400),
        (b'{"x":' + b"9" * 500000 + b"}", 400),
        (b'{"x":NaN}', 400),
        (b"{}{}", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b" " * 1000000, 400),
        (b'{"a":"' + b"x" * 1100000 + b'"}', 413),
    ):
        r = http.call("POST", "/api/register", raw=text)
        assert r.status == status, (text[:40], r)


def test_numbers_at_their_edges(http):
    user = User(http)
    for number, status in (
        ("9007199254740991", 422), ("9007199254740992", 422), ("9223372036854775808", 400), ("-1", 422), ("1.0", 422),
        ("1e0", 422), ('"1"', 422), ("true", 422), ("[]", 422), ("-0", 422), ("01", 400),
    ):
        raw = b'{"content":"x","type":"text","receiver_id":%s}' % number.encode()
        assert user.call("POST", "/api/messages", raw=raw).status == status, number
    for word in ("0", "-1", "1.0", "1e3", "0x1", "+1", "01", "9007199254740992", "18446744073709551617", "1%00", "1%20"):
        assert user.call("GET", f"/api/users/{word}").status == 404, word
    for query in ("limit=0", "limit=-1", "limit=1e3", "limit=", "limit=99999999999999999999", "before=-1", "after=1.5"):
        r = user.call("GET", f"/api/messages?type=private&target_id={user.id}&{query}")
        assert r.status == 400 and r.code == "bad_query", (query, r)


# -- WebSocket


def close_code_after(user, data):
    with user.socket() as s:
        s.contract.echoes = True
        s.sock.sendall(data)
        return s.expect_close()


def frame(first, payload, mask=b"\0\0\0\0"):
    return struct.pack("!BB", first, 0x80 | len(payload)) + mask + payload


def test_every_break_of_the_framing_closes(http):
    user = User(http)
    for opcode in (*range(3, 8), *range(11, 16)):
        assert close_code_after(user, frame(0x80 | opcode, b"")) == 1002, opcode
    for code, data in (
        (1002, frame(0xC1, b"{}")),  # reserved bits
        (1002, frame(0xA1, b"{}")),
        (1002, frame(0x91, b"{}")),
        (1002, b"\x81\x02{}"),  # not masked
        (1002, frame(0x09, b"")),  # a control frame in pieces
        (1002, frame(0x08, b"")),
        (1002, b"\x89\xfe\x00\x7e" + bytes(130)),  # a long one
        (1002, frame(0x80, b"x")),  # the rest of nothing
        (1002, frame(0x01, b"x") + frame(0x01, b"x")),  # a text within a text
        (1002, b"\x81\xfe\x00\x02abcd{}"),  # not the shortest length
        (1002, b"\x81\xff\0\0\0\0\0\0\x01\0abcd"),
        (1002, b"\x81\xff" + b"\xff" * 8 + b"abcd"),  # 2^64 - 1
        (1009, b"\x81\xff\x7f" + b"\xff" * 7 + b"abcd"),
        (1003, frame(0x82, b"{}")),
        (1007, frame(0x81, b"\xed\xa0\x80")),
        (1007, frame(0x81, b"\xe2\x82")),
        (1007, frame(0x01, b"\xe2") + frame(0x80, b"\x82")),
        (1007, frame(0x88, b"\x03\xe8\xff")),
        (1002, frame(0x88, b"\x03")),
        (1009, frame(0x01, b" ") + frame(0x00, b" ") * 70000),
    ):
        assert close_code_after(user, data) == code, (code, data[:20])
    for said, heard in ((0, 1002), (999, 1002), (1000, 1000), (1005, 1002), (1006, 1002), (1015, 1002), (2999, 1002), (4999, 4999)):
        assert close_code_after(user, frame(0x88, struct.pack("!H", said))) == heard, said
    assert close_code_after(user, frame(0x88, b"") + frame(0x81, b"{}") * 1000) == 1000, "what follows a close is not read"


def test_frames_in_crumbs(http):
    user = User(http)
    with user.socket() as s:
        s.sock.sendall(frame(0x01, b"") + frame(0x00, b"") * 200000 + frame(0x80, b""))
        assert s.expect("error")["content"]["code"] == "bad_json"
        for byte in frame(0x01, b'{"type":"pi') + frame(0x89, b"between") + frame(0x80, b'ng"}'):
            s.sock.sendall(bytes([byte]))
        s.expect("pong")
        s.fence()


def test_a_handshake_with_a_body_and_with_frames_at_once(http):
    user = User(http)
    ping = frame(0x81, b'{"type":"ping"}')
    for head, body in (
        (b"", b""),
        (b"Content-Length: 4\r\n", b"abcd"),
        (b"Transfer-Encoding: chunked\r\n", b"4\r\nabcd\r\n0\r\n\r\n"),
    ):
        said, hung_up = talk(http, handshake(user.token, head) + body + ping + frame(0x88, b""))
        assert statuses(said) == [101] and b'"pong"' in said and hung_up, said


@only("standalone")
def test_a_long_list_of_subprotocols_holds_nobody_up():
    with Standalone(DATA_DIR=":memory:", GATEWAY_THREADS="1") as server:
        start = time.monotonic()
        said, _ = talk(server.http(), handshake("x", protocols=b"," * 300000), wait=30)
        assert statuses(said) == [401], said
        assert time.monotonic() - start < 5, "one loop read this list for minutes, once"


def metric(admin, name):
    """The value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", admin.call("GET", "/metrics").body.decode(), re.MULTILINE)
    return float(found.group(1))


@only("standalone")
def test_bodies_that_never_end_hold_bounded_memory():
    """96 requests of 1 MiB without their last byte: the oldest are closed until the budget holds, the newest is answered."""
    body = json.dumps({"username": "x", "password": "12345678", "device": "d" * (1024 * 1024 - 100)}).encode()
    head = login(b"Content-Length: %d\r\n" % len(body), b"")
    port = free_port()
    with Standalone(DATA_DIR=":memory:", GATEWAY_THREADS="1", REQUEST_MEMORY_MIB="8", ADMIN_PORT=str(port)) as server:
        http, admin = server.http(), Http(f"http://127.0.0.1:{port}", checked=False)
        opened = []
        for _ in range(96):
            opened.append(socket.create_connection((http.host, http.port), timeout=30))
            try:
                opened[-1].sendall(head + body[:-1])
            except ConnectionError:
                pass  # closed while it wrote: that is what is tested
        wait_until("the oldest to be closed", lambda: metric(admin, "chat_gateway_requests_shed_total") >= 88)
        assert metric(admin, "chat_gateway_request_bytes") <= 8 * 1024 * 1024
        assert metric(admin, "chat_gateway_requests_shed_total") <= 95
        assert http.call("POST", "/api/login", {"username": "x", "password": "12345678"}).status == 401
        opened[-1].sendall(body[-1:])
        assert opened[-1].recv(12) == b"HTTP/1.1 422", "the newest one is whole, and its device is too long"
        for s in opened:
            s.close()
        wait_until("no request left", lambda: metric(admin, "chat_gateway_request_bytes") == 0)


@only("standalone")
def test_floods_of_pings_and_questions_are_bounded():
    with Standalone(DATA_DIR=":memory:", RATE_LIMIT_FRAMES="30/1") as server:
        user = User(server.http())
        assert close_code_after(user, frame(0x89, b"x") * 100000) == 1008
    with Standalone(DATA_DIR=":memory:") as server:
        user = User(server.http())
        with user.socket() as s:
            for i in range(300):
                s.send("sync", {"conversations": {f"u:{k}": 0 for k in range(1, 101)}}, id=i)
            answers = [s.expect(where=lambda f, i=i: f.get("id") == i) for i in range(300)]
            codes = [a["content"].get("code") for a in answers if a["type"] == "error"]
            assert set(codes) <= {"rate_limited"} and len(codes) < 300, codes
            s.ack("sync", {"conversations": {f"u:{user.id}": 0}})


@only("standalone")
def test_questions_on_sockets_are_requests_too():
    with Standalone(DATA_DIR=":memory:", RATE_LIMIT_USER="20/60") as server:
        user = User(server.http())
        with user.socket() as s:
            frames = [s.ask("presence", {"user_ids": [user.id]})["type"] for _ in range(25)]
            assert frames == ["ack"] * 19 + ["error"] * 6, "the opening is one too"
            assert user.call("GET", "/api/users/me").status == 429
            s.ack("ping")


@only("standalone")
def test_two_thousand_sockets_vanish_at_once():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Standalone(DATA_DIR=":memory:", MAX_SOCKETS_PER_USER="5000", ADMIN_USERS="the-admin") as server:
        http = server.http()
        admin = http.call("POST", "/api/register", {"username": "the-admin", "password": "12345678"}).json["token"]
        sockets = [Socket(http, admin) for _ in range(2000)]
        for s in sockets:
            s.drop()
        end = time.monotonic() + 30
        while http.call("GET", "/api/monitor/connections", token=admin).json["connections"] > 0:
            assert time.monotonic() < end, "sockets are left over"


# -- Tokens


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(head, claims, key, digest=hashlib.sha256):
    text = f"{unpadded(json.dumps(head).encode())}.{unpadded(json.dumps(claims).encode())}"
    return f"{text}.{unpadded(hmac.new(key, text.encode(), digest).digest()) if key is not None else ''}"


@only("standalone")
def test_forged_tokens():
    with Standalone() as server:
        user = User(server.http())
        head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in user.token.split(".")[:2])
        with open(os.path.join(server.dir, "jwt.secret"), "rb") as f:
            secret = f.read().strip()
        assert user.http.call("GET", "/api/users/me", token=forged(head, claims, secret)).status == 200
        without = {name: {k: v for k, v in claims.items() if k != name} for name in ("exp", "sid", "user_id", "iss")}
        tokens = [forged({**head, "alg": alg}, claims, None) for alg in ("none", "None", "")]
        tokens += [forged({**head, "alg": alg}, claims, secret) for alg in ("RS256", "ES256", "HS512", "HS384")]
        tokens += [forged({**head, "kid": kid}, claims, key) for kid, key in (("../../dev/null", b""), ("x' UNION SELECT 'a", b"a"))]
        tokens += [forged({**head, "jwk": {"kty": "oct", "k": "YQ"}}, claims, b"a"), forged(head, claims, b"")]
        tokens += [forged(head, c, secret) for c in without.values()]
        for wrong in ({"exp": 1}, {"exp": "9999999999"}, {"iss": "evil"}, {"user_id": 0}, {"user_id": -1}, {"user_id": 2**53}):
            tokens.append(forged(head, {**claims, **wrong}, secret))
        tokens += [user.token + ".x", user.token + "=", user.token.rsplit(".", 1)[0] + ".", user.refresh_token, "." * 8000, "a" * 100000]
        for token in tokens:
            r = user.http.call("GET", "/api/users/me", token=token)
            assert r.status == 401, (token[:300], r)
        assert user.http.call("POST", "/api/refresh", {"refresh_token": user.token}).status == 401


def test_one_refresh_token_used_by_many_at_once(http):
    user = User(http)
    old = user.refresh_token
    answers = at_once(*[lambda: http.call("POST", "/api/refresh", {"refresh_token": old})] * 8)
    assert {r.status for r in answers} == {200}, answers
    assert len({r.json["refresh_token"] for r in answers}) == 1, "one successor, however often it is told"
    user.take(answers[0].json)
    user.take(http.call("POST", "/api/refresh", {"refresh_token": user.refresh_token}).json)
    assert http.call("POST", "/api/refresh", {"refresh_token": old}).status == 401
    assert http.call("POST", "/api/refresh", {"refresh_token": user.refresh_token}).status == 401, "the thief's is dead as well"


# -- What belongs to others


def test_nothing_tells_that_a_private_thing_exists(http):
    owner, member, stranger = User(http), User(http), User(http)
    group = owner.group(members=[member])
    theirs = owner.send("for one", to=member.id)["id"], owner.send("for a group", group=group)["id"]
    session = owner.ok("GET", "/api/sessions")["sessions"][0]["id"]
    for path, real in [("/api/messages/%d", id) for id in theirs] + [
        ("/api/groups/%d", group),
        ("/api/groups/%d/members", group),
        ("/api/messages?type=group&target_id=%d", group),
    ]:
        hidden, absent = answer_of(stranger, "GET", path % real), answer_of(stranger, "GET", path % NOBODY)
        assert hidden == absent and hidden[0] == 404, (path, hidden, absent)
    text = {"content": "x", "type": "text"}
    for method, path, real, body in (
        ("DELETE", "/api/sessions/%d", session, None),
        ("PUT", "/api/groups/%d", group, {"name": "mine"}),
        ("DELETE", "/api/groups/%d", group, None),
        ("POST", "/api/groups/%d/members", group, {"user_id": stranger.id}),
        ("DELETE", f"/api/groups/%d/members/{member.id}", group, None),
    ):
        hidden, absent = answer_of(stranger, method, path % real, body), answer_of(stranger, method, path % NOBODY, body)
        assert hidden == absent and hidden[0] == 404, (path, hidden, absent)
    assert stranger.call("POST", "/api/messages", {**text, "receiver_id": owner.id, "reply_to": theirs[0]}).status == 422
    with stranger.socket() as s:
        for kind, content in (
            ("chat_message", lambda id: {**text, "group_id": id}),
            ("typing", lambda id: {"group_id": id}),
            ("sync", lambda id: {"conversations": {f"g:{id}": 0}}),
        ):
            hidden, absent = s.ask(kind, content(group)), s.ask(kind, content(NOBODY))
            assert (hidden["type"], hidden["content"]) == (absent["type"], absent["content"]), (hidden, absent)
        s.fence()
        assert not s.frames, s.frames
    assert owner.call("GET", "/api/users/me").status == 200


def test_fields_that_are_not_the_clients_to_set(http):
    alice, bob = User(http), User(http)
    stolen = {"id": 1, "seq": 99, "sender_id": bob.id, "user_id": bob.id, "created_at": "2000-01-01T00:00:00Z"}
    with contract.unknown_members():
        sent = alice.send("x", to=bob.id, sender={"id": bob.id}, caller={"user_id": bob.id}, **stolen)
    assert sent["sender_id"] == alice.id and sent["seq"] == 1 and sent["id"] != 1, sent
    with contract.unknown_members():
        made = alice.ok("POST", "/api/groups", {"name": "g", "owner_id": bob.id, "creator_id": bob.id, "member_count": 99}, 201)["group"]
    assert made["owner_id"] == made["creator_id"] == alice.id and made["member_count"] == 1, made
    with contract.unknown_members():
        changed = alice.ok("PUT", f"/api/users/{alice.id}", {"username": "root", "online": True, "password": "87654321"})["user"]
    assert changed["username"] == alice.name, changed
    assert http.call("POST", "/api/login", {"username": alice.name, "password": "87654321"}).status == 401
    assert "email" not in bob.ok("GET", f"/api/users/{alice.id}")["user"]
    for avatar in ("javascript:alert(1)", "data:text/html,x", "//evil.example", "/\\evil.example"):
        assert alice.call("PUT", f"/api/users/{alice.id}", {"avatar": avatar}).status == 422, avatar
        assert alice.call("POST", "/api/groups", {"name": "g", "avatar": avatar}).status == 422, avatar


def test_names_that_look_like_others(http):
    name = unique("Alice")
    first = {"username": name, "password": "12345678"}
    assert http.call("POST", "/api/register", first).status == 201
    same = [name.upper(), name.replace("A", "\uff21"), name.replace("l", "l\u200d"), name.replace("l", "l\ufe0f")]
    wrong = [c + name for c in "\u200b\u202e\u2066\ufeff\u00ad\u2060\u2028\u0085\u00a0\uffff"] + ["\u3164", "\ufdfa", "\U000e0061" + name]
    for taken in same:
        r = http.call("POST", "/api/register", {**first, "username": taken})
        assert r.status == 409, (ascii(taken), r)
    for bad in wrong:
        r = http.call("POST", "/api/register", {**first, "username": bad})
        assert r.status == 422 and r.fields() == {"username"}, (ascii(bad), r)


def test_headers_of_any_bytes_stay_out_of_json(http):
    user = User(http)
    body = json.dumps({"username": user.name, "password": user.password}).encode()
    for value in (b"\xff\xfe\xc3", "é".encode() * 150, b"a" * 199 + "é".encode()):
        head = b"Connection: close\r\nUser-Agent: %s\r\nX-Request-Id: %s\r\n" % (value, value)
        said, _ = talk(http, login(head + b"Content-Length: %d\r\n" % len(body), body))
        assert statuses(said) == [200] and value not in said, said
    assert len(user.ok("GET", "/api/sessions")["sessions"]) == 4


@only("standalone")
def test_forwarding_headers_of_strangers_buy_nothing():
    with Standalone(DATA_DIR=":memory:", RATE_LIMIT_AUTH="10/60") as server:
        codes = []
        for i in range(15):
            claim = {"X-Forwarded-For": f"203.0.113.{i}", "X-Real-IP": f"203.0.113.{i}", "Forwarded": f"for=203.0.113.{i}"}
            body = {"username": unique(), "password": "12345678"}
            codes.append(server.http().call("POST", "/api/login", body, headers=claim).status)
        assert codes == [401] * 10 + [429] * 5, codes


@only("standalone")
def test_the_proxys_own_line_is_the_last_word():
    with Standalone(DATA_DIR=":memory:", RATE_LIMIT_AUTH="5/60", TRUSTED_PROXIES="127.0.0.1") as server:
        codes = []
        for i in range(10):
            lines = b"X-Forwarded-For: 203.0.113.%d\r\nX-Forwarded-For: 198.51.100.7\r\n" % i
            said, _ = talk(server.http(), login(b"Connection: close\r\nContent-Length: %d\r\n" % len(LOGIN) + lines))
            codes += statuses(said)
        assert codes == [401] * 5 + [429] * 5, codes


def test_lists_may_stand_in_many_lines(http):
    user = User(http)
    tag = user.call("GET", f"/api/users/{user.id}").headers["etag"].encode()
    head = b"Connection: close\r\nAuthorization: Bearer " + user.token.encode() + b"\r\n"
    said, _ = talk(http, get(b"/api/users/%d" % user.id, head + b'If-None-Match: "other"\r\nIf-None-Match: ' + tag + b"\r\n"))
    assert statuses(said) == [304], said
    with user.socket(token_in="none", headers={"Sec-WebSocket-Protocol": f"chat.v1\r\nSec-WebSocket-Protocol: bearer.{user.token}"}) as s:
        s.ack("ping")


def test_targets_may_be_absolute(http):
    for target, status in (
        (b"http://x/healthz", 200),
        (b"HTTPS://x/healthz?a=b", 200),
        (b"http://x", 200),
        (b"http://x?a=b", 200),
        (b"http://x/api/users/me", 401),
        (b"http://x/http://x/", 404),
        (b"ftp://x/healthz", 404),
    ):
        said, _ = talk(http, get(target))
        assert statuses(said) == [status], (target, said)


def test_presence_and_sync_of_too_much(http):
    user = User(http)
    with user.socket() as s:
        assert s.error("presence", {"user_ids": list(range(1, 502))})["code"] == "invalid"
        for ids in ([-1], [0], [2**53], ["1"], [[1]], [1.5], "1", {}):
            assert s.error("presence", {"user_ids": ids})["code"] == "invalid", ids
        assert len(s.ack("presence", {"user_ids": list(range(1, 501))})["users"]) == 500
        assert s.error("presence", {"user_ids": list(range(501, 1101))})["code"] == "invalid"
        assert s.error("sync", {"conversations": {f"u:{i}": 0 for i in range(1, 202)}})["code"] == "invalid"
        for key, seq in (("u:0", 0), ("x:1", 0), ("u:01", 0), ("u:1 ", 0), ("u:9" + "0" * 30, 0), ("u:1", -1), ("u:1", 2**53), ("u:1", 0.5)):
            assert s.error("sync", {"conversations": {key: seq}})["code"] == "invalid", (key, seq)
        assert s.ack("sync", {"conversations": {f"u:{user.id}": 2**53 - 1}}) == {"complete": True}


# -- Races


def test_one_name_registered_by_many_at_once(http):
    name = unique("race")
    calls = [lambda n=n: http.call("POST", "/api/register", {"username": n, "password": "12345678"}).status for n in (name, name.upper()) * 4]
    assert sorted(at_once(*calls)) == [201] + [409] * 7


def test_writing_while_the_group_goes(http):
    owner, member = User(http), User(http)
    for end in ("leave", "delete"):
        group = owner.group(members=[member])
        path = f"/api/groups/{group}" + (f"/members/{member.id}" if end == "leave" else "")
        who = member if end == "leave" else owner

        def write():
            body = {"content": "x", "type": "text", "group_id": group}
            return [member.call("POST", "/api/messages", body).status for _ in range(15)]

        *written, gone = at_once(write, write, write, lambda: who.call("DELETE", path).status)
        codes = [code for some in written for code in some]
        assert gone == 204 and set(codes) <= {201, 404}, (gone, codes)
        assert member.call("GET", f"/api/messages?type=group&target_id={group}").status == 404
        if end == "leave":
            seqs = [m["seq"] for m in owner.ok("GET", f"/api/messages?type=group&target_id={group}&limit=200")["messages"]]
            assert seqs == list(range(1, codes.count(201) + 1)), (seqs, codes)
