# SPDX-License-Identifier: MIT
"""Groups: creation, visibility, members, changes, and what others may see and do."""

from client import User, unique
from server import wait_until


def test_a_group_has_its_creator_as_owner(http):
    owner = User(http)
    name = unique("group")
    r = owner.call("POST", "/api/groups", {"name": name, "description": "d", "avatar": "/a.png"})
    assert r.status == 201 and r.json["message"], r
    group = r.json["group"]
    assert group["name"] == name and group["description"] == "d" and group["avatar"] == "/a.png"
    assert group["visibility"] == "private" and group["my_role"] == "owner"
    assert group["owner_id"] == group["creator_id"] == owner.id and group["member_count"] == 1
    assert r.headers["location"] == f"/api/groups/{group['id']}"
    assert owner.ok("GET", f"/api/groups/{group['id']}")["group"]["name"] == name
    with_members = owner.ok("GET", f"/api/groups/{group['id']}?include_members=true")["group"]
    assert [m["user"]["id"] for m in with_members["members"]] == [owner.id]
    assert "members" not in owner.ok("GET", f"/api/groups/{group['id']}")["group"]


def test_creating_again_with_the_same_key_is_the_same_group(http):
    owner = User(http)
    body, key = {"name": unique("group")}, {"Idempotency-Key": unique("key")}
    first = owner.call("POST", "/api/groups", body, headers=key)
    again = owner.call("POST", "/api/groups", body, headers=key)
    assert first.status == 201 and again.status in (200, 201)
    assert first.json["group"]["id"] == again.json["group"]["id"]


def test_what_a_group_may_be_called(http):
    owner = User(http)
    for body, field in [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 3}, "name"),
        ({"name": "x" * 1000}, "name"),
        ({"name": "x", "visibility": "secret"}, "visibility"),
        ({"name": "x", "description": "y" * 100000}, "description"),
    ]:
        r = owner.call("POST", "/api/groups", body)
        assert r.status == 422 and field in r.fields(), (body, r)


def test_private_groups_are_hidden_and_public_ones_are_not(http):
    owner, outsider = User(http), User(http)
    private, public = owner.group(), owner.group("public")
    for call in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/members")):
        body = {"name": "x"} if call[0] == "PUT" else None
        r = outsider.call(call[0], f"/api/groups/{private}{call[1]}", body)
        assert r.status == 404, (call, r)
        assert outsider.call(call[0], f"/api/groups/{private + 10**12}{call[1]}", body).status == 404
    seen = outsider.ok("GET", f"/api/groups/{public}")["group"]
    assert seen["my_role"] is None and seen["visibility"] == "public"
    for verb, path, body in (
        ("PUT", "", {"name": "x"}),
        ("DELETE", "", None),
        ("GET", "/members", None),
        ("POST", "/members", {"user_id": owner.id + 0}),
    ):
        r = outsider.call(verb, f"/api/groups/{public}{path}", body)
        assert r.status in (403, 409), (verb, path, r)


def test_lists_of_groups(http):
    owner, outsider = User(http), User(http)
    word = unique("listed")
    ids = []
    for i in range(3):
        made = owner.ok("POST", "/api/groups", {"name": f"{word} {i}", "visibility": "public"}, 201)
        ids.append(made["group"]["id"])
    hidden = owner.group()
    mine = owner.ok("GET", "/api/groups")["groups"]
    assert {g["id"] for g in mine} == {*ids, hidden}
    assert outsider.ok("GET", "/api/groups")["groups"] == []
    found, cursor = [], ""
    while cursor is not None:
        tail = f"&cursor={cursor}" if cursor else ""
        page = outsider.ok("GET", f"/api/groups?scope=public&q={word}&limit=2{tail}")
        found += [g["id"] for g in page["groups"]]
        cursor = page["next_cursor"]
    assert sorted(found) == sorted(ids)


def test_members_come_and_go(http):
    owner, member, other = User(http), User(http), User(http)
    group = owner.group(members=[member])
    path = f"/api/groups/{group}/members"
    members = {m["user"]["id"]: m for m in owner.ok("GET", path)["members"]}
    assert members[owner.id]["role"] == "owner" and members[member.id]["role"] == "member"
    assert members[member.id]["user"]["username"] == member.name
    assert owner.ok("GET", f"/api/groups/{group}")["group"]["member_count"] == 2
    r = owner.call("POST", path, {"user_id": member.id})
    assert r.status == 409 and r.code == "already_member", r
    r = owner.call("POST", path, {"user_id": 9007199254740991})
    assert r.status == 422 and r.fields() == {"user_id"}, r
    r = owner.call("POST", path, {})
    assert r.status == 422 and r.fields() == {"user_id"}, r
    assert member.call("POST", path, {"user_id": other.id}).status == 403
    assert member.call("DELETE", f"{path}/{owner.id}").status == 403
    r = owner.call("DELETE", f"{path}/{owner.id}")
    assert r.status == 409, r
    assert member.call("DELETE", f"{path}/{member.id}").status == 204
    assert member.call("GET", f"/api/groups/{group}").status == 404
    assert owner.call("DELETE", f"{path}/{member.id}").status == 404
    assert owner.ok("GET", f"/api/groups/{group}")["group"]["member_count"] == 1


def test_anyone_joins_a_public_group(http):
    owner, joiner = User(http), User(http)
    public, private = owner.group("public"), owner.group()
    joined = joiner.ok("POST", f"/api/groups/{public}/members", {"user_id": joiner.id}, 201)
    assert joiner.ok("GET", f"/api/groups/{public}")["group"]["my_role"] == "member", joined
    r = joiner.call("POST", f"/api/groups/{private}/members", {"user_id": joiner.id})
    assert r.status == 404, r


def test_roles(http):
    owner, admin, member = User(http), User(http), User(http)
    group = owner.group(members=[admin, member])
    path = f"/api/groups/{group}/members"
    for role in ("king", "none", "", "OWNER", 3, ["admin"]):
        r = owner.call("PUT", f"{path}/{admin.id}", {"role": role})
        assert r.status == 422 and r.fields() == {"role"}, (role, r)
    assert member.call("PUT", f"{path}/{admin.id}", {"role": "admin"}).status == 403
    given = owner.ok("PUT", f"{path}/{admin.id}", {"role": "admin"})["member"]
    assert given["role"] == "admin" and given["user"]["username"] == admin.name and given["muted_until"] is None, given
    assert admin.call("PUT", f"{path}/{member.id}", {"role": "admin"}).status == 403
    assert admin.call("DELETE", f"{path}/{owner.id}").status == 403
    assert admin.ok("PUT", f"/api/groups/{group}", {"name": "by the admin"})["group"]["my_role"] == "admin"
    assert owner.call("PUT", f"{path}/{owner.id}", {"role": "admin"}).status == 409
    o = owner.socket()
    assert owner.ok("PUT", f"{path}/{admin.id}", {"role": "owner"})["member"]["role"] == "owner"
    for user, role in ((admin, "owner"), (owner, "admin")):
        o.expect("group", where=lambda f: (f["content"]["user_id"], f["content"]["role"]) == (user.id, role))
    shown = owner.ok("GET", f"/api/groups/{group}")["group"]
    assert shown["owner_id"] == admin.id and shown["my_role"] == "admin", shown
    assert owner.call("DELETE", f"/api/groups/{group}").status == 403
    assert owner.call("DELETE", f"{path}/{member.id}").status == 204
    assert owner.call("DELETE", f"{path}/{owner.id}").status == 204
    outsider = owner.call("PUT", f"{path}/{admin.id}", {"role": "member"})
    assert outsider.status == 404, outsider


def test_mutes(server, http):
    owner, member = User(http), User(server.http(1))
    group = owner.group(members=[member])
    path = f"/api/groups/{group}/members/{member.id}"
    m = member.socket()
    body = {"content": "x", "type": "text", "group_id": group}
    member.ok("POST", "/api/messages", body, 201)
    r = owner.call("PUT", path, {"muted_until": "soon"})
    assert r.status == 422 and r.fields() == {"muted_until"}, r
    assert member.call("PUT", path, {"muted_until": None}).status == 403
    muted = owner.ok("PUT", path, {"muted_until": "2100-01-01T00:00:00Z"})["member"]
    assert muted["muted_until"] == "2100-01-01T00:00:00.000Z", muted
    told = expect_change(m, "muted")
    assert told["user_id"] == member.id and told["by"] == owner.id and told["role"] == "member", told
    assert told["muted_until"] == muted["muted_until"] and told["group"]["id"] == group, told
    wait_until("the mute to count", lambda: member.call("POST", "/api/messages", body).status == 403)
    assert m.error("chat_message", body)["code"] == "forbidden"
    assert member.call("GET", f"/api/messages?type=group&target_id={group}").status == 200, "who is muted still reads"
    assert owner.ok("PUT", path, {"muted_until": None})["member"]["muted_until"] is None
    wait_until("the mute to end", lambda: member.call("POST", "/api/messages", body).status == 201)
    assert owner.ok("PUT", path, {})["member"]["role"] == "member"


def expect_change(socket, change):
    """What happened before the socket was opened may still be told after its hello."""
    return socket.expect("group", where=lambda f: f["content"]["change"] == change)["content"]


def test_a_new_member_has_a_place(http):
    owner, member = User(http), User(http)
    group = owner.group()
    r = owner.call("POST", f"/api/groups/{group}/members", {"user_id": member.id})
    assert r.status == 201 and r.headers["location"] == f"/api/groups/{group}/members/{member.id}", r


def test_changes_are_told(server, http):
    owner, member = User(http), User(server.http(1))
    group = owner.group(members=[member])
    m = member.socket()
    changed = owner.ok("PUT", f"/api/groups/{group}", {"name": "new name", "visibility": "public"})
    assert changed["group"]["name"] == "new name" and changed["message"]
    told = expect_change(m, "updated")
    assert told["group"]["name"] == "new name" and told["by"] == owner.id
    assert member.call("PUT", f"/api/groups/{group}", {"name": "x"}).status == 403
    assert member.call("DELETE", f"/api/groups/{group}").status == 403
    assert owner.call("DELETE", f"/api/groups/{group}").status == 204
    expect_change(m, "deleted")
    assert owner.call("GET", f"/api/groups/{group}").status == 404
    body = {"content": "x", "type": "text", "group_id": group}
    wait_until("writing to be refused", lambda: member.call("POST", "/api/messages", body).status == 404)


def test_being_added_is_told_to_the_one_added(server, http):
    owner, added = User(http), User(server.http(1))
    a = added.socket()
    group = owner.group(members=[added])
    told = a.expect("group", where=lambda f: f["content"]["user_id"] == added.id)["content"]
    assert told["change"] == "joined" and told["group"]["id"] == group and told["by"] == owner.id
    owner.send("welcome", group=group)
    assert a.expect("message")["content"]["content"] == "welcome"
