// SPDX-License-Identifier: MIT
/*
 * Servers that die, hang and come back; passwords, TLS, addresses.
 */
#include "tests/store/redis_test.h"

/* ---- Servers that fail ---- */

REDIS_TEST(killed_and_restarted)
{
    struct server s = {0};
    start_server(&s, NULL);
    struct redis *r = open_redis(address_of(&s), NULL, 0);

    CHECK_INT(ping(r), 0);
    end_server(&s, SIGKILL);
    EXPECT_WARNINGS(1);
    CHECK_INT(ping(r), ERR_UNAVAILABLE); /* refused */
    CHECK_INT(ping(r), ERR_UNAVAILABLE); /* not even tried */
    start_server(&s, NULL);
    CHECK_INT(ping_patiently(r), 0);
    redis_close(r);
    end_server(&s, SIGTERM);
}

REDIS_TEST(restarted_while_idle)
{
    struct server s = {0};
    start_server(&s, NULL);
    struct redis *r = open_redis(address_of(&s), NULL, 0);

    for (int i = 0; i < 3; i++) {
        CHECK_INT(ping(r), 0);
        end_server(&s, i == 0 ? SIGKILL : SIGTERM);
        start_server(&s, NULL);
    }
    CHECK_INT(ping(r), 0);
    redis_close(r);
    end_server(&s, SIGTERM);
}

REDIS_TEST(one_of_two_is_down)
{
    struct server s[2] = {{0}, {0}};
    start_server(&s[0], NULL);
    start_server(&s[1], NULL);
    struct redis *r =
        open_redis(arena_printf(arena, "%s,%s", address_of(&s[0]), address_of(&s[1])), NULL, 0);
    struct redis_value *a = NULL;

    end_server(&s[0], SIGKILL);
    EXPECT_WARNINGS(1);
    ADD(r, 0, "SET", "k", "v");
    ADD(r, 1, "SET", "k", "v");
    CHECK_INT(run(r, &a), ERR_UNAVAILABLE);
    CHECK(a == NULL);
    ADD(r, 1, "GET", "k"); /* the other one did its part, and is asked alone */
    CHECK_INT(run(r, &a), 0);
    CHECK_STR(a[0].s, "v");
    redis_close(r);
    end_server(&s[1], SIGTERM);
}

REDIS_TEST(hanging_server)
{
    struct server s[2] = {{0}, {0}};
    start_server(&s[0], NULL);
    start_server(&s[1], NULL);
    struct redis *r =
        open_redis(arena_printf(arena, "%s,%s", address_of(&s[0]), address_of(&s[1])), NULL, 0);
    struct redis_value *a;

    ADD(r, 0, "PING");
    ADD(r, 1, "PING");
    CHECK_INT(run(r, &a), 0);
    kill(s[0].pid, SIGSTOP);
    EXPECT_WARNINGS(1);
    int64_t start_ms = clock_mono_ms();
    ADD(r, 0, "SET", "k", "late");
    ADD(r, 1, "SET", "k", "v");
    CHECK_INT(run(r, &a), ERR_UNAVAILABLE);
    int64_t took_ms = clock_mono_ms() - start_ms;
    CHECK(took_ms >= 1900 && took_ms < 3000);
    ADD(r, 1, "GET", "k");
    CHECK_INT(run(r, &a), 0);
    CHECK_STR(a[0].s, "v");
    kill(s[0].pid, SIGCONT);
    CHECK_INT(ping_patiently(r), 0); /* and no late answer comes in between */
    redis_close(r);
    end_server(&s[0], SIGTERM);
    end_server(&s[1], SIGTERM);
}

/* ---- Passwords, TLS, addresses ---- */

REDIS_TEST(passwords)
{
    struct server s = {.password = "a secret\"'"};
    start_server(&s, NULL);
    struct redis *r = open_redis(address_of(&s), "a secret\"'", 2);

    CHECK_INT(ping(r), 0);
    redis_close(r);
    EXPECT_WARNINGS(2);
    r = open_redis(address_of(&s), "wrong", 0);
    CHECK_INT(ping(r), ERR_UNAVAILABLE);
    redis_close(r);
    r = open_redis(address_of(&s), "a secret\"'", 99); /* no such database */
    CHECK_INT(ping(r), ERR_UNAVAILABLE);
    redis_close(r);
    end_server(&s, SIGTERM);
}

static void make_certificate(const char *dir, const char *name, const char *key)
{
    const char *const args[] = {"openssl",
                                "req",
                                "-x509",
                                "-newkey",
                                "ec",
                                "-pkeyopt",
                                "ec_paramgen_curve:prime256v1",
                                "-nodes",
                                "-days",
                                "2",
                                "-subj",
                                "/CN=test",
                                "-addext",
                                "subjectAltName=IP:127.0.0.1",
                                "-keyout",
                                arena_printf(arena, "%s/%s", dir, key),
                                "-out",
                                arena_printf(arena, "%s/%s", dir, name),
                                NULL};
    pid_t pid;
    int status = -1;

    spawn(&pid, args);
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
}

REDIS_TEST(tls)
{
    static const char *const files[] = {"cert.pem", "key.pem", "other.pem", "other.key"};
    char dir[] = "/tmp/test_redis.XXXXXX";
    struct server s = {.password = "pass"};

    if (!CHECK(mkdtemp(dir) != NULL)) {
        return;
    }
    signal(SIGPIPE, SIG_IGN); /* as the daemons have it */
    make_certificate(dir, "cert.pem", "key.pem");
    make_certificate(dir, "other.pem", "other.key");
    start_server(&s, dir);
    const char *secure = arena_printf(arena, "rediss://127.0.0.1:%d", s.tls_port);
    struct redis *r = open_redis(arena_printf(arena, "%s?ca=%s/cert.pem", secure, dir), "pass", 1);
    struct redis_value *a;
    size_t n = 4 << 20;
    char *data = arena_zalloc(arena, n);

    for (int i = 0; i < 3; i++) {
        const char *const set[] = {"SET", "k", data};
        random_bytes(data, 4096);
        redis_add(r, 0, set, (const size_t[]){3, 1, n}, 3);
        ADD(r, 0, "GET", "k");
        CHECK_INT(run(r, &a), 0);
        CHECK(a[1].n == n && memcmp(a[1].s, data, n) == 0);
        CHECK_INT(run_script(r, 0), 32 + 30 * i);
    }
    end_server(&s, SIGKILL);
    start_server(&s, dir);
    CHECK_INT(ping(r), 0);
    redis_close(r);

    EXPECT_WARNINGS(4);
    r = open_redis(arena_printf(arena, "%s?ca=%s/other.pem", secure, dir), "pass", 0);
    CHECK_INT(ping(r), ERR_UNAVAILABLE); /* signed by somebody else */
    redis_close(r);
    r = open_redis(secure, "pass", 0);
    CHECK_INT(ping(r), ERR_UNAVAILABLE); /* not by one of the system's */
    redis_close(r);
    r = open_redis(arena_printf(arena, "rediss://localhost:%d?ca=%s/cert.pem", s.tls_port, dir),
                   "pass", 0);
    CHECK_INT(ping(r), ERR_UNAVAILABLE); /* another name */
    redis_close(r);
    r = open_redis(arena_printf(arena, "rediss://127.0.0.1:%d?ca=%s/cert.pem", s.port, dir), "pass",
                   0);
    CHECK_INT(ping(r), ERR_UNAVAILABLE); /* a plain port */
    redis_close(r);
    end_server(&s, SIGTERM);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        unlink(arena_printf(arena, "%s/%s", dir, files[i]));
    }
    rmdir(dir);
}

REDIS_TEST(addresses)
{
    static const char *const wrong[] = {"",
                                        ",",
                                        ":6379",
                                        "host:",
                                        "host:0",
                                        "host:65536",
                                        "host:6379x",
                                        "host:123456",
                                        "[::1",
                                        "[]:1",
                                        "host:1?ca=x",
                                        "rediss://host:1?ca=",
                                        "rediss://host:1?ca=/nowhere",
                                        "rediss://host:1?x=1",
                                        "rediss://",
                                        "a:1,b:0"};
    static const char *const right[] = {"host",  "host:1",      "[::1]:6379",
                                        "[::1]", "redis://h:1", "a:1,b:2,c:3"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct redis *r = NULL;

        problem[0] = '\0';
        if (!CHECK_INT(redis_open(wrong[i], NULL, 0, &r, problem, sizeof(problem)), ERR_INVALID)) {
            printf("    %s\n", wrong[i]);
        }
        CHECK(problem[0] != '\0' && r == NULL);
    }
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        redis_close(open_redis(right[i], NULL, 0));
    }
    redis_close(NULL);
}
