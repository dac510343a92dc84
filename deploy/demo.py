# SPDX-License-Identifier: MIT
"""Two users, a group and a message, hop by hop: each request, its answer, and what the daemons
wrote about it, found by the trace id that every hop hands on. Run by demo.sh."""

import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.dont_write_bytecode = True

from client import Http, Socket  # noqa: E402
from server import NoKafka, Standalone, Suite, wait_until  # noqa: E402

WIDTH = 118
# What a daemon says first of each line, and who it is about: the same in all lines of a step.
COMMON = re.compile(r'(ts|level|svc|msg|trace|request|user)=("[^"]*"|\S*) ?')


def short(value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


class Demo:
    def __init__(self, server):
        self.server, self.http, self.step = server, Http(server.urls[0]), 0

    def log(self):
        if self.server.kind == "standalone":
            return self.server.text()
        paths = [daemon["log"] for daemon in self.server.daemons()]
        return "".join(open(path, encoding="utf-8").read() for path in paths)

    def hops(self, trace):
        """(clock, rank, daemon, event, line) of each line of the trace, in the order of time."""
        found = []
        for line in self.log().splitlines():
            if f"trace=00-{trace}-" in line:
                svc, event = re.search(r" svc=(\S+)", line)[1], re.search(r' msg="([^"]*)"', line)[1]
                clock = line[len("ts=2026-01-31T") :].split("Z")[0]
                rank = {"message delivered": 1, "request": 2}.get(event, 0)
                found.append((clock, rank, svc, event, line))
        return sorted(found)

    def show_hops(self, trace, events):
        """Daemons write behind their answers: waits for these events."""
        wait_until("the log", lambda: events <= {hop[3] for hop in self.hops(trace)}, patience=5)
        for clock, _, svc, event, line in self.hops(trace):
            print(f"      {clock}  {svc:<12} {event:<17} {short(COMMON.sub('', line))}")

    def title(self, who, what):
        self.step += 1
        print(f"\n{self.step}  {who}: {what}")

    def call(self, who, path, body, token=None, show=None, events=("request", "handled")):
        trace = secrets.token_hex(16)
        shown = {k: "…" if k == "password" else v for k, v in body.items()}
        self.title(who, short(f"POST {path}  {json.dumps(shown, ensure_ascii=False)}"))
        headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
        answer = self.http.call("POST", path, body, token=token, headers=headers)
        assert answer.status == 201, answer
        print(f"   → 201  {short(show(answer.json))}")
        self.show_hops(trace, set(events))
        return answer.json

    def user(self, name):
        body = {"username": name, "password": secrets.token_urlsafe(12)}
        grant = self.call(name, "/api/register", body, None, lambda a: {"user": pick(a["user"], "id"), "token": "…"})
        return grant["user"]["id"], grant["token"]

    def run(self):
        _, ann = self.user("ann")
        ben_id, ben = self.user("ben")
        shown = ("id", "name", "my_role")
        made = self.call("ann", "/api/groups", {"name": "Gardeners"}, ann, lambda a: {"group": pick(a["group"], *shown)})
        group = made["group"]["id"]

        with Socket(self.http, ben) as socket:
            hello = socket.expect("hello")["content"]
            self.title("ben", "GET /api/ws, a WebSocket")
            print(f"   → {short({'type': 'hello', 'content': pick(hello, 'user_id', 'session_id', 'heartbeat_seconds')})}")
            member = {"user_id": ben_id}
            self.call("ann", f"/api/groups/{group}/members", member, ann, lambda a: {"member": pick(a["member"], "role")})
            joined = socket.expect("group", lambda f: f["content"]["change"] == "joined")
            print(f"   → ben's socket: {short({'type': 'group', 'content': pick(joined['content'], 'change', 'user_id', 'by')})}")

            body = {"content": "The beans are up!", "type": "text", "group_id": group}
            shown = ("id", "seq", "content", "sender_id")
            events = ("request", "command", "message delivered")
            sent = self.call("ann", "/api/messages", body, ann, lambda a: {"message": pick(a["message"], *shown)}, events)
            came = socket.expect("message")["content"]
            print(f"   → ben's socket: {short({'type': 'message', 'content': pick(came, *shown)})}")
        self.show_row(sent["msg_id"])

    def show_row(self, message_id):
        self.step += 1
        columns = "conv_a, conv_b, seq, id, sender_id, type, content"
        query = f"SELECT {columns} FROM message WHERE id = {int(message_id)}"
        print(f"\n{self.step}  the row that it became: {query}")
        if self.server.kind == "standalone":
            path = os.path.join(self.server.dir, "message.db")
            row = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(query).fetchone()
            row = [value.decode() if isinstance(value, bytes) else str(value) for value in row]
        else:
            socket = self.server.values()["MYSQL_SOCKET"]
            command = ["mariadb", "--no-defaults", f"--socket={socket}", "--batch", "--skip-column-names", "message"]
            done = subprocess.run(command, input=query, capture_output=True, text=True, check=True)
            row = done.stdout.rstrip("\n").split("\t")
        print("   → " + ", ".join(f"{name}={value}" for name, value in zip(columns.split(", "), row)))


def pick(record, *names):
    return {name: record[name] for name in names}


def main():
    settings = {"LOG_LEVEL": "debug"}
    suite = sys.argv[1:] == ["suite"]
    server = Suite(gateways=1, services=1, redis=1, **settings) if suite else Standalone(**settings)
    begin = time.monotonic()
    try:
        with server:
            where = "five daemons, Kafka, MariaDB, Redis" if suite else "one process, SQLite"
            print(f"ready after {time.monotonic() - begin:.1f} s: {where}, {server.urls[0]}")
            Demo(server).run()
    except NoKafka as reason:
        sys.exit(f"demo: {reason}")
    print("\nThe lines under an answer are the daemons' own, at LOG_LEVEL=debug, found by the request's trace id.")


if __name__ == "__main__":
    main()
