// SPDX-License-Identifier: MIT
/*
 * Verified tokens stand in a direct-mapped table by a keyed 128-bit hash of the whole token, so
 * nothing unverified can hit. Ended sessions are kept until their last token has expired.
 */
#include "gateway/authn.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/map.h"
#include "common/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CACHE_SIZE 2048
#define LEEWAY_MS 120000

struct cached {
    uint64_t a, b; /* hash of the token; 0, 0: empty */
    struct token_claims claims;
};

struct authn {
    const struct token_keys *keys;
    int64_t keep_ms;
    pthread_mutex_t lock;
    struct cached cache[CACHE_SIZE];
    struct map ended; /* session id -> the ms since 1970 when it may be forgotten */
    int64_t swept_ms;
    struct metric *ended_count;
};

struct authn *authn_new(const struct token_keys *keys, int64_t token_seconds)
{
    struct authn *au = calloc(1, sizeof(*au));
    assert(au != NULL);
    au->keys = keys;
    au->keep_ms = token_seconds * 1000 + LEEWAY_MS;
    pthread_mutex_init(&au->lock, NULL);
    map_init(&au->ended);
    au->ended_count = metrics_gauge("chat_gateway_ended_sessions",
                                    "Ended sessions whose tokens have not all expired.", NULL);
    return au;
}

void authn_free(struct authn *au)
{
    if (au != NULL) {
        map_done(&au->ended);
        pthread_mutex_destroy(&au->lock);
        free(au);
    }
}

int authn_check(struct authn *au, const char *token, size_t len, struct token_claims *claims_out)
{
    if (len == 0 || len > TOKEN_MAX) {
        return ERR_UNAUTHENTICATED;
    }
    uint64_t a, b;
    map_hash_bytes(token, len, &a, &b);
    struct cached *slot = &au->cache[a % CACHE_SIZE];
    struct token_claims claims;
    int64_t now_s = clock_now_ms() / 1000;

    pthread_mutex_lock(&au->lock);
    bool hit = slot->a == a && slot->b == b;
    if (hit) {
        claims = slot->claims;
    }
    pthread_mutex_unlock(&au->lock);
    if (!hit) {
        int err = token_verify(au->keys, token, len, now_s, &claims);
        if (err != 0) {
            return err;
        }
    } else if (claims.expires_at <= now_s) {
        return ERR_TOKEN_EXPIRED;
    }

    pthread_mutex_lock(&au->lock);
    bool ended = map_get(&au->ended, claims.session_id, 0) != NULL;
    if (!hit && !ended) {
        *slot = (struct cached){.a = a, .b = b, .claims = claims};
    }
    pthread_mutex_unlock(&au->lock);
    if (ended) {
        return ERR_UNAUTHENTICATED;
    }
    *claims_out = claims;
    return 0;
}

const char *authn_bearer(const char *value, size_t len, size_t *token_len_out)
{
    if (value == NULL || len < 8 || strncasecmp(value, "Bearer ", 7) != 0) {
        return NULL;
    }
    size_t at = 7;
    while (at < len && value[at] == ' ') {
        at++;
    }
    *token_len_out = len - at;
    return value + at;
}

/* Forgets what can matter to nobody, once a minute. */
static void sweep(struct authn *au, int64_t now_ms)
{
    if (now_ms - au->swept_ms < 60000) {
        return;
    }
    au->swept_ms = now_ms;
    uint64_t gone[256];
    size_t n;
    do {
        n = 0;
        size_t cursor = 0;
        struct map_slot *s;
        while (n < 256 && (s = map_next(&au->ended, &cursor)) != NULL) {
            if ((int64_t)(intptr_t)s->value < now_ms) {
                gone[n++] = s->a;
            }
        }
        for (size_t i = 0; i < n; i++) {
            map_del(&au->ended, gone[i], 0);
        }
    } while (n == 256);
}

void authn_end_session(struct authn *au, uint64_t session_id, int64_t ended_at_ms)
{
    int64_t now = clock_now_ms(), until = ended_at_ms + au->keep_ms;
    if (session_id == 0 || until < now) {
        return;
    }
    pthread_mutex_lock(&au->lock);
    sweep(au, now);
    map_put(&au->ended, session_id, 0, (void *)(intptr_t)until);
    metric_set(au->ended_count, (int64_t)au->ended.count);
    pthread_mutex_unlock(&au->lock);
}

bool authn_is_ended(struct authn *au, uint64_t session_id)
{
    pthread_mutex_lock(&au->lock);
    bool ended = map_get(&au->ended, session_id, 0) != NULL;
    pthread_mutex_unlock(&au->lock);
    return ended;
}
