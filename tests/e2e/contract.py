# SPDX-License-Identifier: MIT
"""The machine contract, executed: what tests send and get is held against the documents that the server serves.

/api/openapi.json says what requests and answers look like, /api/asyncapi.json what frames do. client.py hands everything to
`answered`, `opened` and `Frames`; what no document describes is an AssertionError in the test that met it. A request or a
frame is looked at once the server has accepted it, since tests send wrong ones on purpose. At the end `unexercised` names
what no test has met. Off until `begin`.
"""

import contextlib
import datetime
import json
import re
import urllib.parse

# Headers of HTTP itself, and of CORS, which every answer may have (openapi.json, info).
TRANSPORT = {"connection", "content-length", "content-type", "date", "server", "transfer-encoding", "vary"}

# What no test of a full run on standalone meets, and why.
NOT_EXERCISED = {}

_state = {"on": False, "documents": None, "strict": True}
_met = set()


class Broken(AssertionError):
    """Something that no document describes."""


# -- JSON Schema, as far as the documents use it


SILENT = {"description", "title", "default", "examples", "deprecated", "$comment"}  # say nothing about values
TYPES = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


def same(a, b):
    """Equal as JSON: true is not 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def is_time(text):
    try:
        datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return "T" in text.upper() and (text[-1] in "Zz" or re.search(r"[+-]\d\d:\d\d$", text) is not None)


def _members(check, schema, value):
    """The keywords of objects together."""
    listed, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        at = f"{check.at}.{name}"
        if name in listed:
            yield from check.under(at).errors(listed[name], item)
        elif rest is False:
            if check.closed:
                yield f"{at} is not documented"
        elif rest is not True:
            yield from check.under(at).errors(rest, item)


class Check:
    """Compares values with schemas of one document; `closed` False lets undocumented members pass, as the server does."""

    def __init__(self, documents, document, at="", closed=True):
        self.documents, self.document, self.at, self.closed = documents, document, at, closed

    def under(self, at):
        return Check(self.documents, self.document, at, self.closed)

    def resolve(self, ref):
        """The schema of a $ref, and a check that is at home in its document."""
        name, found = self.documents.follow(self.document, ref)
        return found, Check(self.documents, name, self.at, self.closed)

    def errors(self, schema, value):
        """Sentences about what is wrong."""
        unknown = [k for k in schema if k not in KEYWORDS and k not in SILENT and not (k.startswith("x-") and "bytes" not in k)]
        if unknown:
            yield f"{self.at}: the validator does not know {unknown}"
        for keyword, argument in schema.items():
            if keyword in KEYWORDS and KEYWORDS[keyword] is not None:
                yield from KEYWORDS[keyword](self, argument, value)
        if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
            yield from _members(self, schema, value)

    def fits(self, schema, value):
        return not any(True for _ in self.errors(schema, value))


def _ref(check, ref, value):
    schema, home = check.resolve(ref)
    yield from home.errors(schema, value)


def _all_of(check, schemas, value):
    for schema in schemas:
        yield from check.errors(schema, value)


def _one_of(check, schemas, value, most=1):
    n = sum(check.fits(schema, value) for schema in schemas)
    if n == 0 or n > most:
        yield f"{check.at}: {value!r} fits {n} of {len(schemas)} forms"


def _items(check, schema, value):
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from check.under(f"{check.at}[{i}]").errors(schema, item)


def _property_names(check, schema, value):
    if isinstance(value, dict):
        for name in value:
            yield from check.errors(schema, name)


def _required(check, names, value):
    if isinstance(value, dict):
        for name in names:
            if name not in value:
                yield f"{check.at}.{name} is missing"


def _format(check, name, value):
    if name != "date-time":
        yield f"{check.at}: the validator does not know the format {name}"
    elif isinstance(value, str) and not is_time(value):
        yield f"{check.at}: {value!r} is no date-time"


def _simple(kind, test, what):
    """A keyword that compares a value of one type with its argument."""

    def keyword(check, argument, value):
        if TYPES[kind](value) and not test(value, argument):
            yield f"{check.at}: {value!r} {what} {argument!r}"

    return keyword


def _always(test, what):
    def keyword(check, argument, value):
        if not test(value, argument):
            yield f"{check.at}: {value!r} {what} {argument!r}"

    return keyword


def _is_type(value, names):
    return any(TYPES[name](value) for name in ([names] if isinstance(names, str) else names))


KEYWORDS = {
    "$ref": _ref,
    "type": _always(_is_type, "is no"),
    "const": _always(same, "is not"),
    "enum": _always(lambda v, a: any(same(v, x) for x in a), "is none of"),
    "allOf": _all_of,
    "anyOf": lambda check, schemas, value: _one_of(check, schemas, value, len(schemas)),
    "oneOf": _one_of,
    "properties": None,  # _members
    "additionalProperties": None,
    "required": _required,
    "propertyNames": _property_names,
    "maxProperties": _simple("object", lambda v, a: len(v) <= a, "has more members than"),
    "items": _items,
    "minItems": _simple("array", lambda v, a: len(v) >= a, "has fewer items than"),
    "maxItems": _simple("array", lambda v, a: len(v) <= a, "has more items than"),
    "minLength": _simple("string", lambda v, a: len(v) >= a, "is shorter than"),
    "maxLength": _simple("string", lambda v, a: len(v) <= a, "is longer than"),
    "x-min-bytes": _simple("string", lambda v, a: len(v.encode()) >= a, "is shorter in bytes than"),
    "x-max-bytes": _simple("string", lambda v, a: len(v.encode()) <= a, "is longer in bytes than"),
    "pattern": _simple("string", lambda v, a: re.search(a, v) is not None, "does not match"),
    "format": _format,
    "minimum": _simple("number", lambda v, a: v >= a, "is below"),
    "maximum": _simple("number", lambda v, a: v <= a, "is above"),
}


# -- The documents


class Documents:
    """openapi.json and asyncapi.json, and what is looked up in them often."""

    def __init__(self, openapi, asyncapi):
        self.named = {"openapi.json": openapi, "asyncapi.json": asyncapi}
        self.paths = [(self._pattern(path), path, item) for path, item in openapi["paths"].items()]
        self.paths.sort(key=lambda row: "{" in row[1])  # literal paths first, as in the gateway
        self.socket = asyncapi["channels"]["socket"]
        self.asked, self.pushed = {}, []
        for operation in asyncapi["operations"].values():
            names = [m["$ref"].split("/")[-1] for m in operation["messages"]]
            if operation["action"] == "receive":
                replies = [m["$ref"].split("/")[-1] for m in operation["reply"]["messages"]]
                self.asked.update((self._kind(name), (name, replies)) for name in names)
            else:
                self.pushed += names

    @staticmethod
    def _pattern(path):
        return re.compile("".join("([^/]+)" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", path)) + r"\Z")

    def _kind(self, name):
        return self.socket["messages"][name]["payload"]["properties"]["type"]["const"]

    def follow(self, document, ref):
        """The document's name and the part of it that the reference means."""
        name, _, pointer = ref.partition("#")
        name = name or document
        found = self.named[name]
        for step in pointer.split("/")[1:]:
            found = found[step.replace("~1", "/").replace("~0", "~")]
        return name, found

    def plain(self, thing):
        """Of openapi.json, with one $ref followed."""
        return self.follow("openapi.json", thing["$ref"])[1] if "$ref" in thing else thing

    def find(self, method, path):
        """operation, its item, its key, the values of the path's parameters; operation None: not documented."""
        for pattern, name, item in self.paths:
            match = pattern.match(path)
            if match:
                method = "get" if method == "HEAD" else method.lower()
                return item.get(method), item, f"{method.upper()} {name}", match.groups()
        return None, None, None, ()

    def check(self, document, at, closed=True):
        return Check(self, document, at, closed)


def begin():
    _state["on"] = True


@contextlib.contextmanager
def unknown_members():
    """Requests in here may carry members that no document has: the server ignores them."""
    _state["strict"] = False
    try:
        yield
    finally:
        _state["strict"] = True


@contextlib.contextmanager
def rehearsal():
    """What is met in here was made up by a test."""
    before = set(_met)
    try:
        yield
    finally:
        _met.intersection_update(before)


def documents(client):
    """As the first server of the run serves them; None: nothing is checked."""
    if not _state["on"] or not client.checked:
        return None
    if _state["documents"] is None:
        both = []
        for path in ("/api/openapi.json", "/api/asyncapi.json"):
            connection = client.connection()
            connection.request("GET", path)
            answer = connection.getresponse()
            both.append(json.loads(answer.read()))
            assert answer.status == 200, path
            connection.close()
        _state["documents"] = Documents(*both)
    return _state["documents"]


def _refuse(where, errors):
    errors = list(errors)
    if errors:
        raise Broken(f"{where}: not as documented: " + "; ".join(error[:300] for error in errors[:5]))


# -- REST


def _typed(docs, schema, text):
    """A value of a path, query or header as its schema means it."""
    while "$ref" in schema:
        schema = docs.plain(schema)
    kind = schema.get("type")
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "boolean" and text in ("true", "false", "1", "0"):
        return text in ("true", "1")
    return text


def _request_errors(docs, operation, item, groups, query, headers, body):
    """What is wrong with a request that was accepted."""
    parameters = [docs.plain(p) for p in item.get("parameters", []) + operation.get("parameters", [])]
    in_path = iter(groups)
    given = {("path", p["name"]): next(in_path, "") for p in parameters if p["in"] == "path"}
    given.update((("query", k), v) for k, v in urllib.parse.parse_qsl(query, keep_blank_values=True))
    given.update((("header", k.lower()), v) for k, v in headers.items() if v is not None)
    known = set()
    for p in parameters:
        where = (p["in"], p["name"].lower() if p["in"] == "header" else p["name"])
        known.add(where)
        if where in given:
            yield from docs.check("openapi.json", f"{p['in']} {p['name']}").errors(p["schema"], _typed(docs, p["schema"], given[where]))
        elif p.get("required"):
            yield f"the parameter {p['name']} is missing"
    yield from (f"the query's {k} is not documented" for kind, k in given if _state["strict"] and kind == "query" and (kind, k) not in known)
    documented = operation.get("requestBody")
    if documented is None:
        if body:
            yield "a body is not documented"
    elif body:
        schema = documented["content"]["application/json"]["schema"]
        yield from docs.check("openapi.json", "body", _state["strict"]).errors(schema, json.loads(body))
    elif documented.get("required"):
        yield "the body is missing"


def _header_errors(docs, documented, response):
    wanted = {name.lower(): docs.plain(header) for name, header in documented.get("headers", {}).items()}
    for name, header in wanted.items():
        if name in response.headers:
            value = response.headers[name]
            yield from docs.check("openapi.json", name).errors(header["schema"], _typed(docs, header["schema"], value))
        elif header.get("required"):
            yield f"the header {name} is missing"
    for name in response.headers:
        if name not in wanted and name not in TRANSPORT and not name.startswith("access-control-"):
            yield f"the header {name} is not documented"


def _body_errors(docs, documented, response, head):
    content = documented.get("content")
    if content is None:
        if response.body:
            yield "a body is not documented"
        return
    kind = response.headers.get("content-type")
    if kind not in content:
        yield f"the content type {kind} is not documented"
    elif not head:
        value = response.json if "json" in kind else response.body.decode()
        yield from docs.check("openapi.json", "body").errors(content[kind]["schema"], value)


def answered(client, method, target, headers, body, response):
    """A call and its answer."""
    docs = documents(client)
    if docs is None:
        return
    path, _, query = target.partition("?")
    operation, item, key, groups = docs.find(method, path)
    where = f"{method} {path} -> {response!r}"
    if operation is None:
        if method == "OPTIONS" and response.status == 204:
            return
        if response.status not in (404, 405):
            raise Broken(f"{where}: the call is not documented")
        name = "MethodNotAllowed" if response.status == 405 else "NotFound"
        documented = docs.named["openapi.json"]["components"]["responses"][name]
    elif str(response.status) not in operation["responses"]:
        raise Broken(f"{where}: the status is not documented")
    else:
        documented = docs.plain(operation["responses"][str(response.status)])
    _refuse(where, _header_errors(docs, documented, response))
    _refuse(where, _body_errors(docs, documented, response, method == "HEAD"))
    if response.status < 400 and operation is not None:
        _refuse(where, _request_errors(docs, operation, item, groups, query, headers, body))
        _met.add(key)


# -- Frames


class Frames:
    """What one socket says and hears. `v1`: it speaks the subprotocol."""

    def __init__(self, client, v1):
        self.docs, self.v1 = documents(client), v1
        self.echoes = False  # the test sends close frames by raw bytes: any code may come back
        self.asked = {}  # id as JSON -> the frame

    def sent(self, frame):
        """Looked at when its answer comes; at once when it asks for none."""
        if self.docs is None:
            return
        if frame.get("id") is not None:
            self.asked[json.dumps(frame["id"])] = frame
        elif frame.get("type") in self.docs.asked:
            self._accepted(frame)

    def _accepted(self, frame):
        name = self.docs.asked[frame["type"]][0]
        check = self.docs.check("asyncapi.json", name, _state["strict"])
        _refuse(f"the frame {frame!r:.300}", check.errors(self.docs.socket["messages"][name]["payload"], frame))
        _met.add(f"frame {name}")

    def _candidates(self, frame):
        """The messages of the document that this frame may be."""
        question = self.asked.pop(json.dumps(frame["id"]), None) if frame.get("id") is not None else None
        if question is not None and question.get("type") in self.docs.asked:
            if frame.get("type") != "error":
                self._accepted(question)
            return self.docs.asked[question["type"]][1]
        if "id" in frame and "content" in frame and frame.get("type") != "error" and not self._is_bare(frame):
            return sorted({name for _, names in self.docs.asked.values() for name in names})  # asked by raw bytes
        bare = self._is_bare(frame)
        names = [*self.docs.pushed, "pong"]
        if bare:
            return [n for n in names if self.docs.socket["messages"][n].get("x-subprotocol") == "none"]
        return [n for n in names if self.docs.socket["messages"][n].get("x-subprotocol") in (None, "chat.v1" if self.v1 else "")]

    def _is_bare(self, frame):
        return not self.v1 and "sender_id" in frame

    def received(self, frame):
        if self.docs is None:
            return
        names, wrong = self._candidates(frame), []
        for name in names:
            payload = self.docs.socket["messages"][name]["payload"]
            kind = payload.get("properties", {}).get("type", {}).get("const")
            if kind not in (None, frame.get("type")):
                continue
            errors = list(self.docs.check("asyncapi.json", name).errors(payload, frame))
            if not errors:
                _met.add(f"frame {name}")
                return
            wrong += errors
        raise Broken(f"the frame {frame!r:.300}: not as documented: {'; '.join(wrong[:5]) or f'it is none of {names}'}")

    def closed(self, code):
        if self.docs is not None and not self.echoes and str(code) not in self.docs.socket["x-close-codes"]:
            raise Broken(f"the close code {code} is not documented")


# -- The end of a run


def unexercised():
    """Documented calls and frames that no test has met."""
    docs = _state["documents"]
    if docs is None:
        return []
    methods = {"get", "put", "post", "delete", "patch"}
    every = {f"{method.upper()} {path}" for _, path, item in docs.paths for method in item if method in methods}
    every |= {f"frame {name}" for name in docs.socket["messages"]}
    return sorted(every - _met)


def complain(full):
    """Says what was not exercised; how many of it a full run should have met."""
    missing = unexercised()
    for what in missing:
        print(f"not exercised: {what}{' (' + NOT_EXERCISED[what] + ')' if what in NOT_EXERCISED else ''}")
    if not full:
        return 0
    idle = sorted(set(NOT_EXERCISED) - set(missing))
    for what in idle:
        print(f"exercised, and yet listed in NOT_EXERCISED: {what}")
    return len([what for what in missing if what not in NOT_EXERCISED]) + len(idle)
