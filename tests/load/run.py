#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The small bench: run.py [standalone] [suite]; both when nothing is named.

Starts what it measures, registers a few users, lets build/tests/load/bench make the load, and
prints a table: what, the floor measured in the same run, ours, the ratio or goal. It decides
nothing: timings on a shared machine vary, ratios within one run are what counts.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
sys.dont_write_bytecode = True

from client import Http, User  # noqa: E402
from server import BUILD, NoKafka, Standalone, Suite, is_ready  # noqa: E402

BENCH = os.path.join(BUILD, "tests", "load", "bench")
ROWS = []


def bench(*words):
    done = subprocess.run([BENCH, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench {' '.join(map(str, words))}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def row(what, floor, ours, note):
    ROWS.append((what, floor, ours, note))
    print(f"{what:<58} {floor:>22} {ours:>24}   {note}", flush=True)


def rss_kib(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field))


def ms(us):
    return f"{us / 1000:.2f} ms"


def slope(pid, port, token, counts=(1000, 5000)):
    """Resident bytes per idle socket, between two numbers of them."""
    sizes = []
    for count in counts:
        holder = subprocess.Popen([BENCH, "idle", str(port), token, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert "idle" in holder.stdout.readline()
        time.sleep(0.5)
        sizes.append(rss_kib(pid))
        holder.stdin.close()
        holder.wait()
        time.sleep(1)
    return (sizes[1] - sizes[0]) * 1024 / (counts[1] - counts[0])


def floor_fsync():
    with tempfile.TemporaryDirectory() as folder:
        return bench("fsync", folder, 500)


def standalone():
    server = Standalone(MAX_CONNECTIONS="20000", MAX_SOCKETS_PER_USER="20000", LOG_LEVEL="warn")
    start = time.monotonic()
    server.start(wait=False)
    while not is_ready(server.http()):
        time.sleep(0.002)
    row("standalone: from exec to ready", "", f"{(time.monotonic() - start) * 1000:.0f} ms", "goal 300 ms")
    time.sleep(2)
    row("standalone: resident, idle", "", f"{rss_kib(server.process.pid) / 1024:.1f} MiB", "goal 40 MiB")
    alice, bob = User(server.http()), User(server.http())
    port = server.port
    floor = floor_fsync()
    ack = bench("ack", port, alice.token, bob.id, 2000)
    row("standalone: send to ack, one socket, p50", f"fsync {ms(floor['p50_us'])}", ms(ack["p50_us"]), f"goal 1 ms; p99 {ms(ack['p99_us'])}")
    flood = bench("flood", port, alice.token, bob.id, 20000, 500)
    row("standalone: durable sends, 500 in flight", "", f"{flood['per_s']:.0f}/s", f"{flood['errors']} errors")
    row("standalone: resident bytes per idle socket", "", f"{slope(server.process.pid, port, bob.token):.0f}", "goal 2,048")
    server.close()


def suite():
    server = Suite(gateways=1, services=1, redis=1, MAX_CONNECTIONS="20000", MAX_SOCKETS_PER_USER="20000", LOG_LEVEL="warn")
    try:
        server.start()
    except NoKafka as reason:
        print(f"SKIPPED the suite: {reason}")
        return
    alice, bob = User(server.http()), User(server.http())
    gateway = server.daemons("gateway")[0]
    port = gateway["port"]
    daemons = server.daemons()
    row("suite: resident, all daemons, idle", "", f"{sum(rss_kib(d['pid']) for d in daemons) / 1024:.1f} MiB", "")
    bench("ack", port, alice.token, bob.id, 200)
    floor = floor_fsync()
    for rate in (100, 500):
        got = bench("deliver", port, alice.token, bob.id, port, bob.token, rate, 10)
        row(f"suite: send to recipient at {rate}/s, p50", f"fsync {ms(floor['p50_us'])}", ms(got["p50_us"]), f"{'goal 6 ms; ' if rate == 100 else ''}p99 {ms(got['p99_us'])}")
    flood = bench("flood", port, alice.token, bob.id, 20000, 1000)
    row("suite: durable sends, 1,000 in flight", "", f"{flood['per_s']:.0f}/s", f"goal 2,000/s; {flood['errors']} errors")
    message = next(d for d in daemons if d["daemon"] == "message-svc")
    metrics = Http(f"http://127.0.0.1:{message['admin_port']}").call("GET", "/metrics").body.decode()
    values = {line.split(" ")[0]: float(line.split(" ")[1]) for line in metrics.splitlines() if line and line[0] != "#"}
    stream = 'stream="message-svc"'
    count = values.get(f"chat_stream_batch_records_count{{{stream}}}", 0)
    total = values.get(f"chat_stream_batch_records_sum{{{stream}}}", 0)
    row("suite: records per batch of message-svc", "", f"{total / max(count, 1):.1f}", f"{count:.0f} batches, {total:.0f} records")
    row("suite: resident bytes per idle socket in the gateway", "", f"{slope(gateway['pid'], port, bob.token):.0f}", "goal 2,048")
    server.close()


def main():
    wanted = sys.argv[1:] or ["standalone", "suite"]
    with open("/proc/loadavg", encoding="ascii") as f:
        load = f.read().split()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, load {load}")
    print(f"{'what':<58} {'floor now':>22} {'ours now':>24}")
    for name in wanted:
        {"standalone": standalone, "suite": suite}[name]()


if __name__ == "__main__":
    main()
