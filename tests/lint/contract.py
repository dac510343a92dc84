# SPDX-License-Identifier: MIT
"""The two documents are JSON without a name twice, every $ref means something, every schema is one that the validator of the
end-to-end tests knows, and they have the paths of gateway/routes.c, the codes of common/err.h, the topics of common/topics.h
and the messages of proto/."""

import json
import re
import sys

sys.path.insert(0, "tests/e2e")
from contract import KEYWORDS, SILENT, Documents  # noqa: E402

WEB = "gateway/web"
METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}
INTERNAL = {"duplicate", "stale", "fenced"}  # never leave a daemon (common/err.h)
problems = []


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def once(pairs):
    names = [name for name, _ in pairs]
    problems.extend(f"a member {name} stands twice in one object" for name in set(names) if names.count(name) > 1)
    return dict(pairs)


def differ(what, ours, theirs, place):
    problems.extend(f"{what} {x} is in the documents and not in {place}" for x in sorted(ours - theirs))
    problems.extend(f"{what} {x} of {place} is not in the documents" for x in sorted(theirs - ours))


def walk(value, at=""):
    """Every object below a value, with its place."""
    if isinstance(value, dict):
        yield at, value
        for name, item in value.items():
            yield from walk(item, f"{at}/{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from walk(item, f"{at}/{i}")


def check_refs(documents):
    for name, document in documents.named.items():
        for at, thing in walk(document):
            if isinstance(thing.get("$ref"), str):
                try:
                    documents.follow(name, thing["$ref"])
                except KeyError:
                    problems.append(f"{name}{at}: there is no {thing['$ref']}")


def check_schema(schema, at):
    for keyword, value in schema.items():
        if keyword not in KEYWORDS and keyword not in SILENT and not keyword.startswith("x-"):
            problems.append(f"{at}: tests/e2e/contract.py does not know {keyword}")
        elif keyword == "properties":
            for name, part in value.items():
                check_schema(part, f"{at}/{name}")
        elif keyword in ("items", "propertyNames", "additionalProperties") and isinstance(value, dict):
            check_schema(value, f"{at}/{keyword}")
        elif keyword in ("allOf", "anyOf", "oneOf"):
            for i, part in enumerate(value):
                check_schema(part, f"{at}/{keyword}/{i}")
    for name in schema.get("required", []) if "properties" in schema else []:
        if name not in schema["properties"]:
            problems.append(f"{at}: {name} is required and not described")


def check_schemas(documents):
    for name, document in documents.named.items():
        for at, thing in walk(document):
            for member in ("schema", "payload"):
                if isinstance(thing.get(member), dict):
                    check_schema(thing[member], f"{name}{at}/{member}")
        for schema, value in document["components"]["schemas"].items():
            check_schema(value, f"{name}/{schema}")


def check_routes(openapi, asyncapi):
    table = re.search(r"static const struct route table\[\] = \{(.*?)\n\};", text_of("gateway/routes.c"), re.DOTALL)[1]
    rows = re.findall(r'\{"([A-Z]+)", "([^"]+)"', table)
    routes = {method + " " + re.sub(r":(\w+)", r"{\1}", path) for method, path in rows}
    paths = {f"{m.upper()} {path}" for path, item in openapi["paths"].items() for m in item if m in METHODS}
    differ("the call", paths, routes, "gateway/routes.c")
    for path, item in openapi["paths"].items():
        for method in METHODS & set(item):
            inside = {p["name"] for p in item[method].get("parameters", []) if p.get("in") == "path"}
            if inside != set(re.findall(r"\{(\w+)\}", path)):
                problems.append(f"{method.upper()} {path}: its parameters are {sorted(inside)}")
    names = [item[m].get("operationId") for item in openapi["paths"].values() for m in METHODS & set(item)]
    problems.extend(f"the operationId {name} is missing or stands twice" for name in set(names) if name is None or names.count(name) > 1)
    frames = set(re.findall(r'\.frame = "(\w+)"', table)) | set(re.findall(r'\{"[A-Z]+", "[^"]+", "(\w+)"', table))
    messages = asyncapi["channels"]["socket"]["messages"]
    ours = {m["payload"]["properties"]["type"]["const"] for m in messages.values() if m["x-from"] == "client"}
    differ("the frame", ours, frames, "gateway/routes.c")


def check_codes(openapi):
    rows = re.findall(r'X\(\w+, \d+, "(\w+)", (\d+), "([^"]*)"\)', text_of("common/err.h"))
    schema = openapi["components"]["schemas"]["ProblemCode"]
    visible = {f"{code} {status} {title}" for code, status, title in rows if code not in INTERNAL}
    differ("the code", {f"{code} {p['status']} {p['title']}" for code, p in schema["x-problems"].items()}, visible, "common/err.h")
    differ("the code", set(schema["enum"]), set(schema["x-problems"]), "x-problems")


def check_close_codes(asyncapi):
    ours = set(asyncapi["channels"]["socket"]["x-close-codes"])
    differ("the close code", ours, set(re.findall(r"WSCLOSE_\w+ = (\d+),(?! /\* never sent)", text_of("gateway/wsframe.h"))), "gateway/wsframe.h")


def check_topics(asyncapi):
    topics = re.findall(r'^    X\(\w+, "([\w.]+)", ', text_of("common/topics.h"), re.MULTILINE)
    channels = {c["address"].replace(".{instance}", ""): c for c in asyncapi["channels"].values() if c["address"][0] != "/"}
    differ("the topic", set(channels), {f"chat.{name}" for name in topics}, "common/topics.h")
    for address, channel in channels.items():
        for ref in channel["messages"].values():
            where = asyncapi["components"]["messages"][ref["$ref"].split("/")[-1]]["x-proto"]
            if not re.search(rf"^message {where['message']} \{{", text_of(where["file"]), re.MULTILINE):
                problems.append(f"{address}: {where['file']} has no message {where['message']}")


def main():
    openapi, asyncapi = (json.loads(text_of(f"{WEB}/{name}.json"), object_pairs_hook=once) for name in ("openapi", "asyncapi"))
    documents = Documents(openapi, asyncapi)
    check_refs(documents)
    check_schemas(documents)
    check_routes(openapi, asyncapi)
    check_codes(openapi)
    check_close_codes(asyncapi)
    check_topics(asyncapi)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
