// SPDX-License-Identifier: MIT
/*
 * The passwords are random in each database and shown once, on standard output: a fixed one would
 * sooner or later stand open on some network.
 */
#include "auth-svc/demo.h"

#include "auth-svc/events.h"
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

struct demo {
    struct rpc_request *rq;
    struct auth_store_user users[2];
    bool made;
};

static struct auth_store_user new_user(const char *name, const char *nickname, const char *hash)
{
    return (struct auth_store_user){
        .username = name,
        .username_key = name,
        .password_hash = hash,
        .nickname = nickname,
        .avatar = "",
        .bio = "",
        .email = "",
    };
}

/* Both or none: somebody may sign up at the same moment. */
static int create_in_transaction(struct db *db, void *arg)
{
    struct demo *demo = arg;
    uint64_t last_id;
    int rc = auth_store_find_last_user(db, demo->rq->arena, &last_id);

    demo->made = rc == 0 && last_id == 0;
    for (size_t i = 0; rc == 0 && demo->made && i < 2; i++) {
        rc = auth_accounts_insert_user(demo->rq, db, &demo->users[i]);
    }
    return rc;
}

int auth_demo_fill_database(struct rpc_request *rq, char *line, size_t line_size)
{
    char alice[AUTH_DEMO_PASSWORD_SIZE], bob[AUTH_DEMO_PASSWORD_SIZE];
    char alice_hash[AUTH_PASSWORD_HASH_SIZE], bob_hash[AUTH_PASSWORD_HASH_SIZE];
    struct demo demo = {.rq = rq};
    uint64_t last_id;
    int rc = auth_store_find_last_user(rq->db, rq->arena, &last_id);

    line[0] = '\0';
    if (rc != 0 || last_id != 0) { /* asked again below; this spares the hashes */
        return auth_store_settle_error(rc);
    }
    auth_demo_make_password(alice);
    auth_demo_make_password(bob);
    rc = auth_password_make_hash(alice, strlen(alice), alice_hash);
    if (rc == 0) {
        rc = auth_password_make_hash(bob, strlen(bob), bob_hash);
    }
    demo.users[0] = new_user("alice", "Alice", alice_hash);
    demo.users[1] = new_user("bob", "Bob", bob_hash);
    if (rc == 0) {
        rc = auth_store_transact(rq->db, create_in_transaction, &demo);
    }
    if (rc == 0 && demo.made) {
        snprintf(line, line_size, "demo accounts: alice / %s   bob / %s", alice, bob);
        auth_events_wake(rq);
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
        log_warn("no demo accounts", "code=%s", err_code(rc));
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
