// SPDX-License-Identifier: MIT
/*
 * A table of fixed size: sets of eight places, the set chosen by a keyed hash of account and
 * address (map_hash_bytes, so nobody can aim at a set). A place keeps the times of the last five
 * failures, which makes the window slide exactly, and how many attempts are under way.
 */
#include "auth-svc/attempts.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/map.h"
#include "common/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 8, PLACES = 16384 };

struct place {
    uint64_t a, b;                         /* 0, 0: free */
    int64_t failed_ms[AUTH_ATTEMPTS_MOST]; /* oldest first; 0: none */
    size_t under_way;
};

struct auth_attempts {
    pthread_mutex_t lock; /* of the places */
    struct place *places;
    size_t sets; /* a power of two */
    struct metric *refused, *forgotten;
};

struct auth_attempts *auth_attempts_new(size_t places)
{
    struct auth_attempts *attempts = calloc(1, sizeof(*attempts));
    size_t sets = 1;

    while (sets * WAYS < (places > 0 ? places : PLACES)) {
        sets *= 2;
    }
    if (attempts != NULL) {
        attempts->places = calloc(sets * WAYS, sizeof(*attempts->places));
    }
    if (attempts == NULL || attempts->places == NULL) {
        abort();
    }
    pthread_mutex_init(&attempts->lock, NULL);
    attempts->sets = sets;
    attempts->refused = metrics_counter("chat_auth_logins_refused_total",
                                        "Logins refused after too many failed ones", NULL);
    attempts->forgotten = metrics_counter("chat_auth_attempts_forgotten_total",
                                          "Failed logins forgotten early for want of space", NULL);
    return attempts;
}

void auth_attempts_free(struct auth_attempts *attempts)
{
    if (attempts != NULL) {
        pthread_mutex_destroy(&attempts->lock);
        free(attempts->places);
        free(attempts);
    }
}

static void hash(const char *account, const char *address, uint64_t *a_out, uint64_t *b_out)
{
    struct buf text = {0};

    buf_add(&text, account, strlen(account) + 1); /* with its NUL: a border */
    buf_add_str(&text, address);
    map_hash_bytes(text.data, text.len, a_out, b_out);
    *a_out |= 1; /* never 0, 0 */
    buf_done(&text);
}

static bool is_recent(int64_t failed_ms, int64_t now_ms)
{
    return failed_ms != 0 && now_ms - failed_ms < AUTH_ATTEMPTS_WINDOW_MS;
}

static size_t count_recent(const struct place *p, int64_t now_ms)
{
    size_t n = 0;

    for (size_t i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
        n += is_recent(p->failed_ms[i], now_ms);
    }
    return n;
}

/* The key's place, or NULL. */
static struct place *find(struct auth_attempts *attempts, uint64_t a, uint64_t b)
{
    struct place *set = &attempts->places[(b & (attempts->sets - 1)) * WAYS];

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].a == a && set[i].b == b) {
            return &set[i];
        }
    }
    return NULL;
}

/* The key's place; if it has none, the one of its set with the least to lose, made the key's. */
static struct place *claim(struct auth_attempts *attempts, uint64_t a, uint64_t b, int64_t now_ms)
{
    struct place *known = find(attempts, a, b);
    struct place *set = &attempts->places[(b & (attempts->sets - 1)) * WAYS];
    struct place *best = NULL;
    size_t best_held = 0;

    if (known != NULL) {
        return known;
    }
    for (size_t i = 0; i < WAYS; i++) {
        size_t held = count_recent(&set[i], now_ms) + set[i].under_way;
        if (best == NULL || held < best_held) {
            best = &set[i];
            best_held = held;
        }
    }
    if (best_held > 0) {
        metric_inc(attempts->forgotten);
    }
    *best = (struct place){.a = a, .b = b};
    return best;
}

/* How long until one more may be allowed; 0: it is now. */
static int64_t wait_for(const struct place *place, int64_t now_ms)
{
    size_t failed = count_recent(place, now_ms);

    if (failed == 0 || failed + place->under_way < AUTH_ATTEMPTS_MOST) {
        return 0;
    }
    /* Those under way end soon, for better or worse. */
    return failed < AUTH_ATTEMPTS_MOST ? 1 : place->failed_ms[0] + AUTH_ATTEMPTS_WINDOW_MS - now_ms;
}

bool auth_attempts_begin(struct auth_attempts *attempts, const char *account, const char *address,
                         int64_t *wait_ms_out)
{
    uint64_t a, b;
    int64_t now_ms = clock_mono_ms() + 1; /* never 0 */

    if (attempts == NULL) {
        return true;
    }
    hash(account, address, &a, &b);
    pthread_mutex_lock(&attempts->lock);
    struct place *place = claim(attempts, a, b, now_ms);
    int64_t wait_ms = wait_for(place, now_ms);
    place->under_way += wait_ms == 0;
    pthread_mutex_unlock(&attempts->lock);
    if (wait_ms > 0) {
        metric_inc(attempts->refused);
        *wait_ms_out = wait_ms;
    }
    return wait_ms == 0;
}

static void add_failure(struct place *place, int64_t now_ms)
{
    memmove(&place->failed_ms[0], &place->failed_ms[1],
            (AUTH_ATTEMPTS_MOST - 1) * sizeof(place->failed_ms[0]));
    place->failed_ms[AUTH_ATTEMPTS_MOST - 1] = now_ms;
}

void auth_attempts_end(struct auth_attempts *attempts, const char *account, const char *address,
                       enum auth_attempts_end how)
{
    uint64_t a, b;
    int64_t now_ms = clock_mono_ms() + 1; /* never 0 */

    if (attempts == NULL) {
        return;
    }
    hash(account, address, &a, &b);
    pthread_mutex_lock(&attempts->lock);
    struct place *place = find(attempts, a, b);
    if (place != NULL) {
        place->under_way -= place->under_way > 0; /* 0: forgotten meanwhile, and made anew */
    }
    if (how == AUTH_ATTEMPTS_WRONG) {
        add_failure(claim(attempts, a, b, now_ms), now_ms);
    } else if (how == AUTH_ATTEMPTS_RIGHT && place != NULL) {
        memset(place->failed_ms, 0, sizeof(place->failed_ms));
    }
    pthread_mutex_unlock(&attempts->lock);
}
