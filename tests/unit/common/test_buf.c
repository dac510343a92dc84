// SPDX-License-Identifier: MIT
/* Buffer: growth, numbers, the NUL after the data, consume and take. */
#include "tests/unit/test.h"

#include "common/buf.h"

TEST(starts_empty)
{
    struct buf b;
    buf_init(&b);
    CHECK(b.data == NULL);
    buf_clear(&b);
    buf_consume(&b, 0);
    CHECK_INT(b.len, 0);
    buf_add(&b, NULL, 0);
    CHECK_STR(b.data, "");
    buf_done(&b);
    CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
}

TEST(grows_byte_by_byte)
{
    struct buf b = {0};
    for (int i = 0; i < 100000; i++) {
        buf_add_char(&b, (char)('a' + i % 26));
    }
    CHECK_INT(b.len, 100000);
    CHECK_INT(strlen(b.data), 100000);
    bool right = true;
    for (int i = 0; i < 100000; i++) {
        right = right && b.data[i] == 'a' + i % 26;
    }
    CHECK(right);
    buf_done(&b);
}

TEST(numbers)
{
    struct buf b = {0};
    static const int64_t values[] = {0, 1, -1, 10, -99, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "%" PRId64, values[i]);
        buf_clear(&b);
        buf_add_i64(&b, values[i]);
        CHECK_STR(b.data, expected);
    }
    buf_clear(&b);
    buf_add_u64(&b, UINT64_MAX);
    buf_add_char(&b, ' ');
    buf_add_u64(&b, 0);
    CHECK_STR(b.data, "18446744073709551615 0");
    buf_done(&b);
}

TEST(printf_at_every_fill)
{
    struct buf b = {0};
    buf_printf(&b, "%s", "");
    CHECK_INT(b.len, 0);
    for (size_t fill = 0; fill < 200; fill++) { /* passes each place where the room just ends */
        struct buf c = {0};
        for (size_t i = 0; i < fill; i++) {
            buf_add_char(&c, '.');
        }
        buf_printf(&c, "%d:%s", 12345, "abcdef");
        CHECK_INT(c.len, fill + 12);
        CHECK_STR(c.data + fill, "12345:abcdef");
        buf_done(&c);
    }
    buf_printf(&b, "%10000s", "x");
    CHECK_INT(b.len, 10000);
    CHECK_INT(strlen(b.data), 10000);
    buf_done(&b);
}

TEST(reserve_keeps_what_is_there)
{
    struct buf b = {0};
    buf_add_str(&b, "abc");
    buf_reserve(&b, 5000);
    CHECK(b.cap > 5003);
    const char *data = b.data;
    for (int i = 0; i < 5000; i++) {
        buf_add_char(&b, 'x');
    }
    CHECK(b.data == data);
    CHECK(strncmp(b.data, "abcxxx", 6) == 0);
    buf_done(&b);
}

TEST(consume_from_the_front)
{
    struct buf b = {0};
    buf_add(&b, "ab\0cd", 5);
    buf_consume(&b, 3);
    CHECK_INT(b.len, 2);
    CHECK_STR(b.data, "cd");
    buf_consume(&b, 2);
    CHECK_STR(b.data, "");
    buf_add_str(&b, "again");
    CHECK_STR(b.data, "again");
    buf_done(&b);
}

TEST(take_hands_over)
{
    struct buf b = {0};
    char *empty = buf_take(&b);
    CHECK_STR(empty, "");
    free(empty);
    buf_add_str(&b, "text");
    char *text = buf_take(&b);
    CHECK_STR(text, "text");
    CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
    free(text);
}
