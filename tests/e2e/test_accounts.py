# SPDX-License-Identifier: MIT
"""Accounts: registration, login, refresh, logout, sessions, passwords, profiles."""

import base64
import json

import contract
from client import User, unique


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def login(http, name, password="correct horse", **more):
    return http.call("POST", "/api/login", {"username": name, "password": password, **more})


def test_register_gives_an_account_and_tokens(http):
    name = unique()
    r = http.call(
        "POST",
        "/api/register",
        {"username": name, "password": "12345678", "email": "a@example.com", "nickname": "Nick"},
    )
    assert r.status == 201, r
    user = r.json["user"]
    assert user["username"] == name and user["nickname"] == "Nick" and user["email"] == "a@example.com"
    assert user["created_at"].endswith("Z") and r.json["message"] and r.json["refresh_token"]
    assert r.json["expires_in"] == 900
    got = claims(r.json["token"])
    assert got["user_id"] == user["id"] and got["username"] == name and got["iss"] == "chatroom"
    assert got["exp"] - got["iat"] == 900 and got["sid"] > 0
    me = http.call("GET", "/api/users/me", token=r.json["token"])
    assert me.status == 200 and me.json["user"]["id"] == user["id"], me


def test_register_refuses_bad_values(http):
    for body, field in [
        ({"password": "12345678"}, "username"),
        ({"username": "", "password": "12345678"}, "username"),
        ({"username": "a b", "password": "12345678"}, "username"),
        ({"username": "x" * 33, "password": "12345678"}, "username"),
        ({"username": unique(), "password": "1234567"}, "password"),
        ({"username": unique(), "password": "x" * 129}, "password"),
        ({"username": 5, "password": "12345678"}, "username"),
        ({"username": unique(), "password": "12345678", "email": "nonsense"}, "email"),
    ]:
        r = http.call("POST", "/api/register", body)
        assert r.status == 422 and r.code == "invalid" and field in r.fields(), (body, r)


def test_register_refuses_what_is_not_json(http):
    for raw in [b"{", b"", b"[]", b'"x"', b'{"a":1,"a":2}', b'{"username":"\xff"}', b"[" * 100000]:
        r = http.call("POST", "/api/register", raw=raw)
        assert r.status == 400 and r.code == "bad_json", (raw[:20], r)
    r = http.call("POST", "/api/register", raw=b"a=b", headers={"Content-Type": "text/plain"})
    assert r.status == 415 and r.code == "unsupported_media_type", r


def test_names_are_unique_without_regard_to_case(http):
    name = unique("Straße")
    assert http.call("POST", "/api/register", {"username": name, "password": "12345678"}).status == 201
    for same in (name, name.upper(), name.replace("ß", "SS")):
        r = http.call("POST", "/api/register", {"username": same, "password": "12345678"})
        assert r.status == 409 and r.code == "username_taken", (same, r)
    assert login(http, name.lower(), "12345678").status == 200


def test_login_does_not_tell_what_was_wrong(http):
    user = User(http)
    wrong, unknown = login(http, user.name, "wrong password"), login(http, unique("nobody"), "wrong password")
    assert wrong.status == unknown.status == 401
    assert wrong.code == unknown.code == "bad_credentials"
    assert wrong.json["detail"] == unknown.json["detail"]
    assert login(http, user.name).status == 200


def test_refresh_rotates(http):
    user = User(http)
    first = user.refresh_token
    second = http.call("POST", "/api/refresh", {"refresh_token": first})
    assert second.status == 200 and second.json["refresh_token"] != first, second
    again = http.call("POST", "/api/refresh", {"refresh_token": first})
    assert again.status == 200 and again.json["refresh_token"] == second.json["refresh_token"], again
    assert claims(second.json["token"])["sid"] == claims(user.token)["sid"]
    third = http.call("POST", "/api/refresh", {"refresh_token": second.json["refresh_token"]})
    assert third.status == 200
    late = http.call("POST", "/api/refresh", {"refresh_token": first})
    assert late.status == 401, late
    gone = http.call("POST", "/api/refresh", {"refresh_token": third.json["refresh_token"]})
    assert gone.status == 401, gone


def test_refresh_refuses_nonsense(http):
    for token in ("", "x", "a.b.c", "A" * 5000):
        r = http.call("POST", "/api/refresh", {"refresh_token": token})
        assert r.status in (401, 422), (token[:20], r)


def test_logout_ends_the_session_and_its_sockets(server, http):
    user = User(http)
    one, other = user.socket(), user.socket(server.http(1))
    assert user.call("POST", "/api/logout", {}).status == 204
    assert one.expect_close() == 4003 and other.expect_close() == 4003
    assert http.call("POST", "/api/refresh", {"refresh_token": user.refresh_token}).status == 401
    for i in range(2):
        r = server.http(i).call("GET", "/api/users/me", token=user.token)
        assert r.status == 401 and r.code == "unauthenticated", r


def test_sessions_are_listed_and_ended(http):
    user = User(http)
    phone = login(http, user.name, device="phone").json
    sessions = user.ok("GET", "/api/sessions")["sessions"]
    assert len(sessions) == 2 and [s["current"] for s in sessions].count(True) == 1, sessions
    by_device = {s["device"]: s for s in sessions}
    assert by_device["phone"]["id"] == claims(phone["token"])["sid"]
    assert by_device["phone"]["address"] == "127.0.0.1" and not by_device["phone"]["current"]
    assert user.call("DELETE", f"/api/sessions/{by_device['phone']['id']}").status == 204
    assert http.call("POST", "/api/refresh", {"refresh_token": phone["refresh_token"]}).status == 401
    assert user.call("DELETE", f"/api/sessions/{by_device['phone']['id']}").status == 404
    stranger = User(http)
    mine = claims(user.token)["sid"]
    assert stranger.call("DELETE", f"/api/sessions/{mine}").status == 404


def test_a_new_password_ends_the_other_sessions(http):
    user = User(http)
    other = login(http, user.name).json
    r = user.call("PUT", "/api/password", {"old_password": "wrong one", "new_password": "new password"})
    assert r.status == 422 and r.fields() == {"old_password"}, r
    r = user.call("PUT", "/api/password", {"old_password": user.password, "new_password": "short"})
    assert r.status == 422 and r.fields() == {"new_password"}, r
    r = user.call("PUT", "/api/password", {"old_password": user.password, "new_password": "new password"})
    assert r.status == 204, r
    assert http.call("POST", "/api/refresh", {"refresh_token": other["refresh_token"]}).status == 401
    assert http.call("POST", "/api/refresh", {"refresh_token": user.refresh_token}).status == 200
    assert login(http, user.name).status == 401
    assert login(http, user.name, "new password").status == 200


def test_tokens_that_are_not_ours(http):
    user = User(http)
    head, body, signature = user.token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    forged = [
        "",
        "x",
        "..",
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-2]}",
        f"{head}.{body[:-1]}.{signature}",
        "A" * 9000,
    ]
    for token in forged:
        r = http.call("GET", "/api/users/me", headers={"Authorization": f"Bearer {token}"})
        assert r.status in (401, 431), (token[:30], r)
    assert http.call("GET", "/api/users/me").status == 401
    assert http.call("GET", "/api/users/me", headers={"Authorization": "Basic eDp5"}).status == 401


def test_profiles(http):
    user, other = User(http), User(http)
    mine = user.ok("PUT", f"/api/users/{user.id}", {"nickname": "Ännchen 🎈", "bio": "hello", "avatar": "/a.png"})["user"]
    assert (mine["nickname"], mine["bio"], mine["avatar"]) == ("Ännchen 🎈", "hello", "/a.png")
    seen = other.ok("GET", f"/api/users/{user.id}")["user"]
    assert seen["nickname"] == "Ännchen 🎈" and "email" not in seen
    assert "password" not in json.dumps(seen)
    r = other.call("PUT", f"/api/users/{user.id}", {"nickname": "x"})
    assert r.status == 403 and r.code == "forbidden", r
    r = user.call("PUT", f"/api/users/{user.id}", {"nickname": 7})
    assert r.status == 422 and r.fields() == {"nickname"}, r
    assert user.call("GET", "/api/users/9007199254740991").status == 404
    assert user.call("GET", "/api/users/abc").status in (400, 404)


def test_me_is_nobody_else(http):
    user, other = User(http), User(http)
    with contract.unknown_members():
        assert user.ok("GET", f"/api/users/me?id={other.id}")["user"]["id"] == user.id
        assert user.ok("GET", f"/api/users/{user.id}?id={other.id}")["user"]["id"] == user.id


def test_user_list_is_paged(http):
    word = unique("paged")
    users = []
    for i in range(5):
        r = http.call("POST", "/api/register", {"username": f"{word}-{i}", "password": "12345678"})
        users.append(r.json["user"]["id"])
    token, cursor, seen = r.json["token"], "", []
    while cursor is not None:
        tail = f"&cursor={cursor}" if cursor else ""
        page = http.call("GET", f"/api/users?q={word}&limit=2{tail}", token=token)
        assert page.status == 200 and len(page.json["users"]) <= 2, page
        seen += [u["id"] for u in page.json["users"]]
        cursor = page.json["next_cursor"]
    assert sorted(seen) == sorted(users)
    for bad in ("limit=0", "limit=-1", "limit=x"):
        r = http.call("GET", f"/api/users?{bad}", token=token)
        assert r.status == 400 and r.code == "bad_query", (bad, r)
    assert http.call("GET", "/api/users?limit=100000", token=token).status == 200
