# SPDX-License-Identifier: MIT
"""The files of gateway/web/ as they are served, and the validator that holds everything against the documents."""

import json
import os
import re

import contract
from client import Response, User, unique
from server import ROOT

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/api/openapi.json": ("openapi.json", "application/json"),
    "/api/asyncapi.json": ("asyncapi.json", "application/json"),
}


def test_files_are_served_as_they_are(http):
    for path, (name, kind) in FILES.items():
        with open(os.path.join(ROOT, "gateway", "web", name), "rb") as f:
            content = f.read()
        r = http.call("GET", path)
        assert r.status == 200 and r.body == content, (path, r)
        assert r.headers["content-type"] == kind and r.headers["cache-control"] == "no-cache", (path, r.headers)
        assert r.headers["x-content-type-options"] == "nosniff", (path, r.headers)
        assert r.headers.get("content-security-policy") == (POLICY if name.endswith(".html") else None), (path, r.headers)
        tag = r.headers["etag"]
        head = http.call("HEAD", path)
        assert head.status == 200 and head.body == b"" and head.headers["etag"] == tag, (path, head)
        assert head.headers["content-length"] == str(len(content)), (path, head.headers)
        for sent, status in ((tag, 304), (f'"x", W/{tag}', 304), ("*", 304), ('"x"', 200)):
            again = http.call("GET", path, headers={"If-None-Match": sent})
            assert again.status == status and (status == 200 or again.body == b""), (path, sent, again)
            assert again.headers["etag"] == tag
        assert http.call("POST", path, {}).status == 405
    for path in ("/index.html", "/docs.html", "/docs/", "/docs.txt", "/api/docs", "/web/docs.js", "/docs.js/", "/..%2fdocs.js"):
        assert http.call("GET", path).status == 404, path


def test_no_page_names_another_host():
    for name in ("index.html", "docs.html", "docs.js", "docs.css"):
        with open(os.path.join(ROOT, "gateway", "web", name), encoding="utf-8") as f:
            text = f.read()
        assert "//" not in text.replace("// ", ""), name
        assert "style=" not in text and "<style" not in text and "innerHTML" not in text, f"{name}: the policy forbids it"


def broken(act):
    try:
        act()
    except contract.Broken as problem:
        return str(problem)
    raise AssertionError("it was not noticed")


def test_what_is_not_documented_is_noticed(http):
    user = User(http)
    good = user.call("GET", "/api/users/me")
    with contract.rehearsal():
        try_answers(http, good)


def try_answers(http, good):
    def answer(path="/api/users/me", status=200, body=None, method="GET", sent=None, **headers):
        data = json.dumps(good.json if body is None else body).encode()
        response = Response(status, {k: v for k, v in {**good.headers, **headers}.items() if v is not None}, data)
        return lambda: contract.answered(http, method, path, {}, sent, response)

    answer()()
    assert "email" in broken(answer(body={"user": {**good.json["user"], "email": 5}}))
    assert "user.shoe_size is not documented" in broken(answer(body={"user": {**good.json["user"], "shoe_size": 42}}))
    assert "user.bio is missing" in broken(answer(body={"user": {k: v for k, v in good.json["user"].items() if k != "bio"}}))
    assert "online" in broken(answer(body={"user": {**good.json["user"], "online": 1}}))
    assert "created_at" in broken(answer(body={"user": {**good.json["user"], "created_at": "yesterday"}}))
    assert "the status is not documented" in broken(answer(status=202))
    assert "the call is not documented" in broken(answer(path="/api/nonsense"))
    assert "the call is not documented" in broken(answer(method="PATCH"))
    assert "etag is missing" in broken(answer(etag=None))
    assert "x-new is not documented" in broken(answer(**{"x-new": "1"}))
    assert "content type" in broken(answer(**{"content-type": "text/plain"}))
    assert "query's page" in broken(answer(path="/api/users/me?page=2"))
    assert "a body is not documented" in broken(answer(sent=b"{}"))


def test_frames_that_are_not_documented_are_noticed(http):
    user = User(http)
    with user.socket() as s, contract.rehearsal():
        frames, now = s.contract, "2026-01-01T00:00:00.000Z"
        broken(lambda: frames.received({"type": "news", "content": {}, "timestamp": now}))
        broken(lambda: frames.received({"type": "typing", "content": {}, "timestamp": now}))
        frames.sent({"type": "ping", "id": 1})
        broken(lambda: frames.received({"type": "ack", "content": {}, "timestamp": now, "id": 1}))
        frames.sent({"type": "typing", "content": {"receiver_id": 1, "loud": True}, "id": 2})
        assert "loud" in broken(lambda: frames.received({"type": "ack", "content": {}, "timestamp": now, "id": 2}))
        broken(lambda: frames.sent({"type": "typing", "content": {"receiver_id": 1, "group_id": 1}}))
        broken(lambda: frames.closed(4999))


def test_schema_keywords_that_are_not_known_are_refused(http):
    check = contract.documents(http).check("openapi.json", "value")
    assert list(check.errors({"type": "string", "description": "x", "x-note": "y"}, "a")) == []
    for schema in ({"multipleOf": 2}, {"x-odd-bytes": 1}, {"format": "uuid"}, {"properties": {"a": {"not": {}}}}):
        assert list(check.errors(schema, {"a": 1} if "properties" in schema else "a")), schema


# -- The bounds of requests: what a document allows is taken, and one more is refused


def text_of(name, n):
    """So many bytes that fit the field's form."""
    if name == "avatar":
        return "/" + "x" * (n - 1)
    if name == "email":
        domain = ".".join(["d" * 60] * 8)[: n - 2]
        return "x@" + domain.rstrip(".") + "d" * (len(domain) - len(domain.rstrip(".")))
    if name == "username":
        return f"{unique('u')}-{'x' * n}"[:n]
    return "x" * n


def bounds_of(docs, schema):
    """The shortest and the longest text of a schema, as far as it bounds them."""
    schema = next((s for s in schema.get("anyOf", []) if s.get("type") != "null"), schema)
    schema = docs.plain(schema)
    if "string" not in schema.get("type", ()) or "enum" in schema or "format" in schema:
        return None, None
    counted = re.search(r"\{(\d+),(\d+)\}\$$", schema.get("pattern", ""))
    if counted:
        return int(counted[1]), int(counted[2])
    return schema.get("minLength", schema.get("x-min-bytes")), schema.get("maxLength", schema.get("x-max-bytes"))


def body_schema(docs, method, path):
    operation = docs.find(method, path)[0]
    return docs.plain(operation["requestBody"]["content"]["application/json"]["schema"])


def test_the_documented_bounds_of_bodies_are_the_real_ones(http):
    docs, user, other = contract.documents(http), User(http), User(http)
    group = user.group(members=[other])
    for method, path, base in (
        ("POST", "/api/register", lambda: {"username": unique(), "password": "12345678"}),
        ("POST", "/api/login", lambda: {"username": user.name, "password": user.password}),
        ("PUT", f"/api/users/{user.id}", lambda: {}),
        ("POST", "/api/messages", lambda: {"content": "x", "type": "text", "receiver_id": other.id}),
        ("POST", "/api/groups", lambda: {"name": "x"}),
        ("PUT", f"/api/groups/{group}", lambda: {}),
        ("PUT", f"/api/groups/{group}/members/{other.id}", lambda: {}),
    ):
        schema = body_schema(docs, method, path)
        needed = schema.get("required", [])
        for name, part in schema["properties"].items():
            least, most = bounds_of(docs, part)
            secret = path == "/api/login" and name != "device"  # must be the right one
            cases = [] if most is None else [(text_of(name, most), True), (text_of(name, most + 1), False)]
            cases += [] if least is None or secret else [(text_of(name, least), True)]
            cases += [("x" * (least - 1), False)] if least else []
            cases += [([], False), (None, name not in needed)]
            for value, good in cases:
                if name in ("receiver_id", "group_id") and value is None:
                    continue
                r = user.call(method, path, {**base(), name: value})
                assert r.status < 300 if good else r.status in (413, 422), (method, path, name, value, r)


def test_the_documented_bounds_of_queries_are_the_real_ones(http):
    docs, user = contract.documents(http), User(http)
    for path, query in (("/api/users", ""), ("/api/groups", ""), ("/api/messages", f"type=private&target_id={user.id}&"), ("/api/users/online", "")):
        operation, item, _, _ = docs.find("GET", path)
        for p in map(docs.plain, operation["parameters"]):
            schema, cases = docs.plain(p["schema"]), []
            if p["in"] != "query" or p["name"] in ("target_id", "cursor"):
                continue
            if "maxLength" in schema:
                cases = [("x" * schema["maxLength"], True), ("x" * (schema["maxLength"] + 1), False)]
            elif "enum" in schema:
                cases = [("nonsense", False)] + [(word, True) for word in schema["enum"] if path == "/api/groups"]
            elif schema["type"] == "integer":
                cases = [(str(schema["minimum"]), True), (str(schema["minimum"] - 1), False), ("x", False), ("1000000", True)]
            for value, good in cases:
                rest = query.replace("type=private&", "") if p["name"] == "type" else query
                r = user.call("GET", f"{path}?{rest}{p['name']}={value}")
                assert r.status == (200 if good else 400), (path, p["name"], value, r)
