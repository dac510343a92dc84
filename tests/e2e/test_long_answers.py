# SPDX-License-Identifier: MIT
"""Answers to sync that are longer than a socket's queue may be."""

import time

from client import User


def read_sync(socket):
    """The seqs that came before the ack, and the ack's content."""
    seqs = []
    while True:
        frame = socket.receive()
        if frame["type"] == "ack":
            return seqs, frame["content"]
        if frame["type"] == "message":
            seqs.append(frame["content"]["seq"])


def test_long_syncs_do_not_close_sockets(http):
    alice, bob = User(http), User(http)
    text = "\u0001" * 16384  # six bytes each in JSON: 30 of them are 3 MB
    for _ in range(30):
        alice.send(text, to=bob.id)
    sockets = [bob.socket() for _ in range(8)]  # some of them in one turn of a loop
    for socket in sockets:
        socket.send("sync", {"conversations": {f"u:{alice.id}": 0}}, id="s")
    time.sleep(0.3)  # unread, so that it waits
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
