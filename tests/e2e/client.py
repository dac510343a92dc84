# SPDX-License-Identifier: MIT
"""A client of the public contract, in the standard library alone: HTTP calls, WebSocket frames.

It trusts nothing: answers are checked for their form (problem+json, request id, JSON) at each call, and in the tests calls,
answers and frames against the documents that the server serves (contract.py).
Waits are long (WAIT seconds); they end a hanging test and never decide one.
"""

import base64
import hashlib
import http.client
import itertools
import json
import os
import secrets
import select
import socket
import ssl
import struct
import time
import urllib.parse

import contract

WAIT = 30.0
_names = itertools.count(1)
_run = secrets.token_hex(3)


def unique(word="user"):
    """A name that no other test of any run uses."""
    return f"{word}-{_run}-{next(_names)}"


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        kind = headers.get("content-type", "")
        self.json = json.loads(body) if body and "json" in kind else None

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"

    @property
    def code(self):
        return self.json.get("code") if isinstance(self.json, dict) else None

    def fields(self):
        """The names of the fields that a 422 complains about."""
        return {e["field"] for e in self.json.get("errors", [])}


class Http:
    """Calls to one gateway."""

    def __init__(self, base, context=None, checked=True):
        self.base, self.checked = base, checked
        parts = urllib.parse.urlsplit(base)
        self.host, self.port, self.tls = parts.hostname, parts.port, parts.scheme == "https"
        self.context = context

    def connection(self):
        if self.tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=WAIT, context=self.context)
        return http.client.HTTPConnection(self.host, self.port, timeout=WAIT)

    def call(self, method, path, body=None, token=None, headers=None, raw=None):
        sent = {"Host": f"{self.host}:{self.port}"}
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        elif raw is not None:
            sent["Content-Type"] = "application/json"
        if token:
            sent["Authorization"] = f"Bearer {token}"
        sent.update(headers or {})
        connection = self.connection()
        try:
            connection.request(method, path, body=data, headers=sent)
            answer = connection.getresponse()
            response = Response(
                answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()
        check_form(method, path, response)
        contract.answered(self, method, path, sent, data, response)
        return response


def check_form(method, path, response):
    """What every answer of the API has, whatever was asked."""
    where = f"{method} {path}: {response!r}"
    if path.startswith("/api"):
        assert response.headers.get("x-request-id"), f"no X-Request-Id: {where}"
    if response.status >= 400 and path.startswith("/api"):
        assert response.headers.get("content-type", "").startswith("application/problem+json"), where
        problem = response.json
        for member in ("type", "title", "status", "detail", "code", "error", "request_id"):
            assert member in problem, f"no {member}: {where}"
        assert problem["status"] == response.status, where
        assert problem["error"] == problem["detail"], where
        assert problem["request_id"] == response.headers["x-request-id"], where
        if response.status == 401:
            assert response.headers.get("www-authenticate", "").startswith("Bearer"), where
        if response.status in (429, 503, 504):
            assert "retry-after" in response.headers, where
        if response.status == 405:
            assert "allow" in response.headers, where
    if response.status == 204:
        assert response.body == b"", where


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed with {code} {reason}")
        self.code, self.reason = code, reason


class Refused(Exception):
    """The upgrade was answered with something else than 101."""

    def __init__(self, response):
        super().__init__(repr(response))
        self.response = response


class Socket:
    """One WebSocket. protocol True: `chat.v1`; token_in: header, protocol, query or none. receive_buffer: bytes that
    the kernel may hold for it, so that not reading is soon felt."""

    def __init__(self, http, token=None, protocol=True, token_in="header", headers=None, path="/api/ws", receive_buffer=None):
        self.http, self.buffer, self.closed = http, b"", None
        raw = socket.socket()
        raw.settimeout(WAIT)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.connect((http.host, http.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if http.tls:
            raw = http.context.wrap_socket(raw, server_hostname=http.host)
        self.sock = raw
        self._upgrade(token, protocol, token_in, headers or {}, path)
        self.contract = contract.Frames(http, protocol)
        self.ids = itertools.count(1)
        self.frames = []  # received and not asked for yet
        self.next = None

    def _upgrade(self, token, protocol, token_in, headers, path):
        key = base64.b64encode(os.urandom(16)).decode()
        protocols = ["chat.v1"] if protocol else []
        sent = {
            "Host": f"{self.http.host}:{self.http.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        }
        if token and token_in == "header":
            sent["Authorization"] = f"Bearer {token}"
        elif token and token_in == "protocol":
            protocols.append(f"bearer.{token}")
        elif token and token_in == "query":
            path += f"?token={token}"
        if protocols:
            sent["Sec-WebSocket-Protocol"] = ", ".join(protocols)
        sent.update(headers)
        lines = "".join(f"{k}: {v}\r\n" for k, v in sent.items() if v is not None)
        self.sock.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more("in the answer to the upgrade")
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status_line, *rows = head.decode("latin-1").split("\r\n")
        self.headers = {k.lower(): v.strip() for k, _, v in (row.partition(":") for row in rows)}
        self.status = int(status_line.split()[1])
        if self.status != 101:
            self._refused(path, sent)
        contract.answered(self.http, "GET", path, sent, None, Response(101, self.headers, b""))
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert self.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        assert self.headers.get("sec-websocket-protocol") == ("chat.v1" if protocol else None)

    def _refused(self, path, sent):
        length = int(self.headers.get("content-length", "0"))
        while len(self.buffer) < length:
            self._more("in the body of a refusal")
        self.sock.close()
        response = Response(self.status, self.headers, self.buffer[:length])
        check_form("GET", "/api/ws", response)
        contract.answered(self.http, "GET", path, sent, None, response)
        raise Refused(response)

    def _more(self, where):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError(f"the server hung up {where}")
        self.buffer += data

    # -- frames

    def send_frame(self, opcode, payload, fin=True, mask=True, rsv=0):
        first = (0x80 if fin else 0) | rsv | opcode
        n = len(payload)
        bit = 0x80 if mask else 0
        if n < 126:
            head = struct.pack("!BB", first, bit | n)
        elif n < 65536:
            head = struct.pack("!BBH", first, bit | 126, n)
        else:
            head = struct.pack("!BBQ", first, bit | 127, n)
        if mask:
            key = os.urandom(4)
            whole = (key * (n // 4 + 1))[:n]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(n, "big")
            head += key
        self.sock.sendall(head + payload)

    def send(self, kind, content=None, id=None, **extra):
        frame = {"type": kind, "content": {} if content is None else content, **extra}
        if id is not None:
            frame["id"] = id
        self.send_frame(1, json.dumps(frame).encode())
        self.contract.sent(frame)

    def _frame(self):
        while len(self.buffer) < 2:
            self._more("between frames")
        first, second = self.buffer[0], self.buffer[1]
        assert not second & 0x80, "a server does not mask"
        n, at = second & 0x7F, 2
        if n >= 126:
            size = 2 if n == 126 else 8
            while len(self.buffer) < 2 + size:
                self._more("in a frame's head")
            n, at = int.from_bytes(self.buffer[2 : 2 + size], "big"), 2 + size
        while len(self.buffer) < at + n:
            self._more("in a frame")
        payload = self.buffer[at : at + n]
        self.buffer = self.buffer[at + n :]
        return first & 0x0F, payload

    def receive(self, end=None):
        """The next text frame as JSON; pings are answered; raises Closed."""
        end = end or time.monotonic() + WAIT
        while True:
            self.sock.settimeout(max(0.1, end - time.monotonic()))
            opcode, payload = self._frame()
            if opcode == 9:
                self.send_frame(10, payload)
            elif opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                self.closed = code
                self.contract.closed(code)
                raise Closed(code, payload[2:].decode())
            elif opcode == 1:
                frame = json.loads(payload.decode())
                self.contract.received(frame)
                return frame
            elif opcode != 10:
                raise AssertionError(f"opcode {opcode}")

    def expect(self, kind=None, where=None, timeout=WAIT):
        """The next frame of this type that fits; frames of other types are kept for later calls."""
        for i, frame in enumerate(self.frames):
            if _fits(frame, kind, where):
                return self.frames.pop(i)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            frame = self.receive(end)
            if _fits(frame, kind, where):
                return frame
            self.frames.append(frame)
        raise AssertionError(f"no frame {kind} came; there were {self.frames}")

    def ask(self, kind, content=None):
        """Sends with an id and gives the ack's or error's whole frame."""
        id = f"q{next(self.ids)}"
        self.send(kind, content, id=id)
        return self.expect(where=lambda f: f.get("id") == id)

    def ack(self, kind, content=None):
        frame = self.ask(kind, content)
        assert frame["type"] in ("ack", "pong"), frame
        return frame["content"]

    def error(self, kind, content=None):
        frame = self.ask(kind, content)
        assert frame["type"] == "error", frame
        return frame["content"]

    def fence(self):
        """Everything that the server queued for this socket before now has been received."""
        self.ack("ping")

    def expect_close(self):
        end = time.monotonic() + WAIT
        while True:
            try:
                self.receive(end)
            except Closed as closed:
                return closed.code

    def readable(self):
        return bool(self.buffer) or bool(select.select([self.sock], [], [], 0)[0])

    def close(self, code=1000):
        try:
            self.send_frame(8, struct.pack("!H", code))
            self.expect_close()
        except OSError:
            pass
        finally:
            self.sock.close()

    def drop(self):
        """Gone without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def _fits(frame, kind, where):
    return (kind is None or frame.get("type") == kind) and (where is None or where(frame))


class User:
    """A registered user with a token, at one gateway."""

    def __init__(self, http, word="user", password="correct horse"):
        self.http, self.name, self.password = http, unique(word), password
        response = http.call("POST", "/api/register", {"username": self.name, "password": password})
        assert response.status == 201, response
        self.take(response.json)
        self.id = response.json["user"]["id"]

    def take(self, grant):
        self.token, self.refresh_token = grant["token"], grant["refresh_token"]

    def call(self, method, path, body=None, **more):
        return self.http.call(method, path, body, token=self.token, **more)

    def ok(self, method, path, body=None, status=200, **more):
        response = self.call(method, path, body, **more)
        assert response.status == status, f"{method} {path}: {response!r}"
        return response.json

    def socket(self, http=None, **more):
        """A socket whose hello has been received."""
        opened = Socket(http or self.http, self.token, **more)
        if more.get("protocol", True):
            opened.hello = opened.expect("hello")["content"]
        return opened

    def send(self, content, to=None, group=None, **more):
        body = {"content": content, "type": "text", **more}
        body["receiver_id" if to is not None else "group_id"] = to if to is not None else group
        return self.ok("POST", "/api/messages", body, status=201)["message"]

    def group(self, visibility="private", members=()):
        made = self.ok("POST", "/api/groups", {"name": unique("group"), "visibility": visibility}, 201)
        for member in members:
            self.ok("POST", f"/api/groups/{made['group']['id']}/members", {"user_id": member.id}, 201)
        return made["group"]["id"]


def client_context(cafile):
    return ssl.create_default_context(cafile=cafile)
