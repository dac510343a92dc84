# SPDX-License-Identifier: MIT
"""The files of gateway/web/ as they are served, and the validator that holds everything against the documents."""

import json
import os

import contract
from client import Response, User
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
    with user.socket() as s:
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
