// SPDX-License-Identifier: MIT
/*
 * Commands go to their servers and answers come back in rounds: everything that waits for a server
 * is written and read at once, all servers in one poll loop. hiredis formats commands and parses
 * answers, whose values are built straight into the caller's arena.
 *
 * A connection that is new gets AUTH and SELECT in a round of their own, so that no command reaches
 * the wrong database; and each script is loaded by SCRIPT LOAD right before its first EVALSHA on
 * it. A server that can't be reached doesn't keep the others from their commands.
 */
#include "common/redis.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/err.h"
#include "common/log.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/redis_impl.h"

#include <assert.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SERVERS_MAX = 64,
    SCRIPTS_MAX = 64,     /* bits of server.loaded */
    COMMAND_MS = 2000,    /* a round */
    KEEP_BYTES = 1 << 20, /* larger buffers are given back after a run */
    READ_SIZE = 16 * 1024,
};
#define NO_ANSWER SIZE_MAX /* of a command that is ours, not the caller's */

struct script {
    char *text;
    size_t n;
    char sha[41];
};

struct command {
    size_t server, offset, len; /* its bytes in redis.text */
    size_t script;              /* index, or SCRIPTS_MAX */
};

struct server {
    struct redis_conn conn;
    redisReader *reader;
    uint64_t loaded; /* scripts known to be there */
    bool failed;     /* in this run */
    /* The round: what is written, and whose answers are awaited, in order. */
    struct buf wire;
    size_t written;
    size_t *awaited;
    size_t awaited_n, awaited_cap, answered;
};

struct redis {
    char *password; /* NULL: none */
    int64_t db;
    struct server *servers;
    size_t n;
    struct script scripts[SCRIPTS_MAX];
    size_t scripts_n;
    struct map by_text;
    struct command *commands; /* put aside for the next run */
    size_t commands_n, commands_cap;
    struct buf text;
    struct arena *arena; /* of the run: answers are built there */
    struct metric *runs, *failures, *seconds;
};

static void *must(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

/* ---- Opening and closing ---- */

static int add_server(struct redis *r, const char *part, size_t len, char *problem,
                      size_t problem_size)
{
    if (r->n == SERVERS_MAX) {
        snprintf(problem, problem_size, "There are more than %d Redis servers.", SERVERS_MAX);
        return ERR_INVALID;
    }
    struct server *server = &r->servers[r->n++];
    buf_init(&server->wire);
    return redis_conn_init(&server->conn, part, len, problem, problem_size);
}

int redis_open(const char *addr, const char *password, int64_t db, struct redis **redis_out,
               char *problem, size_t problem_size)
{
    struct redis *r = must(calloc(1, sizeof(*r)));
    const char *part;
    size_t len;
    int rc = 0;

    r->servers = must(calloc(SERVERS_MAX, sizeof(*r->servers)));
    map_init(&r->by_text);
    buf_init(&r->text);
    r->db = db;
    if (password != NULL && password[0] != '\0') {
        r->password = must(strdup(password));
    }
    r->runs = metrics_counter("chat_redis_runs_total", "Pipelines sent to Redis", NULL);
    r->failures = metrics_counter("chat_redis_errors_total", "Pipelines that failed", NULL);
    r->seconds = metrics_histogram_us("chat_redis_seconds", "Time of a pipeline", NULL);
    for (size_t i = 0; rc == 0 && config_list_part(addr, i, &part, &len); i++) {
        rc = add_server(r, part, len, problem, problem_size);
    }
    if (rc == 0 && r->n == 0) {
        snprintf(problem, problem_size, "No Redis address is given.");
        rc = ERR_INVALID;
    }
    if (rc != 0) {
        redis_close(r);
        return rc;
    }
    *redis_out = r;
    return 0;
}

static void disconnect(struct server *server)
{
    redis_conn_close(&server->conn);
    if (server->reader != NULL) {
        redisReaderFree(server->reader);
        server->reader = NULL;
    }
    server->loaded = 0;
}

void redis_close(struct redis *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        disconnect(&r->servers[i]);
        redis_conn_done(&r->servers[i].conn);
        buf_done(&r->servers[i].wire);
        free(r->servers[i].awaited);
    }
    for (size_t i = 0; i < r->scripts_n; i++) {
        free(r->scripts[i].text);
    }
    map_done(&r->by_text);
    buf_done(&r->text);
    free(r->commands);
    free(r->servers);
    free(r->password);
    free(r);
}

size_t redis_servers(const struct redis *r)
{
    return r->n;
}

/* ---- Commands put aside ---- */

static void format(struct buf *out, size_t n, const char *const *args, const size_t *lens)
{
    char *bytes = NULL;
    int size = redisFormatCommandArgv(&bytes, (int)n, (const char **)args, lens);

    if (size < 0) {
        abort();
    }
    buf_add(out, bytes, (size_t)size);
    redisFreeCommand(bytes);
}

static void add(struct redis *r, uint32_t shard, size_t script, const char *const *args,
                const size_t *lens, size_t n)
{
    struct command command = {.server = shard % r->n, .offset = r->text.len, .script = script};

    format(&r->text, n, args, lens);
    command.len = r->text.len - command.offset;
    if (r->commands_n == r->commands_cap) {
        r->commands_cap = r->commands_cap == 0 ? 16 : r->commands_cap * 2;
        r->commands = must(realloc(r->commands, r->commands_cap * sizeof(*r->commands)));
    }
    r->commands[r->commands_n++] = command;
}

void redis_add(struct redis *r, uint32_t shard, const char *const *args, const size_t *lens,
               size_t n)
{
    add(r, shard, SCRIPTS_MAX, args, lens, n);
}

/* The script's index; new texts are kept. */
static size_t find_script(struct redis *r, const char *text)
{
    size_t n = strlen(text);
    uint64_t a, b;
    unsigned char hash[EVP_MAX_MD_SIZE];

    map_hash_bytes(text, n, &a, &b);
    struct script *script = map_get(&r->by_text, a, b);
    if (script == NULL) {
        assert(r->scripts_n < SCRIPTS_MAX); /* they are literals: a handful */
        script = &r->scripts[r->scripts_n++];
        script->text = must(strdup(text));
        script->n = n;
        if (EVP_Digest(text, n, hash, NULL, EVP_sha1(), NULL) != 1) {
            abort();
        }
        for (size_t i = 0; i < 20; i++) {
            snprintf(script->sha + 2 * i, 3, "%02x", hash[i]);
        }
        map_put(&r->by_text, a, b, script);
    }
    return (size_t)(script - r->scripts);
}

void redis_add_script(struct redis *r, uint32_t shard, const char *script, const char *const *keys,
                      size_t nkeys, const char *const *args, const size_t *lens, size_t nargs)
{
    size_t index = find_script(r, script), n = 3 + nkeys + nargs;
    const char **all = must(calloc(n, sizeof(*all)));
    size_t *all_lens = must(calloc(n, sizeof(*all_lens)));
    char count[24];

    snprintf(count, sizeof(count), "%zu", nkeys);
    all[0] = "EVALSHA";
    all[1] = r->scripts[index].sha;
    all[2] = count;
    for (size_t i = 0; i < nkeys; i++) {
        all[3 + i] = keys[i];
    }
    for (size_t i = 0; i < nargs; i++) {
        all[3 + nkeys + i] = args[i];
    }
    for (size_t i = 0; i < n; i++) {
        bool given = i >= 3 + nkeys && lens != NULL;
        all_lens[i] = given ? lens[i - 3 - nkeys] : strlen(all[i]);
    }
    add(r, shard, index, all, all_lens, n);
    free(all);
    free(all_lens);
}

/* ---- Rounds ---- */

static void await(struct server *server, size_t answer)
{
    if (server->awaited_n == server->awaited_cap) {
        server->awaited_cap = server->awaited_cap == 0 ? 16 : server->awaited_cap * 2;
        server->awaited =
            must(realloc(server->awaited, server->awaited_cap * sizeof(*server->awaited)));
    }
    server->awaited[server->awaited_n++] = answer;
}

static void fail(struct server *server, const char *why)
{
    if (server->conn.fd >= 0) { /* else it was told already */
        redis_conn_fail(&server->conn, why);
    }
    disconnect(server);
    server->failed = true;
}

/* Errors that another server, or this one a little later, would not give. */
static bool is_unavailable(const struct redis_value *value)
{
    static const char *const words[] = {"LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN "};

    for (size_t i = 0; value->type == REDIS_ERROR && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strncmp(value->s, words[i], strlen(words[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void take_answer(struct server *server, const struct redis_value *value,
                        struct redis_value *answers)
{
    if (server->answered == server->awaited_n) {
        fail(server, "an answer that nobody asked for");
        return;
    }
    size_t index = server->awaited[server->answered++];
    if (is_unavailable(value) || (index == NO_ANSWER && value->type == REDIS_ERROR)) {
        fail(server, value->s);
        return;
    }
    redis_conn_good(&server->conn);
    if (index != NO_ANSWER) {
        assert(answers != NULL);
        answers[index] = *value;
    }
}

static void read_answers(struct server *server, struct redis_value *answers)
{
    char bytes[READ_SIZE];
    ssize_t got = 1;

    while (!server->failed && got > 0 && server->answered < server->awaited_n) {
        void *value = NULL;

        got = redis_conn_read(&server->conn, bytes, sizeof(bytes));
        if (got < 0) {
            fail(server, "");
            return;
        }
        if (got > 0 && redisReaderFeed(server->reader, bytes, (size_t)got) != REDIS_OK) {
            fail(server, server->reader->errstr);
            return;
        }
        while (!server->failed && redisReaderGetReply(server->reader, &value) == REDIS_OK &&
               value != NULL) {
            take_answer(server, value, answers);
        }
        if (!server->failed && server->reader->err != 0) {
            fail(server, server->reader->errstr);
        }
    }
}

static void write_commands(struct server *server)
{
    while (server->written < server->wire.len) {
        ssize_t put = redis_conn_write(&server->conn, server->wire.data + server->written,
                                       server->wire.len - server->written);

        if (put < 0) {
            fail(server, "");
        }
        if (put <= 0) {
            return;
        }
        server->written += (size_t)put;
    }
}

/* Writes all wires and reads all answers. Servers that break are marked as failed. */
static void run_round(struct redis *r, struct arena *arena, struct redis_value *answers)
{
    struct pollfd fds[SERVERS_MAX];
    struct server *at[SERVERS_MAX];
    int64_t until_ms = clock_mono_ms() + COMMAND_MS;

    r->arena = arena;
    for (size_t i = 0; i < r->n; i++) {
        write_commands(&r->servers[i]);
    }
    while (true) {
        nfds_t n = 0;

        for (size_t i = 0; i < r->n; i++) {
            struct server *server = &r->servers[i];

            if (!server->failed && server->answered < server->awaited_n) {
                bool more = server->written < server->wire.len || server->conn.tls_wants_write;
                at[n] = server;
                fds[n++] = (struct pollfd){.fd = server->conn.fd,
                                           .events = (short)(POLLIN | (more ? POLLOUT : 0))};
            }
        }
        int64_t left_ms = until_ms - clock_mono_ms();
        if (n == 0) {
            return;
        }
        if (left_ms <= 0) {
            for (nfds_t i = 0; i < n; i++) {
                fail(at[i], "timeout");
            }
            return;
        }
        if (poll(fds, n, (int)left_ms) <= 0) {
            continue;
        }
        for (nfds_t i = 0; i < n; i++) {
            if (fds[i].revents & POLLOUT) {
                write_commands(at[i]);
            }
            if (!at[i]->failed && (fds[i].revents & ~POLLOUT)) {
                read_answers(at[i], answers);
            }
        }
    }
}

static void begin_round(struct redis *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct server *server = &r->servers[i];

        buf_clear(&server->wire);
        server->written = server->awaited_n = server->answered = 0;
    }
}

static void hidden(struct server *server, const char *const *args, size_t n)
{
    format(&server->wire, n, args, NULL);
    await(server, NO_ANSWER);
}

/* Connects what this run needs and isn't connected. */
static void connect_servers(struct redis *r, struct arena *arena)
{
    bool needed[SERVERS_MAX] = {false};
    char db[24];

    snprintf(db, sizeof(db), "%lld", (long long)r->db);
    begin_round(r);
    for (size_t i = 0; i < r->commands_n; i++) {
        needed[r->commands[i].server] = true;
    }
    for (size_t i = 0; i < r->n; i++) {
        struct server *server = &r->servers[i];

        server->failed = false;
        if (!needed[i] || redis_conn_alive(&server->conn)) {
            continue;
        }
        disconnect(server);
        if (redis_conn_open(&server->conn) != 0) {
            server->failed = true;
            continue;
        }
        server->reader = must(redis_reader_new(&r->arena));
        if (r->password != NULL) {
            hidden(server, (const char *const[]){"AUTH", r->password}, 2);
        }
        if (r->db != 0) {
            hidden(server, (const char *const[]){"SELECT", db}, 2);
        }
    }
    run_round(r, arena, NULL);
}

static void send_command(struct redis *r, size_t index)
{
    const struct command *command = &r->commands[index];
    struct server *server = &r->servers[command->server];

    if (command->script < SCRIPTS_MAX && !(server->loaded >> command->script & 1)) {
        hidden(server, (const char *const[]){"SCRIPT", "LOAD", r->scripts[command->script].text},
               3);
        server->loaded |= UINT64_C(1) << command->script;
    }
    buf_add(&server->wire, r->text.data + command->offset, command->len);
    await(server, index);
}

static bool is_noscript(const struct redis_value *value)
{
    return value->type == REDIS_ERROR && strncmp(value->s, "NOSCRIPT", 8) == 0;
}

/* Somebody emptied the server's scripts (SCRIPT FLUSH): those that missed theirs, once more. */
static void repeat_scripts(struct redis *r, struct arena *arena, struct redis_value *answers)
{
    bool any = false;

    begin_round(r);
    for (size_t i = 0; i < r->commands_n; i++) {
        if (r->commands[i].script < SCRIPTS_MAX && is_noscript(&answers[i])) {
            r->servers[r->commands[i].server].loaded = 0;
        }
    }
    for (size_t i = 0; i < r->commands_n; i++) {
        if (r->commands[i].script < SCRIPTS_MAX && is_noscript(&answers[i]) &&
            !r->servers[r->commands[i].server].failed) {
            send_command(r, i);
            any = true;
        }
    }
    if (any) {
        run_round(r, arena, answers);
    }
}

/* Ends the run: 0 when all servers that were needed did their part. */
static int finish(struct redis *r, int64_t start_us)
{
    int64_t took_us = clock_mono_us() - start_us;
    int rc = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct server *server = &r->servers[i];

        if (server->failed) {
            rc = ERR_UNAVAILABLE;
        }
        if (server->wire.cap > KEEP_BYTES) {
            buf_done(&server->wire);
        }
    }
    if (r->text.cap > KEEP_BYTES) {
        buf_done(&r->text);
    }
    buf_clear(&r->text);
    r->commands_n = 0;
    metric_inc(r->runs);
    metric_observe(r->seconds, took_us > 0 ? took_us : 0);
    if (rc != 0) {
        metric_inc(r->failures);
    }
    return rc;
}

int redis_run(struct redis *r, struct arena *arena, struct redis_value **answers_out, size_t *n_out)
{
    int64_t start_us = clock_mono_us();
    size_t n = r->commands_n;
    struct redis_value *answers = arena_array(arena, n, sizeof(*answers));

    connect_servers(r, arena);
    begin_round(r);
    for (size_t i = 0; i < n; i++) {
        if (!r->servers[r->commands[i].server].failed) {
            send_command(r, i);
        }
    }
    run_round(r, arena, answers);
    repeat_scripts(r, arena, answers);
    int rc = finish(r, start_us);
    if (rc == 0) {
        *answers_out = answers;
        *n_out = n;
    }
    return rc;
}
