// SPDX-License-Identifier: MIT
/*
 * The growing buffer. The capacity doubles, so that adding n bytes one by one costs O(n).
 */
#include "common/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN 64

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_done(struct buf *b)
{
    free(b->data);
    buf_init(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

static _Noreturn void out_of_memory(size_t len, size_t more)
{
    fprintf(stderr, "buf: cannot grow %zu bytes by %zu\n", len, more);
    abort();
}

void buf_reserve(struct buf *b, size_t more)
{
    if (more > SIZE_MAX / 4 - b->len) {
        out_of_memory(b->len, more);
    }
    size_t need = b->len + more + 1; /* the NUL */
    if (need <= b->cap) {
        return;
    }
    size_t cap = b->cap == 0 ? CAP_MIN : b->cap;
    while (cap < need) {
        cap *= 2;
    }
    char *data = realloc(b->data, cap);
    if (data == NULL) {
        out_of_memory(b->len, more);
    }
    data[b->len] = '\0';
    b->data = data;
    b->cap = cap;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    buf_reserve(b, n);
    if (n > 0) {
        memcpy(b->data + b->len, p, n);
    }
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_u64(struct buf *b, uint64_t value)
{
    char digits[20]; /* of UINT64_MAX */
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_add_i64(struct buf *b, int64_t value)
{
    if (value < 0) {
        buf_add_char(b, '-');
        buf_add_u64(b, 0 - (uint64_t)value); /* unsigned, because -INT64_MIN does not exist */
    } else {
        buf_add_u64(b, (uint64_t)value);
    }
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = b->cap - b->len;
    int len = vsnprintf(b->data == NULL ? NULL : b->data + b->len, room, format, args);
    va_end(args);
    assert(len >= 0);
    if ((size_t)len >= room) {
        buf_reserve(b, (size_t)len);
        vsnprintf(b->data + b->len, (size_t)len + 1, format, again);
    }
    va_end(again);
    b->len += (size_t)len;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0) {
        return;
    }
    memmove(b->data, b->data + n, b->len - n + 1); /* the NUL too */
    b->len -= n;
}

char *buf_take(struct buf *b)
{
    buf_reserve(b, 0); /* an empty text rather than NULL */
    char *data = b->data;
    buf_init(b);
    return data;
}
