# SPDX-License-Identifier: MIT
"""Messages between two users and in groups: sending, receiving, repeating, history."""

from client import Socket, User, unique
from server import wait_until


def expect_change(socket, change, user):
    """What happened before the socket was opened may still be told after its hello."""
    return socket.expect("group", where=lambda f: (f["content"]["change"], f["content"]["user_id"]) == (change, user.id))["content"]


def history(user, kind, target, query=""):
    return user.ok("GET", f"/api/messages?type={kind}&target_id={target}{query}")


def test_a_private_message_reaches_both_and_is_stored(server, http):
    alice, bob = User(http), User(server.http(1))
    a, b = alice.socket(), bob.socket()
    a.send("chat_message", {"content": "Hello, Bob!", "type": "text", "receiver_id": bob.id}, id="m1")
    ack = a.receive()
    assert ack["type"] == "ack" and ack["id"] == "m1", "the ack comes before the sender's own copy"
    assert ack["content"]["seq"] == 1 and ack["content"]["message_id"] > 0
    own, received = a.expect("message")["content"], b.expect("message")["content"]
    for message in (own, received):
        assert message["id"] == ack["content"]["message_id"] and message["seq"] == 1
        assert message["content"] == "Hello, Bob!" and message["type"] == "text"
        assert message["sender_id"] == alice.id and message["receiver_id"] == bob.id
        assert message["group_id"] == 0 and message["sender"]["username"] == alice.name
        assert message["created_at"] == ack["content"]["created_at"]
        assert message["recalled"] is False and message["edited_at"] is None and message["rev"] == 0
    for reader, other in ((alice, bob), (bob, alice)):
        page = history(reader, "private", other.id)
        assert [m["id"] for m in page["messages"]] == [own["id"]]
        assert page["last_seq"] == 1 and page["has_more"] is False
    assert bob.ok("GET", f"/api/messages/{own['id']}")["message"]["content"] == "Hello, Bob!"
    assert User(http).call("GET", f"/api/messages/{own['id']}").status == 404


def test_sending_by_rest(http):
    alice, bob = User(http), User(http)
    b = bob.socket()
    body = {"content": "by REST", "type": "text", "receiver_id": bob.id, "client_id": "c-1"}
    first = alice.call("POST", "/api/messages", body)
    assert first.status == 201, first
    message = first.json["message"]
    assert first.json["msg_id"] == message["id"] and message["client_id"] == "c-1"
    assert first.headers["location"] == f"/api/messages/{message['id']}"
    again = alice.call("POST", "/api/messages", body)
    assert again.status == 200 and again.json["message"]["id"] == message["id"], again
    other = alice.call("POST", "/api/messages", {**body, "content": "changed"})
    assert other.status == 422 and other.code == "invalid", other
    by_header = {k: v for k, v in body.items() if k != "client_id"}
    keyed = alice.call("POST", "/api/messages", by_header, headers={"Idempotency-Key": "c-1"})
    assert keyed.status == 200 and keyed.json["message"]["id"] == message["id"], keyed
    assert b.expect("message")["content"]["content"] == "by REST"
    alice.send("next", to=bob.id)
    assert b.expect("message")["content"]["content"] == "next", "one message for three sends"


def test_what_a_message_may_be(http):
    alice, bob = User(http), User(http)
    good = {"content": "x", "type": "text", "receiver_id": bob.id}
    for change, field in [
        ({"content": ""}, "content"),
        ({"content": "nul\0"}, "content"),
        ({"content": 5}, "content"),
        ({"type": "system"}, "type"),
        ({"type": "UPPER"}, "type"),
        ({"type": "x" * 17}, "type"),
        ({"client_id": "with space"}, "client_id"),
        ({"client_id": "x" * 65}, "client_id"),
        ({"receiver_id": 9007199254740991}, "receiver_id"),
        ({"receiver_id": "7"}, "receiver_id"),
        ({"receiver_id": -1}, "receiver_id"),
        ({"receiver_id": 0}, "receiver_id"),
        ({"group_id": 1}, "group_id"),
        ({"reply_to": 9007199254740991}, "reply_to"),
    ]:
        r = alice.call("POST", "/api/messages", {**good, **change})
        assert r.status == 422 and r.code == "invalid", (change, r)
        assert r.fields() & {field, "receiver_id"}, (change, r)
    r = alice.call("POST", "/api/messages", {**good, "content": "x" * 16385})
    assert r.status == 413 and r.code == "too_large", r
    text = "ä🎈\n\t" + "x" * 16000
    assert alice.send(text, to=bob.id)["content"] == text
    assert alice.send("to myself", to=alice.id)["receiver_id"] == alice.id


def test_replies_stay_in_their_conversation(http):
    alice, bob, carol = User(http), User(http), User(http)
    first, elsewhere = alice.send("question", to=bob.id), alice.send("elsewhere", to=carol.id)
    assert bob.send("answer", to=alice.id, reply_to=first["id"])["reply_to"] == first["id"]
    r = bob.call(
        "POST", "/api/messages", {"content": "x", "type": "text", "receiver_id": alice.id, "reply_to": elsewhere["id"]}
    )
    assert r.status == 422 and r.fields() == {"reply_to"}, r


def test_seq_is_dense_with_many_senders(server, http):
    alice, bob = User(http), User(server.http(1))
    a, b = alice.socket(), bob.socket()
    for i in range(50):
        a.send("chat_message", {"content": f"a{i}", "type": "text", "receiver_id": bob.id}, id=f"a{i}")
        b.send("chat_message", {"content": f"b{i}", "type": "text", "receiver_id": alice.id}, id=f"b{i}")
    for socket in (a, b):
        seqs = [socket.expect("message")["content"]["seq"] for _ in range(100)]
        assert seqs == list(range(1, 101)), seqs
        for _ in range(50):
            socket.expect("ack")
    own = [m["content"] for m in history(alice, "private", bob.id, "&limit=200")["messages"] if m["sender_id"] == alice.id]
    assert own == [f"a{i}" for i in range(50)], "one socket's sends keep their order"


def test_history_pages(http):
    alice, bob = User(http), User(http)
    for i in range(1, 21):
        alice.send(f"m{i}", to=bob.id)

    def seqs(query):
        page = history(bob, "private", alice.id, query)
        assert page["last_seq"] == 20
        return [m["seq"] for m in page["messages"]], page["has_more"]

    assert seqs("&limit=5") == ([16, 17, 18, 19, 20], True)
    assert seqs("&limit=5&before=16") == ([11, 12, 13, 14, 15], True)
    assert seqs("&limit=5&before=6") == ([1, 2, 3, 4, 5], False)
    assert seqs("&limit=5&after=0") == ([1, 2, 3, 4, 5], True)
    assert seqs("&limit=5&after=17") == ([18, 19, 20], False)
    assert seqs("&after=4&before=8") == ([5, 6, 7], False)
    assert seqs("&limit=5&offset=10") == ([6, 7, 8, 9, 10], True)
    assert seqs("&limit=50") == (list(range(1, 21)), False)
    assert seqs("&after=20") == ([], False)
    for bad in ("&limit=0", "&before=x", "&after=-1", "&offset=-1"):
        r = bob.call("GET", f"/api/messages?type=private&target_id={alice.id}{bad}")
        assert r.status == 400 and r.code == "bad_query", (bad, r)
    for bad in ("", "?type=private", f"?target_id={alice.id}", "?type=x&target_id=1"):
        assert bob.call("GET", f"/api/messages{bad}").status in (400, 422), bad


def test_group_messages_reach_every_member_and_nobody_else(server, http):
    owner, member, outsider = User(http), User(server.http(1)), User(http)
    group = owner.group(members=[member])
    sockets = [owner.socket(), member.socket(), member.socket(http)]
    out = outsider.socket()
    message = owner.send("to all", group=group)
    assert message["group_id"] == group and message["receiver_id"] == 0 and message["seq"] == 1
    for socket in sockets:
        assert socket.expect("message")["content"]["id"] == message["id"]
    outsider_copy = User(http)
    outsider_copy.send("fence", to=outsider.id)
    assert out.expect("message")["content"]["content"] == "fence"
    assert out.frames == [] or all(f["type"] != "message" for f in out.frames)
    for call in (
        lambda: outsider.call("POST", "/api/messages", {"content": "x", "type": "text", "group_id": group}),
        lambda: outsider.call("GET", f"/api/messages?type=group&target_id={group}"),
        lambda: outsider.call("GET", f"/api/messages/{message['id']}"),
    ):
        assert call().status == 404
    public = owner.group("public")
    body = {"content": "x", "type": "text", "group_id": public}
    wait_until("the group to be known as public", lambda: outsider.call("POST", "/api/messages", body).status == 403)
    assert outsider.call("GET", f"/api/messages?type=group&target_id={public}").status == 403


def test_a_group_can_be_written_to_at_once(server, http):
    """The creator's copy of the membership may not have arrived yet at message-svc."""
    owner = User(http)
    for i in range(10):
        assert owner.send("first", group=owner.group())["seq"] == 1


def test_joining_and_leaving_while_connected(server, http):
    owner, joiner = User(http), User(server.http(1))
    group = owner.group("public")
    owner.send("before", group=group)
    o, j = owner.socket(), joiner.socket()
    joiner.ok("POST", f"/api/groups/{group}/members", {"user_id": joiner.id}, 201)
    for socket in (o, j):
        event = expect_change(socket, "joined", joiner)
        assert event["group"]["id"] == group
    owner.send("hello, joiner", group=group)
    assert j.expect("message")["content"]["content"] == "hello, joiner"
    assert [m["content"] for m in history(joiner, "group", group)["messages"]] == ["before", "hello, joiner"]
    assert joiner.call("DELETE", f"/api/groups/{group}/members/{joiner.id}").status == 204
    for socket in (o, j):
        expect_change(socket, "left", joiner)
    owner.send("without you", group=group)
    owner.send("a fence", to=joiner.id)
    assert j.expect("message")["content"]["content"] == "a fence"
    path = f"/api/messages?type=group&target_id={group}"
    wait_until("reading to be refused", lambda: joiner.call("GET", path).status == 403)


def test_a_kick_takes_effect(server, http):
    owner, member = User(http), User(server.http(1))
    group = owner.group(members=[member])
    m = member.socket()
    assert owner.call("DELETE", f"/api/groups/{group}/members/{member.id}").status == 204
    expect_change(m, "removed", member)
    body = {"content": "x", "type": "text", "group_id": group}
    wait_until("writing to be refused", lambda: member.call("POST", "/api/messages", body).status == 404)
    owner.send("secret", group=group)
    owner.send("fence", to=member.id)
    assert m.expect("message")["content"]["content"] == "fence"
    assert member.call("GET", f"/api/messages?type=group&target_id={group}").status == 404


def test_history_of_a_private_group_begins_at_joining(http):
    owner, late = User(http), User(http)
    group = owner.group()
    owner.send("before", group=group)
    o = owner.socket()
    owner.ok("POST", f"/api/groups/{group}/members", {"user_id": late.id}, 201)
    expect_change(o, "joined", late)
    owner.send("after", group=group)
    assert [m["content"] for m in history(late, "group", group)["messages"]] == ["after"]


def test_sync_brings_what_was_missed(server, http):
    alice, bob = User(http), User(http)
    group = alice.group(members=[bob])
    for i in range(5):
        alice.send(f"p{i}", to=bob.id)
        alice.send(f"g{i}", group=group)
    b = bob.socket(server.http(1))
    b.send("sync", {"conversations": {f"u:{alice.id}": 2, f"g:{group}": {"seq": 4, "rev": 0}}}, id="s")
    got = [b.expect("message")["content"]["content"] for _ in range(4)]
    assert got == ["p2", "p3", "p4", "g4"], got
    assert b.expect("ack")["content"] == {"complete": True}
    assert b.error("sync", {"conversations": {"x:1": 1}})["code"] == "invalid"


def test_sync_says_when_there_is_more(http):
    alice, bob = User(http), User(http)
    a = alice.socket()
    for i in range(305):
        a.send("chat_message", {"content": f"{i}", "type": "text", "receiver_id": bob.id}, id=str(i))
    for _ in range(305):
        a.expect("ack")
    b = bob.socket()
    b.send("sync", {"conversations": {f"u:{alice.id}": 0}}, id="s")
    seqs = []
    while True:
        frame = b.receive()
        if frame["type"] == "ack":
            break
        seqs.append(frame["content"]["seq"])
    assert seqs == list(range(1, 301)) and frame["content"] == {"complete": False}


def test_old_clients_get_bare_messages(http):
    alice, bob = User(http), User(http)
    b = Socket(http, bob.token, protocol=False)
    alice.send("Hello, World!", to=bob.id)
    bare = b.expect(where=lambda f: f.get("content") == "Hello, World!")
    assert bare["sender_id"] == alice.id and bare["receiver_id"] == bob.id and bare["type"] == "text"
    assert bare["sender"]["username"] == alice.name and bare["seq"] == 1 and bare["group_id"] == 0


def test_repeated_sends_on_a_socket(http):
    alice, bob = User(http), User(http)
    a, b = alice.socket(), bob.socket()
    content = {"content": "once", "type": "text", "receiver_id": bob.id, "client_id": unique("c")}
    first, second = a.ack("chat_message", content), a.ack("chat_message", content)
    assert first == second
    error = a.error("chat_message", {**content, "content": "other"})
    assert error["code"] == "invalid", error
    a.ack("chat_message", {"content": "fence", "type": "text", "receiver_id": bob.id})
    assert [b.expect("message")["content"]["content"] for _ in range(2)] == ["once", "fence"]


def changed(socket, kind, message_id):
    """The frame that tells of a change of this message."""

    def fits(frame):
        content = frame["content"]
        return frame["type"] == kind and content.get("message", {"id": content.get("message_id")})["id"] == message_id

    return socket.expect(kind, where=fits)["content"]


def test_edit_and_recall_a_private_message(server, http):
    alice, bob = User(http), User(server.http(1))
    a, b = alice.socket(), bob.socket()
    sent = alice.send("frist", to=bob.id)
    edited = alice.ok("PUT", f"/api/messages/{sent['id']}", {"content": "first"})["message"]
    assert edited["content"] == "first" and edited["edited_at"] and edited["rev"] == 1, edited
    assert (edited["seq"], edited["created_at"], edited["sender"]["username"]) == (sent["seq"], sent["created_at"], alice.name)
    for s in (a, b):
        told = changed(s, "message_edited", sent["id"])["message"]
        assert told["content"] == "first" and told["rev"] == 1 and told["sender"]["username"] == alice.name, told
    again = alice.ok("PUT", f"/api/messages/{sent['id']}", {"content": "first"})["message"]
    assert again["rev"] == 1, "the same content again changes nothing"
    assert bob.call("PUT", f"/api/messages/{sent['id']}", {"content": "mine"}).status == 403
    assert bob.call("DELETE", f"/api/messages/{sent['id']}").status == 403
    assert User(http).call("PUT", f"/api/messages/{sent['id']}", {"content": "x"}).status == 404
    for content, field in (("", "content"), ("\0", "content"), (5, "content")):
        r = alice.call("PUT", f"/api/messages/{sent['id']}", {"content": content})
        assert r.status == 422 and r.fields() == {field}, (content, r)
    assert alice.call("PUT", f"/api/messages/{sent['id']}", {"content": "x" * 16385}).status == 413
    assert alice.call("DELETE", f"/api/messages/{sent['id']}").status == 204
    for s, other in ((a, bob), (b, alice)):
        told = changed(s, "message_recalled", sent["id"])
        assert told == {"message_id": sent["id"], "key": f"u:{other.id}", "seq": sent["seq"], "rev": 2, "by": alice.id}, told
    assert alice.call("DELETE", f"/api/messages/{sent['id']}").status == 204, "again does no harm"
    r = alice.call("PUT", f"/api/messages/{sent['id']}", {"content": "back"})
    assert r.status == 409 and r.code == "conflict", r
    shown = bob.ok("GET", f"/api/messages/{sent['id']}")["message"]
    assert shown["recalled"] is True and shown["content"] == "" and shown["rev"] == 2, shown
    assert alice.call("PUT", f"/api/messages/{10**12}", {"content": "x"}).status == 404
    assert alice.call("DELETE", "/api/messages/x").status in (400, 404, 422)


def test_edit_and_recall_by_frames(server, http):
    alice, bob = User(http), User(server.http(1))
    group = alice.group(members=[bob])
    a, b, old = alice.socket(), bob.socket(), bob.socket(protocol=False)
    first, second = bob.send("one", group=group), bob.send("two", group=group)
    assert b.ack("edit", {"message_id": first["id"], "content": "1"}) == {}
    assert changed(a, "message_edited", first["id"])["message"]["content"] == "1"
    assert changed(old, "message_edited", first["id"])["message"]["content"] == "1"
    assert a.error("edit", {"message_id": first["id"], "content": "2"})["code"] == "forbidden"
    assert b.error("edit", {"message_id": first["id"], "content": ""})["code"] == "invalid"
    assert b.error("edit", {"message_id": 10**12, "content": "x"})["code"] == "not_found"
    assert b.error("edit", {"message_id": "1"})["code"] == "invalid"
    assert b.error("recall", {})["code"] == "not_found"
    assert a.ack("recall", {"message_id": second["id"]}) == {}, "the owner may"
    told = changed(b, "message_recalled", second["id"])
    assert told == {"message_id": second["id"], "key": f"g:{group}", "seq": 2, "rev": 2, "by": alice.id}, told
    b.send("recall", {"message_id": first["id"]})  # without an id there is no ack
    assert changed(a, "message_recalled", first["id"])["rev"] == 3
    rows = alice.ok("GET", f"/api/messages?type=group&target_id={group}")["messages"]
    assert [(m["content"], m["recalled"], m["sender"]["username"]) for m in rows] == [("", True, bob.name)] * 2, rows


def test_many_edits_at_once_count_each(server, http):
    alice, bob = User(http), User(server.http(1))
    message = alice.send("0", to=bob.id)
    s = alice.socket()
    for i in range(1, 8):
        s.send("edit", {"message_id": message["id"], "content": str(i)}, id=i)
    for i in range(1, 8):
        assert s.expect(where=lambda f, i=i: f.get("id") == i)["type"] == "ack"
    last = bob.ok("GET", f"/api/messages/{message['id']}")["message"]
    assert last["rev"] == 7 and last["content"] in {str(i) for i in range(1, 8)}, last


def test_sync_tells_what_has_changed(server, http):
    alice, bob = User(http), User(server.http(1))
    first, second, third = (alice.send(text, to=bob.id) for text in ("one", "two", "three"))
    alice.ok("PUT", f"/api/messages/{third['id']}", {"content": "3"})
    assert alice.call("DELETE", f"/api/messages/{first['id']}").status == 204
    b = bob.socket()

    def sync(have):
        id = f"sync-{have}"
        b.send("sync", {"conversations": {f"u:{alice.id}": have}}, id=id)
        rows = []
        while (frame := b.receive()).get("id") != id:
            if frame["type"] == "message":
                rows.append((frame["content"]["seq"], frame["content"]["content"], frame["content"]["rev"]))
        assert frame["content"] == {"complete": True}, frame
        return rows

    assert sync({"seq": 3, "rev": 0}) == [(1, "", 2), (3, "3", 1)]
    assert sync({"seq": 2, "rev": 1}) == [(1, "", 2), (3, "3", 1)]
    assert sync({"seq": 3, "rev": 2}) == sync({"seq": 3}) == sync(3) == []
    assert second["rev"] == 0


def test_changes_of_what_was_before_joining_are_not_told(server, http):
    owner, early, late = User(http), User(http), User(server.http(1))
    group = owner.group(members=[early])
    old = [owner.send(text, group=group) for text in ("one", "two", "three")]
    first = late.socket()  # is there when the joining is told
    owner.ok("POST", f"/api/groups/{group}/members", {"user_id": late.id}, 201)
    first.expect("group", where=lambda f: f["content"]["user_id"] == late.id)
    second, e = late.socket(), early.socket()  # learns of it at its opening
    owner.ok("PUT", f"/api/messages/{old[0]['id']}", {"content": "secret"})
    assert owner.call("DELETE", f"/api/messages/{old[1]['id']}").status == 204
    changed(e, "message_recalled", old[1]["id"])
    new = owner.send("four", group=group)
    owner.ok("PUT", f"/api/messages/{new['id']}", {"content": "4"})
    for s in (first, second):
        assert changed(s, "message_edited", new["id"])["message"]["content"] == "4"
        told = [f["type"] for f in s.frames if f["type"].startswith("message_")]
        assert told == [], told
