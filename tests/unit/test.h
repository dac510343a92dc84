// SPDX-License-Identifier: MIT
/*
 * A unit test program: include this once, write TEST(name) { … }, and nothing else.
 *
 *   build/tests/unit/common/test_map            runs all
 *   build/tests/unit/common/test_map grow       runs those whose names contain "grow"
 *
 * A failed check is printed and counted; the test goes on. Checks do not depend on NDEBUG and may
 * be used from any thread. A test in which lines of level warn or above were logged fails, unless
 * it said how many with EXPECT_WARNINGS(n). The last line is "N passed, M failed".
 */
#pragma once

#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

static struct test *test_first, **test_end = &test_first;
static atomic_int test_failures; /* of the running test */
static uint64_t test_warnings_expected;

static inline void test_register(struct test *t)
{
    *test_end = t;
    test_end = &t->next;
}

#define TEST(function)                                                                             \
    static void function(void);                                                                    \
    __attribute__((constructor)) static void register_##function(void)                             \
    {                                                                                              \
        static struct test test = {.name = #function, .run = function};                            \
        test_register(&test);                                                                      \
    }                                                                                              \
    static void function(void)

/* Of the running test, from start to end, on all threads. */
#define EXPECT_WARNINGS(n) (test_warnings_expected = (uint64_t)(n))

static inline bool test_fail(const char *file, int line)
{
    atomic_fetch_add(&test_failures, 1);
    printf("%s:%d: ", file, line);
    return false;
}

static inline bool test_check(bool ok, const char *text, const char *file, int line)
{
    if (!ok && !test_fail(file, line)) {
        printf("%s does not hold\n", text);
    }
    return ok;
}

static inline bool test_check_int(int64_t a, int64_t b, const char *text, const char *file,
                                  int line)
{
    if (a != b && !test_fail(file, line)) {
        printf("%s is %" PRId64 ", not %" PRId64 "\n", text, a, b);
    }
    return a == b;
}

static inline bool test_check_str(const char *a, const char *b, const char *text, const char *file,
                                  int line)
{
    bool ok = a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
    if (!ok && !test_fail(file, line)) {
        printf("%s is\n    \"%s\", not\n    \"%s\"\n", text, a == NULL ? "(null)" : a,
               b == NULL ? "(null)" : b);
    }
    return ok;
}

/* Each is true when it holds: if (!CHECK(p != NULL)) { return; } */
#define CHECK(cond) test_check((cond), #cond, __FILE__, __LINE__)
#define CHECK_INT(a, b) test_check_int((int64_t)(a), (int64_t)(b), #a, __FILE__, __LINE__)
#define CHECK_STR(a, b) test_check_str((a), (b), #a, __FILE__, __LINE__)

static inline bool test_run_one(const struct test *t)
{
    atomic_store(&test_failures, 0);
    test_warnings_expected = 0;
    uint64_t before = log_warnings();
    t->run();
    clock_unfreeze(); /* a test that returned early must not stop the clock of the next */
    uint64_t warnings = log_warnings() - before;
    if (warnings != test_warnings_expected) {
        atomic_fetch_add(&test_failures, 1);
        printf("%s: %" PRIu64 " warnings logged, %" PRIu64 " expected\n", t->name, warnings,
               test_warnings_expected);
    }
    if (atomic_load(&test_failures) > 0) {
        printf("FAILED %s\n", t->name);
    }
    fflush(stdout);
    return atomic_load(&test_failures) == 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* so that a crash shows how far it came */
    int passed = 0, failed = 0;
    for (const struct test *t = test_first; t != NULL; t = t->next) {
        bool wanted = argc < 2;
        for (int i = 1; i < argc; i++) {
            wanted = wanted || strstr(t->name, argv[i]) != NULL;
        }
        if (wanted) {
            test_run_one(t) ? passed++ : failed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
