// SPDX-License-Identifier: MIT
/* Arena: alignment, distinct pieces, large ones, reset, text. */
#include "tests/unit/test.h"

#include "common/arena.h"

#include <signal.h>
#include <stdalign.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_aligned(const void *p)
{
    return (uintptr_t)p % alignof(max_align_t) == 0;
}

TEST(pieces_are_aligned_and_apart)
{
    struct arena *a = arena_new(0);
    unsigned char *pieces[2000];
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i % 67;
        pieces[i] = arena_alloc(a, size);
        CHECK(is_aligned(pieces[i]));
        memset(pieces[i], (int)(i & 0xff), size);
    }
    bool intact = true;
    for (size_t i = 0; i < 2000; i++) {
        for (size_t k = 0; k < i % 67; k++) {
            intact = intact && pieces[i][k] == (i & 0xff);
        }
    }
    CHECK(intact);
    arena_free(a);
}

TEST(empty_pieces_differ)
{
    struct arena *a = arena_new(0);
    void *first = arena_alloc(a, 0);
    void *second = arena_alloc(a, 0);
    CHECK(first != NULL && second != NULL && first != second);
    CHECK_INT(arena_used(a), 0);
    arena_free(a);
}

TEST(large_pieces_leave_the_chunk_in_use)
{
    struct arena *a = arena_new(4096);
    char *before = arena_alloc(a, 16);
    char *large = arena_alloc(a, 3 * 1024 * 1024);
    CHECK(is_aligned(large));
    memset(large, 'x', 3 * 1024 * 1024);
    char *after = arena_alloc(a, 16);
    CHECK(after > before && after - before < 4096); /* still the first chunk */
    CHECK_INT(arena_used(a), 3 * 1024 * 1024 + 32);
    arena_free(a);
}

TEST(reset_reuses_the_first_chunk)
{
    struct arena *a = arena_new(1024);
    void *first = arena_alloc(a, 100);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            memset(arena_alloc(a, 500), round, 500);
        }
        arena_alloc(a, 1024 * 1024);
        arena_reset(a);
        CHECK_INT(arena_used(a), 0);
        CHECK(arena_alloc(a, 100) == first);
    }
    arena_free(a);
}

TEST(a_tiny_first_chunk_works)
{
    struct arena *a = arena_new(1);
    for (int i = 0; i < 100; i++) {
        memset(arena_alloc(a, 33), 1, 33);
    }
    arena_reset(a);
    memset(arena_alloc(a, 1), 1, 1);
    arena_free(a);
}

TEST(zalloc_and_array_are_zeroed)
{
    struct arena *a = arena_new(0);
    memset(arena_alloc(a, 512), 0xff, 512);
    arena_reset(a);
    const unsigned char *zeroed = arena_zalloc(a, 256);
    const uint32_t *array = arena_array(a, 64, sizeof(*array));
    bool all_zero = true;
    for (size_t i = 0; i < 256; i++) {
        all_zero = all_zero && zeroed[i] == 0 && array[i / 4] == 0;
    }
    CHECK(all_zero);
    CHECK(arena_array(a, 0, 8) != NULL);
    arena_free(a);
}

TEST(copies_of_text)
{
    struct arena *a = arena_new(0);
    CHECK_STR(arena_strdup(a, "hello"), "hello");
    CHECK_STR(arena_strdup(a, ""), "");
    CHECK_STR(arena_strndup(a, "hello", 2), "he");
    CHECK_STR(arena_strndup(a, "hello", 99), "hello");
    CHECK_STR(arena_strndup(a, (const char[]){'a', 'b'}, 2), "ab"); /* needs no NUL */
    const char *copy = arena_memdup(a, "a\0b", 3);
    CHECK(memcmp(copy, "a\0b\0", 4) == 0);
    CHECK_STR(arena_memdup(a, NULL, 0), "");
    CHECK_STR(arena_printf(a, "%d-%s", 42, "x"), "42-x");
    CHECK_STR(arena_printf(a, "%s", ""), "");
    const char *wide = arena_printf(a, "%5000d", 1);
    CHECK_INT(strlen(wide), 5000);
    arena_free(a);
}

TEST(free_takes_null)
{
    arena_free(NULL);
}

static void array_overflow(struct arena *a)
{
    arena_array(a, SIZE_MAX / 2, 3);
}

static void alloc_overflow(struct arena *a)
{
    arena_alloc(a, SIZE_MAX - 3);
}

static bool aborts(void (*call)(struct arena *a))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) {
            _exit(1);
        }
        signal(SIGABRT, SIG_DFL);
        call(arena_new(0));
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

TEST(sizes_that_overflow_abort)
{
    CHECK(aborts(array_overflow));
    CHECK(aborts(alloc_overflow));
}
