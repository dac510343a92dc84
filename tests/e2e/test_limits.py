# SPDX-License-Identifier: MIT
"""Limits and settings: each test starts a server of its own with the setting that it is about."""

import os
import signal
import subprocess
import time

from client import Http, Refused, Socket, User, client_context, unique
from marks import only
from server import BUILD, Standalone, free_port, wait_until


@only("standalone")
def test_requests_per_address_and_failed_logins():
    with Standalone(RATE_LIMIT_AUTH="10/60", DATA_DIR=":memory:") as server:
        http = server.http()
        user = User(http)
        for _ in range(5):
            r = http.call("POST", "/api/login", {"username": user.name, "password": "wrong password"})
            assert r.status == 401, r
        r = http.call("POST", "/api/login", {"username": user.name, "password": user.password})
        assert r.status == 429 and r.code == "rate_limited", r
        for _ in range(10):
            r = http.call("POST", "/api/login", {"username": unique("x"), "password": "wrong password"})
        assert r.status == 429 and int(r.headers["retry-after"]) > 0, r
        assert r.headers["x-ratelimit-limit"] == "10" and r.headers["x-ratelimit-remaining"] == "0"
        assert user.call("GET", "/api/users/me").status == 200, "the user's own limit is another one"


@only("standalone")
def test_requests_per_user():
    with Standalone(RATE_LIMIT_USER="20/60", DATA_DIR=":memory:") as server:
        user, other = User(server.http()), User(server.http())
        codes = [user.call("GET", "/api/users/me").status for _ in range(25)]
        assert codes.count(200) == 20 and codes[-1] == 429, codes
        assert other.call("GET", "/api/users/me").status == 200


@only("standalone")
def test_opening_sockets_is_a_request_too():
    with Standalone(RATE_LIMIT_USER="5/60", DATA_DIR=":memory:") as server:
        user, other = User(server.http()), User(server.http())
        for _ in range(5):
            user.socket().close()
        try:
            user.socket()
            raise AssertionError("the sixth was let in")
        except Refused as r:
            headers = r.response.headers
            assert r.response.status == 429 and int(headers["retry-after"]) > 1, r
            assert headers["x-ratelimit-limit"] == "5" and headers["x-ratelimit-remaining"] == "0", r
        other.socket().close()


@only("standalone")
def test_frames_per_socket():
    with Standalone(RATE_LIMIT_FRAMES="30/1", DATA_DIR=":memory:") as server:
        user = User(server.http())
        s = user.socket()
        code = None
        try:
            for _ in range(2000):
                s.send("ping")
            code = s.expect_close()
        except OSError:
            code = s.expect_close()
        assert code == 1008, code


@only("standalone")
def test_sockets_in_all_and_per_user():
    with Standalone(MAX_CONNECTIONS="5", MAX_SOCKETS_PER_USER="3", DATA_DIR=":memory:") as server:
        first, second = User(server.http()), User(server.http())
        kept = [first.socket() for _ in range(3)]
        for user, status in ((first, 429), (second, None), (second, None), (second, 503)):
            try:
                kept.append(user.socket())
                assert status is None
            except Refused as r:
                assert r.response.status == status, r
        kept.pop().close()
        deadline = time.monotonic() + 30
        while True:
            try:
                second.socket()
                break
            except Refused:
                assert time.monotonic() < deadline


@only("standalone")
def test_tokens_expire():
    with Standalone(ACCESS_TOKEN_SECONDS="5", DATA_DIR=":memory:") as server:
        user = User(server.http())
        s = user.socket()
        assert s.expect_close() == 4001
        r = user.call("GET", "/api/users/me")
        assert r.status == 401 and r.code == "token_expired", r
        r = user.call("POST", "/api/logout")
        assert r.status == 401 and r.code == "token_expired", r
        assert server.http().call("POST", "/api/logout").code == "unauthenticated"
        user.take(server.http().call("POST", "/api/refresh", {"refresh_token": user.refresh_token}).json)
        assert user.call("GET", "/api/users/me").status == 200
        time.sleep(5.5)
        r = user.call("POST", "/api/logout", {"refresh_token": user.refresh_token})
        assert r.status == 204, "a refresh token is enough"


@only("standalone")
def test_a_client_that_does_not_read_is_closed():
    with Standalone(DATA_DIR=":memory:") as server:
        alice, bob = User(server.http()), User(server.http())
        slow, quick = bob.socket(receive_buffer=4096), bob.socket()
        a = alice.socket()
        text = "x" * 16000
        for i in range(100):  # 1.6 MB; what the kernel and the queue hold is less
            a.send("chat_message", {"content": text, "type": "text", "receiver_id": bob.id}, id=str(i))
            a.expect("ack")
            a.expect("message")
            quick.expect("message")
        assert slow.expect_close() == 4008
        bob.socket().close()


def make_key(folder, name, *options):
    """A private key in a PEM file and its public key beside it; the path of the first."""
    path = f"{folder}/{name}.pem"
    subprocess.run(["openssl", "genpkey", "-out", path, *options], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-out", f"{path}.pub"], check=True)
    return path


@only("standalone")
def test_rs256_and_es256_with_rotation():
    server = Standalone()
    rsa = make_key(server.dir, "rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    ec = make_key(server.dir, "ec", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    server.env.update(JWT_PRIVATE_KEY_FILE=rsa, JWT_PUBLIC_KEY_FILE=f"{rsa}.pub")
    with server:
        old = User(server.http())
        assert old.call("GET", "/api/users/me").status == 200
        server.stop()
        both = f"{server.dir}/both.pem"
        with open(both, "w") as out:
            out.write(open(ec).read() + open(rsa).read())
        server.env.update(JWT_PRIVATE_KEY_FILE=both, JWT_PUBLIC_KEY_FILE=f"{ec}.pub,{rsa}.pub")
        server.start()
        new = User(server.http())
        assert new.call("GET", "/api/users/me").status == 200
        assert old.call("GET", "/api/users/me").status == 200, "signed with the earlier key"
        r = server.http().call("POST", "/api/refresh", {"refresh_token": old.refresh_token})
        assert r.status == 200, "made with the earlier key"
        old.refresh_token = r.json["refresh_token"]
        server.stop()
        server.env.update(JWT_PRIVATE_KEY_FILE=ec, JWT_PUBLIC_KEY_FILE=f"{ec}.pub")
        server.start()
        assert new.call("GET", "/api/users/me").status == 200
        assert old.call("GET", "/api/users/me").status == 401, "its key is not accepted any more"
        r = server.http().call("POST", "/api/refresh", {"refresh_token": old.refresh_token})
        assert r.status == 200, "refreshed while both keys were there"


@only("standalone")
def test_https():
    server = Standalone(DATA_DIR=":memory:", TLS_CERT_FILE="", TLS_KEY_FILE="")
    cert, key = f"{server.dir}/cert.pem", f"{server.dir}/key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )
    server.env.update(TLS_CERT_FILE=cert, TLS_KEY_FILE=key)
    server.context = client_context(cert)
    with server:
        alice, bob = User(server.http()), User(server.http())
        b = bob.socket()
        alice.send("over TLS", to=bob.id)
        assert b.expect("message")["content"]["content"] == "over TLS"
        assert b.sock.version() in ("TLSv1.2", "TLSv1.3")


@only("standalone")
def test_wrong_settings_stop_the_start_with_one_sentence():
    for env, name in [
        ({"PORT": "x"}, "PORT"),
        ({"PORT": "70000"}, "PORT"),
        ({"MODE": "prod"}, "MODE"),
        ({"JWT_SECRET": "short"}, "JWT_SECRET"),
        ({"RATE_LIMIT_AUTH": "5 per minute"}, "RATE_LIMIT_AUTH"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"TLS_CERT_FILE": "/nonexistent", "TLS_KEY_FILE": "/nonexistent"}, "TLS_CERT_FILE"),
        ({"TRUSTED_PROXIES": "10.0.0.0/99"}, "TRUSTED_PROXIES"),
        ({"JWT_PRIVATE_KEY_FILE": "/nonexistent"}, "JWT_PUBLIC_KEY_FILE"),
        ({"JWT_PRIVATE_KEY_FILE": "/nonexistent", "JWT_PUBLIC_KEY_FILE": "/nonexistent"}, "/nonexistent"),
    ]:
        done = subprocess.run(
            [f"{BUILD}/standalone"],
            env={"PATH": os.environ["PATH"], "DATA_DIR": ":memory:", "ADMIN_PORT": "0", "PORT": str(free_port()), **env},
            capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 1, (env, done)
        said = [line for line in done.stderr.splitlines() if not line.startswith("ts=")]
        assert len(said) == 1 and name in said[0], (env, done.stderr)
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    for daemon, env, name in [
        ("gateway", {}, "KAFKA_BOOTSTRAP_SERVERS"),
        ("auth-svc", {}, "KAFKA_BOOTSTRAP_SERVERS"),
        ("message-svc", kafka, "DATABASE_URL"),
        ("presence-svc", kafka, "REDIS_ADDR"),
    ]:
        done = subprocess.run(
            [f"{BUILD}/{daemon}"], env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1 and name in done.stderr, done
    done = subprocess.run(
        [f"{BUILD}/auth-svc"],
        env={"PATH": os.environ["PATH"], "MODE": "release", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DATABASE_URL": "sqlite:/nonexistent/x"},
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 1 and "JWT_SECRET" in done.stderr, done


@only("standalone")
def test_what_was_acked_survives_kill_and_the_port_comes_back():
    with Standalone() as server:
        alice, bob = User(server.http()), User(server.http())
        sent = [alice.send(f"m{i}", to=bob.id)["id"] for i in range(20)]
        server.kill()
        server.start()
        page = bob.ok("GET", f"/api/messages?type=private&target_id={alice.id}")
        assert [m["id"] for m in page["messages"]] == sent
        assert alice.send("after", to=bob.id)["seq"] == 21
        group = alice.group(members=[bob])
        server.kill()
        server.start()
        assert bob.send("the membership is there", group=group)["seq"] == 1


@only("standalone")
def test_an_ended_session_stays_ended_over_a_restart():
    with Standalone() as server:
        user = User(server.http())
        assert user.call("POST", "/api/logout", {}).status == 204
        server.stop()
        server.start()
        assert user.call("GET", "/api/users/me").status == 401


@only("standalone")
def test_a_stop_tells_the_sockets_and_is_quick():
    server = Standalone().start()
    user = User(server.http())
    s = user.socket()
    start = time.monotonic()
    server.signal(signal.SIGINT)
    assert s.expect_close() == 1001
    assert server.wait() == 0
    print(f"  stopped in {time.monotonic() - start:.3f} s")
    server.close()


@only("standalone")
def test_demo_accounts_are_printed_once():
    with Standalone() as server:
        wait_until("the demo accounts", lambda: "alice" in server.text() and "bob" in server.text())
        server.stop()
        before = server.text().count("alice")
        server.start()
        assert server.text().count("alice") == before


@only("standalone")
def test_forwarded_addresses_are_believed_from_trusted_proxies_only():
    header = {"X-Forwarded-For": "203.0.113.7"}
    for trusted, address in (("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")):
        with Standalone(TRUSTED_PROXIES=trusted, DATA_DIR=":memory:") as server:
            http = server.http()
            name = unique()
            body = {"username": name, "password": "12345678"}
            r = http.call("POST", "/api/register", body, headers=header)
            sessions = http.call("GET", "/api/sessions", token=r.json["token"]).json["sessions"]
            assert sessions[0]["address"] == address, sessions


@only("standalone")
def test_origins_and_cors():
    with Standalone(ALLOWED_ORIGINS="https://app.example", DATA_DIR=":memory:") as server:
        user = User(server.http())
        with Socket(server.http(), user.token, headers={"Origin": "https://app.example"}):
            pass
        r = user.call("GET", "/api/users/me", headers={"Origin": "https://app.example"})
        assert r.headers.get("access-control-allow-origin") == "https://app.example", r.headers
        r = user.call("GET", "/api/users/me", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in r.headers


@only("standalone")
def test_monitoring():
    with Standalone(DATA_DIR=":memory:", ADMIN_USERS="the-admin") as server:
        http = server.http()
        user = User(http)
        r = http.call("POST", "/api/register", {"username": "the-admin", "password": "12345678"})
        admin = r.json["token"]
        s = user.socket()
        assert user.call("GET", "/api/monitor/system").status == 403
        assert http.call("GET", "/api/monitor/system").status == 401
        system = http.call("GET", "/api/monitor/system", token=admin).json
        assert system["connections"] == 1 and system["uptime_seconds"] >= 0 and system["version"]
        assert system["memory"]["rss"] > 0 and system["threads"] > 0
        assert set(system["kafka"]) == {"messages_sent", "messages_received", "errors", "lag"}
        for name in ("auth", "message", "group", "presence"):
            service = system["services"][name]
            assert service["up"] is True and service["instances"] == 1, system
            assert "p50_ms" in service and "p99_ms" in service
        connections = http.call("GET", "/api/monitor/connections", token=admin).json
        assert connections["connections"] == 1 and connections["users"] == 1
        assert connections["max_connections"] == 10000 and len(connections["by_gateway"]) >= 1
        s.close()


@only("standalone")
def test_health_and_metrics():
    port = free_port()
    with Standalone(DATA_DIR=":memory:", ADMIN_PORT=str(port)) as server:
        admin = Http(f"http://127.0.0.1:{port}", checked=False)
        for http in (server.http(), admin):
            assert http.call("GET", "/healthz").status == 200
            assert http.call("GET", "/readyz").status == 200
        metrics = admin.call("GET", "/metrics")
        assert metrics.status == 200 and b"chat_rpc_requests_total" in metrics.body
