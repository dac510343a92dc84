// SPDX-License-Identifier: MIT
/*
 * A byte buffer that grows: for text and frames whose length is not known beforehand.
 *
 * Growing cannot fail: out of memory aborts. The data is always followed by a NUL that len does
 * not count. Plain data; one thread at a time.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL until the first addition */
    size_t len;
    size_t cap;
};

void buf_init(struct buf *b);
void buf_done(struct buf *b);  /* frees the data, leaves an empty buffer */
void buf_clear(struct buf *b); /* keeps the memory */
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_char(struct buf *b, char c);
void buf_add_str(struct buf *b, const char *s);
void buf_add_u64(struct buf *b, uint64_t value); /* decimal */
void buf_add_i64(struct buf *b, int64_t value);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drops n bytes from the front; n <= len */
char *buf_take(struct buf *b); /* the data, now the caller's to free(); b is empty again */
