# SPDX-License-Identifier: MIT
"""Answers to sync that are longer than a socket's queue may be."""

import time

from client import Http, User
from marks import only
from server import Standalone, free_port, wait_until


def read_sync(socket):
    """The seqs that came before the ack, and the ack's content."""
    seqs = []
    while True:
        frame = socket.frames.pop(0) if socket.frames else socket.receive()
        if frame["type"] == "ack":
            return seqs, frame["content"]
        if frame["type"] == "message":
            seqs.append(frame["content"]["seq"])


def ask_sync(socket, user, id="s"):
    socket.send("sync", {"conversations": {f"u:{user.id}": 0}}, id=id)


def test_long_syncs_do_not_close_sockets(http):
    alice, bob = User(http), User(http)
    text = "\u0001" * 16384  # six bytes each in JSON: 30 of them are 3 MB
    for _ in range(30):
        alice.send(text, to=bob.id)
    sockets = [bob.socket() for _ in range(8)]  # some of them in one turn of a loop
    for socket in sockets:
        ask_sync(socket, alice)
    time.sleep(0.3)  # unread, so that it waits
    ask_sync(sockets[0], alice, id="again")
    assert sockets[0].expect("error")["content"]["code"] == "rate_limited"
    alice.send("meanwhile", to=bob.id)
    for socket in sockets:
        seqs, done = read_sync(socket)
        old = [seq for seq in seqs if seq <= 30]
        assert len(old) >= 20 and old == list(range(1, len(old) + 1)), seqs
        assert done["complete"] == (len(old) == 30), done
    alice.send("after", to=bob.id)
    for socket in sockets:
        while socket.expect("message")["content"]["content"] != "after":
            pass


@only("standalone")
def test_sockets_that_do_not_read_share_a_budget():
    port = free_port()
    with Standalone(DATA_DIR=":memory:", GATEWAY_THREADS="1", SOCKET_MEMORY_MIB="4", ADMIN_PORT=str(port)) as server:
        http, admin = server.http(), Http(f"http://127.0.0.1:{port}", checked=False)
        alice, bob = User(http), User(http)
        text = "\u0001" * 16384
        for _ in range(25):
            alice.send(text, to=bob.id)

        def metric(name):
            lines = admin.call("GET", "/metrics").body.decode().splitlines()
            return float(next(line.split()[1] for line in lines if line.startswith(name + " ")))

        def held():
            return metric("chat_gateway_socket_bytes")

        modest = bob.socket()
        slow = [bob.socket() for _ in range(8)]  # 2 MB wait for each
        for socket in slow:
            ask_sync(socket, alice)
        wait_until("most of them to be closed", lambda: metric('chat_gateway_closed_total{code="4008"}') >= 6)
        assert held() <= 4 * 1024 * 1024
        modest.fence()
        ask_sync(modest, alice)
        assert read_sync(modest)[0], "who reads gets long answers"
        for socket in slow:
            socket.drop()
        wait_until("nothing to wait", lambda: held() == 0)
