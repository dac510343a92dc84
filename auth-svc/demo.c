// SPDX-License-Identifier: MIT
/*
 * The passwords are random in each database and shown once, on standard output: a fixed one would
 * sooner or later stand open on some network.
 */
#include "auth-svc/demo.h"

#include "auth-svc/handlers.h"
#include "auth-svc/password.h"
#include "common/log.h"
#include "common/random.h"

#include <stdio.h>
#include <string.h>

void auth_demo_make_password(char out[AUTH_DEMO_PASSWORD_SIZE])
{
    static const char consonants[] = "bdfghjklmnprstvz"; /* 16 */
    static const char vowels[] = "aeiou";
    size_t at = 0;

    for (int syllable = 0; syllable < 6; syllable++) {
        if (syllable > 0 && syllable % 2 == 0) {
            out[at++] = '-';
        }
        out[at++] = consonants[random_u64() % (sizeof(consonants) - 1)];
        out[at++] = vowels[random_u64() % (sizeof(vowels) - 1)];
    }
    out[at] = '\0';
}

static int create_user(struct rpc_request *rq, const char *name, const char *nickname,
                       const char *password)
{
    char hash[AUTH_PASSWORD_HASH_SIZE];
    struct auth_store_user user = {
        .username = name,
        .username_key = name,
        .password_hash = hash,
        .nickname = nickname,
        .avatar = "",
        .bio = "",
        .email = "",
    };
    int rc = auth_password_make_hash(password, strlen(password), hash);

    return rc == 0 ? auth_accounts_create_user(rq, &user) : rc;
}

int auth_demo_fill_database(struct rpc_request *rq, char *line, size_t line_size)
{
    char alice[AUTH_DEMO_PASSWORD_SIZE], bob[AUTH_DEMO_PASSWORD_SIZE];
    uint64_t last_id;
    int rc = auth_store_find_last_user(rq->db, rq->arena, &last_id);

    line[0] = '\0';
    if (rc != 0 || last_id != 0) {
        return rc;
    }
    auth_demo_make_password(alice);
    auth_demo_make_password(bob);
    rc = create_user(rq, "alice", "Alice", alice);
    if (rc == 0) {
        rc = create_user(rq, "bob", "Bob", bob);
    }
    if (rc == 0) {
        snprintf(line, line_size, "demo accounts: alice / %s   bob / %s", alice, bob);
    }
    return rc;
}

static void create_on_worker(struct svc_ctx *ctx, struct db *db, void *worker, void *arg)
{
    char line[160];
    struct arena *arena = arena_new(0);
    struct rpc_request rq = {
        .svc = ctx,
        .arena = arena,
        .db = db,
        .worker = worker,
        .caller = {.username = "", .address = "", .device = ""},
        .method = "Demo",
        .traceparent = "",
        .request_id = "",
    };

    (void)arg;
    int rc = auth_demo_fill_database(&rq, line, sizeof(line));
    if (rc != 0) {
        log_warn("no demo accounts", "error=%s", err_code(rc));
    } else if (line[0] != '\0') {
        printf("%s\n", line);
        fflush(stdout);
    }
    arena_free(arena);
}

int auth_demo_create(struct svc_ctx *ctx)
{
    if (!svc_is_standalone(ctx) || strcmp(svc_common(ctx)->mode, "debug") != 0) {
        return 0;
    }
    return svc_work(ctx, RPC_SLOW, create_on_worker, NULL);
}
