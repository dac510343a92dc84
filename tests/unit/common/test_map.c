// SPDX-License-Identifier: MIT
/* Map: random operations against an array, growing and shrinking, clustered deletes, hashes. */
#include "tests/unit/test.h"

#include "common/map.h"

static uint64_t random_state = 88172645463325252U;

/* xorshift64: the same sequence in each run, so that a failure comes again. */
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int cells[1000]; /* values to point at */

TEST(empty_map)
{
    struct map m;
    map_init(&m);
    size_t cursor = 0;
    CHECK(map_get(&m, 0, 0) == NULL);
    CHECK(map_del(&m, 1, 2) == NULL);
    CHECK(map_next(&m, &cursor) == NULL);
    CHECK(m.slots == NULL);
    map_done(&m);
}

TEST(put_get_replace_delete)
{
    struct map m = {0};
    CHECK(map_put(&m, 0, 0, &cells[0]) == NULL); /* 0 is a key like any other */
    CHECK(map_put(&m, 7, 0, &cells[1]) == NULL);
    CHECK(map_put(&m, 0, 7, &cells[2]) == NULL);
    CHECK(map_put(&m, 7, 0, &cells[3]) == &cells[1]);
    CHECK_INT(m.count, 3);
    CHECK(map_get(&m, 0, 0) == &cells[0]);
    CHECK(map_get(&m, 7, 0) == &cells[3]);
    CHECK(map_get(&m, 0, 7) == &cells[2]);
    CHECK(map_get(&m, 7, 7) == NULL);
    CHECK(map_del(&m, 7, 0) == &cells[3]);
    CHECK(map_del(&m, 7, 0) == NULL);
    CHECK_INT(m.count, 2);
    CHECK(map_del(&m, 0, 0) == &cells[0]);
    CHECK(map_del(&m, 0, 7) == &cells[2]);
    CHECK(m.slots == NULL); /* an empty map costs nothing */
    map_done(&m);
}

#define KEYS 400

/* The naive model: one cell per possible key. */
struct model {
    int *values[KEYS];
    size_t count;
};

static void check_against(const struct map *m, const struct model *model)
{
    CHECK_INT(m->count, model->count);
    CHECK(m->cap == 0 || (m->count * 4 <= m->cap * 3 && (m->cap & (m->cap - 1)) == 0));
    CHECK(m->cap <= 8 || m->count * 8 >= m->cap);
    bool same = true;
    for (uint64_t key = 0; key < KEYS; key++) {
        same = same && map_get(m, key / 20, key % 20) == model->values[key];
    }
    CHECK(same);
    size_t cursor = 0, seen = 0;
    struct map_slot *slot;
    while ((slot = map_next(m, &cursor)) != NULL) {
        same = same && model->values[slot->a * 20 + slot->b] == slot->value;
        seen++;
    }
    CHECK(same);
    CHECK_INT(seen, model->count);
}

static void random_step(struct map *m, struct model *model, unsigned put_share)
{
    uint64_t key = random_next() % KEYS;
    int *before = model->values[key];
    if (random_next() % 100 < put_share) {
        int *value = &cells[random_next() % 1000];
        CHECK(map_put(m, key / 20, key % 20, value) == before);
        model->values[key] = value;
        model->count += before == NULL;
    } else {
        CHECK(map_del(m, key / 20, key % 20) == before);
        model->values[key] = NULL;
        model->count -= before != NULL;
    }
}

TEST(random_operations_like_the_model)
{
    struct map m = {0};
    struct model model = {0};
    for (int wave = 0; wave < 40; wave++) { /* fills up, then drains, again and again */
        unsigned put_share = wave % 2 == 0 ? 80 : 15;
        for (int i = 0; i < 1000; i++) {
            random_step(&m, &model, put_share);
            if (i % 50 == 0) {
                check_against(&m, &model);
            }
        }
    }
    map_done(&m);
}

/* Small tables are nearly all one run, so that deletions shift around the end of the table. */
TEST(backward_shift_in_small_tables)
{
    for (int round = 0; round < 2000; round++) {
        struct map m = {0};
        uint64_t keys[6];
        for (size_t i = 0; i < 6; i++) {
            keys[i] = random_next();
            map_put(&m, keys[i], i, &cells[i]);
        }
        CHECK_INT(m.cap, 8);
        size_t gone = random_next() % 6;
        CHECK(map_del(&m, keys[gone], gone) == &cells[gone]);
        for (size_t i = 0; i < 6; i++) {
            CHECK(map_get(&m, keys[i], i) == (i == gone ? NULL : &cells[i]));
        }
        map_done(&m);
    }
}

TEST(grow_and_shrink)
{
    struct map m = {0};
    for (uint64_t i = 1; i <= 100000; i++) {
        map_put(&m, i, 0, &cells[i % 1000]);
    }
    CHECK_INT(m.count, 100000);
    CHECK_INT(m.cap, 262144);
    for (uint64_t i = 1; i <= 99990; i++) {
        map_del(&m, i, 0);
    }
    CHECK(m.cap <= 64);
    for (uint64_t i = 99991; i <= 100000; i++) {
        CHECK(map_get(&m, i, 0) == &cells[i % 1000]);
    }
    map_done(&m);
}

/* Rows of ids, as databases give them, must not pile up. */
TEST(sequential_keys_spread)
{
    enum { N = 4096 };
    static int hits[N];
    int worst = 0;
    for (uint64_t i = 0; i < (uint64_t)N * 8; i++) {
        int *hit = &hits[map_hash_stable(i, 0) % N];
        worst = ++*hit > worst ? *hit : worst;
    }
    CHECK(worst < 40); /* 8 on average; over 30 is a matter of luck in 10^6 runs */
}

/* Partitions depend on it: these numbers must never change. */
TEST(stable_hash_is_stable)
{
    CHECK(map_hash_stable(0, 0) == UINT64_C(0xdc9017651c6ab203));
    CHECK(map_hash_stable(1, 0) == UINT64_C(0x8cc4d4119572f399));
    CHECK(map_hash_stable(0, 1) == UINT64_C(0x3877b39d9291ccf9));
    CHECK(map_hash_stable(123456789, 987654321) == UINT64_C(0xf5f0670da768876e));
}

TEST(hash_of_bytes)
{
    unsigned char text[64];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (unsigned char)(i * 7);
    }
    uint64_t a[65], b[65];
    for (size_t n = 0; n <= 64; n++) { /* each length differs from each other one */
        map_hash_bytes(text, n, &a[n], &b[n]);
        for (size_t k = 0; k < n; k++) {
            CHECK(a[k] != a[n] && b[k] != b[n]);
        }
    }
    for (size_t i = 0; i < 64; i++) { /* each bit of each byte counts */
        uint64_t other_a, other_b;
        text[i] ^= 0x80;
        map_hash_bytes(text, 64, &other_a, &other_b);
        CHECK(other_a != a[64] && other_b != b[64]);
        text[i] ^= 0x80;
    }
    uint64_t again_a, again_b;
    map_hash_bytes(text, 64, &again_a, &again_b);
    CHECK(again_a == a[64] && again_b == b[64]);
    map_hash_bytes("", 0, &again_a, &again_b);
    CHECK(again_a == a[0] && again_b == b[0]);
}
