# SPDX-License-Identifier: MIT
"""The WebSocket: opening forms, frames, errors, close codes, typing, presence."""

import json
import time

from client import Http, Refused, Socket, User
from marks import only
from server import Standalone, free_port, wait_until


def refused(http, token, **more):
    try:
        Socket(http, token, **more)
    except Refused as r:
        return r.response
    raise AssertionError("the upgrade was not refused")


def test_every_form_of_opening(http):
    user = User(http)
    for token_in in ("header", "protocol", "query"):
        with Socket(http, user.token, token_in=token_in) as s:
            hello = s.receive()
            assert hello["type"] == "hello" and hello["content"]["user_id"] == user.id, hello
            assert hello["timestamp"] and hello["content"]["session_id"] > 0
            assert hello["content"]["heartbeat_seconds"] == 25 and hello["content"]["server_time"]
    with Socket(http, user.token, protocol=False) as s:
        s.send("ping", id="p")
        assert s.expect("pong")["id"] == "p"


def test_opening_is_refused_before_the_upgrade(http):
    user = User(http)
    assert refused(http, None).status == 401
    assert refused(http, "nonsense").status == 401
    assert refused(http, user.token[:-3]).status == 401
    assert refused(http, user.token, headers={"Origin": "https://evil.example"}).status == 403
    with Socket(http, user.token, headers={"Origin": http.base}):
        pass
    assert refused(http, user.token, headers={"Sec-WebSocket-Version": "8"}).status == 426
    assert refused(http, user.token, headers={"Sec-WebSocket-Key": "short"}).status == 400
    plain = http.call("GET", "/api/ws", token=user.token)
    assert plain.status in (400, 426), plain


def test_frames_that_are_wrong_get_errors(http):
    user = User(http)
    with user.socket() as s:
        for frame, code in [
            ("{", "bad_json"),
            ("[]", "bad_json"),
            ('"x"', "bad_json"),
            ("{}", "invalid"),
            ('{"type":5}', "invalid"),
            ('{"type":"nonsense"}', "invalid"),
            ('{"type":"chat_message","content":"x"}', "invalid"),
            ('{"type":"chat_message"}', "invalid"),
        ]:
            s.send_frame(1, frame.encode())
            error = s.expect("error")["content"]
            assert error["code"] == code and error["detail"], (frame, error)
        for id in (7, "seven", "ü" * 30):
            s.send("nonsense", id=id)
            assert s.expect("error")["id"] == id
        s.fence()


def test_close_codes(http):
    user = User(http)

    def code_after(act):
        with user.socket() as s:
            act(s)
            return s.expect_close()

    assert code_after(lambda s: s.send_frame(2, b"binary")) == 1003
    assert code_after(lambda s: s.send_frame(1, b"\xff\xfe")) == 1007
    assert code_after(lambda s: s.send_frame(1, b"x" * 70000)) == 1009
    assert code_after(lambda s: s.send_frame(1, b"{}", mask=False)) == 1002
    assert code_after(lambda s: s.send_frame(3, b"")) == 1002
    assert code_after(lambda s: s.send_frame(1, b"{}", rsv=0x40)) == 1002
    assert code_after(lambda s: s.send_frame(0, b"x")) == 1002
    assert code_after(lambda s: s.send_frame(9, b"x" * 126)) == 1002
    assert code_after(lambda s: s.send_frame(9, b"x", fin=False)) == 1002
    assert code_after(lambda s: s.send_frame(8, b"\x03")) == 1002
    assert code_after(lambda s: s.send_frame(8, b"\x03\xe8")) == 1000


def test_fragments_and_pings_between_them(http):
    user = User(http)
    with user.socket() as s:
        text = json.dumps({"type": "ping", "id": "ä"}, ensure_ascii=False).encode()
        for cut in range(1, len(text)):
            s.send_frame(1, text[:cut], fin=False)
            s.send_frame(9, b"in between")
            s.send_frame(0, text[cut:])
            assert s.expect("pong")["id"] == "ä"


def test_ping_and_frames_without_id(http):
    user = User(http)
    with user.socket() as s:
        pong = s.ask("ping")
        assert pong["type"] == "pong"
        s.send("typing", {"receiver_id": user.id})
        s.send("ping", id="after")
        assert s.receive()["type"] in ("pong", "typing")


def test_typing_reaches_the_others(server, http):
    alice, bob, carol = User(http), User(server.http(1)), User(http)
    group = alice.group(members=[bob])
    a, b, c = alice.socket(), bob.socket(), carol.socket()
    assert a.ack("typing", {"receiver_id": bob.id}) == {}
    typing = b.expect("typing")["content"]
    assert typing["user_id"] == alice.id and typing["username"] == alice.name
    assert typing["receiver_id"] == bob.id and typing["group_id"] == 0
    assert a.ack("typing", {"group_id": group}) == {}
    assert b.expect("typing")["content"]["group_id"] == group
    carol.send("fence", to=carol.id)
    c.expect("message")
    assert not [f for f in c.frames if f["type"] == "typing"]
    assert a.error("typing", {})["code"] == "invalid"


def test_presence(server, http):
    alice, bob = User(http), User(server.http(1))
    a = alice.socket()
    first = a.ack("presence", {"user_ids": [bob.id, alice.id]})["users"]
    assert [u["user_id"] for u in first] == [bob.id, alice.id]
    assert first[0]["status"] == "offline"
    b = bob.socket()
    online = a.expect("user_status", where=lambda f: f["content"]["user_id"] == bob.id)["content"]
    assert online["status"] == "online" and online["username"] == bob.name, online
    listed = [u["id"] for u in alice.ok("GET", "/api/users/online?limit=200")["users"]]
    assert bob.id in listed and alice.id in listed
    assert alice.ok("GET", f"/api/users/{bob.id}")["user"]["online"] is True
    b.close()
    offline = a.expect("user_status", where=lambda f: f["content"]["user_id"] == bob.id)["content"]
    assert offline["status"] == "offline" and offline["last_seen_at"], offline
    assert alice.ok("GET", f"/api/users/{bob.id}")["user"]["online"] is False


def test_a_quick_return_shows_nothing(server, http):
    alice, bob = User(http), User(http)
    a, b = alice.socket(), bob.socket()
    a.ack("presence", {"user_ids": [bob.id]})
    b.drop()
    again = bob.socket(server.http(1))
    time.sleep(7)  # longer than the grace of going offline; nothing is decided by this time
    a.fence()
    states = [f["content"]["status"] for f in a.frames if f["type"] == "user_status" and f["content"]["user_id"] == bob.id]
    assert "offline" not in states, states
    again.close()


def test_old_clients_are_told_who_comes_and_goes(server, http):
    watcher, other = User(http), User(server.http(1))
    w = Socket(http, watcher.token, protocol=False)
    w.ack("ping")
    o = other.socket()
    status = w.expect("user_status", where=lambda f: f["content"]["user_id"] == other.id)["content"]
    assert status["status"] == "online"
    o.close()


def test_a_new_token_on_an_open_socket(http):
    user = User(http)
    with user.socket() as s:
        fresh = http.call("POST", "/api/refresh", {"refresh_token": user.refresh_token}).json
        s.ack("auth", {"token": fresh["token"]})
        assert s.error("auth", {"token": "nonsense"})["code"] == "unauthenticated"
        stranger = User(http)
        assert s.error("auth", {"token": stranger.token})["code"] == "forbidden"
        s.fence()


def test_every_socket_of_a_user_gets_everything(server, http):
    alice, bob = User(http), User(http)
    sockets = [alice.socket(server.http(i)) for i in range(4)]
    alice.send("hello", to=bob.id)
    bob.send("back", to=alice.id)
    for s in sockets:
        assert [s.expect("message")["content"]["content"] for _ in range(2)] == ["hello", "back"]


def test_requests_that_are_wrong(server):
    http = Http(server.urls[0])
    for method, path, status in [
        ("GET", "/api/nonsense", 404),
        ("GET", "/nonsense", 404),
        ("PATCH", "/api/messages", 405),
        ("DELETE", "/api/register", 405),
        ("GET", "/api/login", 405),
    ]:
        r = http.call(method, path)
        assert r.status in (status, 401) if status == 404 else r.status == status, (method, path, r)
    r = http.call("POST", "/api/register", raw=b"x" * (1024 * 1024 + 1))
    assert r.status == 413, r


def test_request_ids_are_carried(http):
    r = http.call("GET", "/healthz", headers={"X-Request-Id": "mine-1"})
    assert r.status == 200
    r = http.call("GET", "/api/users/me", headers={"X-Request-Id": "mine-2"})
    assert r.headers["x-request-id"] == "mine-2"
    r = http.call("GET", "/api/users/me", headers={"X-Request-Id": "x" * 500})
    assert r.headers["x-request-id"] != "x" * 500


@only("standalone")
def test_codes_of_the_clients_own_are_one_series():
    port = free_port()
    with Standalone(DATA_DIR=":memory:", ADMIN_PORT=str(port)) as server:
        user, admin = User(server.http()), Http(f"http://127.0.0.1:{port}", checked=False)

        def closed(code):
            text = admin.call("GET", "/metrics").body.decode()
            return [line.split()[1] for line in text.splitlines() if line.startswith(f'chat_gateway_closed_total{{code="{code}"}}')]

        assert closed(4008) == ["0"] and closed("other") == ["0"]
        for code in (3000, 4321, 4999, 1000):
            s = user.socket()
            s.contract.echoes = True
            s.close(code)
        wait_until("the others to be counted", lambda: closed("other") == ["3"] and closed(1000) == ["1"])
        assert closed(4321) == []
