// SPDX-License-Identifier: MIT
/*
 * A frame that lies whole in the data is handed on where it lies, without a copy. Otherwise a
 * partial is made: it holds the begun header, the message's text so far and the checks' state,
 * and is freed when nothing is begun any more.
 */
#include "gateway/wsframe.h"

#include "common/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_HEAD_MAX 14
#define CONTROL_MAX 125

struct head {
    uint8_t op; /* 0: continuation */
    bool fin;
    uint8_t mask[4];
    size_t size; /* of the header */
    uint64_t len;
};

struct wsframe_partial {
    uint8_t bytes[CLIENT_HEAD_MAX]; /* of a header that is not complete */
    uint8_t byte_count;
    bool in_payload;
    struct head head; /* of the frame whose payload is under way */
    uint64_t done;    /* bytes of it */
    bool in_message;  /* a fragmented message is open */
    struct wsframe_utf8 utf8;
    struct buf text;
    uint8_t control[CONTROL_MAX];
};

/* ---- UTF-8 ---- */

static bool utf8_lead(struct wsframe_utf8 *u, uint8_t c)
{
    u->low = 0x80;
    u->high = 0xbf;
    if (c < 0xc2 || c > 0xf4) {
        return false; /* a continuation, an overlong form, or past U+10FFFF */
    }
    u->need = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if (c == 0xe0) {
        u->low = 0xa0;
    } else if (c == 0xed) {
        u->high = 0x9f; /* no surrogates */
    } else if (c == 0xf0) {
        u->low = 0x90;
    } else if (c == 0xf4) {
        u->high = 0x8f;
    }
    return true;
}

bool wsframe_utf8_feed(struct wsframe_utf8 *u, const uint8_t *data, size_t len)
{
    size_t i = 0;
    while (i < len) {
        if (u->need == 0) {
            uint64_t eight;
            while (i + 8 <= len &&
                   (memcpy(&eight, data + i, 8), (eight & 0x8080808080808080u) == 0)) {
                i += 8;
            }
            if (i == len) {
                break;
            }
            uint8_t c = data[i++];
            if (c >= 0x80 && !utf8_lead(u, c)) {
                return false;
            }
            continue;
        }
        uint8_t c = data[i++];
        if (c < u->low || c > u->high) {
            return false;
        }
        u->need--;
        u->low = 0x80;
        u->high = 0xbf;
    }
    return true;
}

/* ---- Headers ---- */

size_t wsframe_head(uint8_t head[WSFRAME_HEAD_MAX], enum wsframe_op op, size_t len)
{
    head[0] = (uint8_t)(0x80 | op);
    if (len < 126) {
        head[1] = (uint8_t)len;
        return 2;
    }
    size_t bytes = len < 65536 ? 2 : 8;
    head[1] = bytes == 2 ? 126 : 127;
    for (size_t i = 0; i < bytes; i++) {
        head[2 + i] = (uint8_t)((uint64_t)len >> (8 * (bytes - 1 - i)));
    }
    return 2 + bytes;
}

bool wsframe_code_is_valid(unsigned code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

/* 1: complete, 0: more bytes are needed, else a close code. */
static int read_head(const uint8_t *b, size_t n, struct head *h)
{
    if (n < 1) {
        return 0;
    }
    h->fin = (b[0] & 0x80) != 0;
    h->op = b[0] & 0x0f;
    bool control = h->op >= 8;
    if ((b[0] & 0x70) != 0 || (h->op > 2 && h->op < 8) || h->op > 10 || (control && !h->fin)) {
        return WSCLOSE_PROTOCOL; /* reserved bits or opcodes, a fragmented control frame */
    }
    if (n < 2) {
        return 0;
    }
    uint8_t short_len = b[1] & 0x7f;
    if ((b[1] & 0x80) == 0 || (control && short_len > CONTROL_MAX)) {
        return WSCLOSE_PROTOCOL; /* a client must mask (section 5.1) */
    }
    size_t more = short_len < 126 ? 0 : short_len == 126 ? 2 : 8;
    h->size = 2 + more + 4;
    if (n < h->size) {
        return 0;
    }
    h->len = more == 0 ? short_len : 0;
    for (size_t i = 0; i < more; i++) {
        h->len = h->len << 8 | b[2 + i];
    }
    if ((more == 2 && h->len < 126) || (more == 8 && (h->len < 65536 || h->len >> 63 != 0))) {
        return WSCLOSE_PROTOCOL; /* not the shortest form (section 5.2) */
    }
    memcpy(h->mask, b + 2 + more, 4);
    return 1;
}

/* What the header may not say, as things stand. */
static int check_head(const struct wsframe *p, const struct head *h)
{
    bool open = p->partial != NULL && p->partial->in_message;
    if (h->op >= 8) {
        return 0;
    }
    if (h->op == WSFRAME_BINARY) {
        return WSCLOSE_UNSUPPORTED;
    }
    if ((h->op == 0) != open) {
        return WSCLOSE_PROTOCOL;
    }
    size_t before = open ? p->partial->text.len : 0;
    return h->len > p->max || before + h->len > p->max ? WSCLOSE_TOO_BIG : 0;
}

static void unmask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t at)
{
    uint8_t m[8];
    for (size_t i = 0; i < 8; i++) {
        m[i] = mask[(at + i) & 3];
    }
    uint64_t wide, word;
    memcpy(&wide, m, 8);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < len; i++) {
        data[i] ^= m[i & 7];
    }
}

static int check_close(const uint8_t *payload, size_t len)
{
    if (len == 1) {
        return WSCLOSE_PROTOCOL;
    }
    if (len >= 2 && !wsframe_code_is_valid((unsigned)payload[0] << 8 | payload[1])) {
        return WSCLOSE_PROTOCOL;
    }
    struct wsframe_utf8 u = {0};
    if (len > 2 && (!wsframe_utf8_feed(&u, payload + 2, len - 2) || u.need != 0)) {
        return WSCLOSE_BAD_TEXT;
    }
    return 0;
}

/* ---- Feeding ---- */

void wsframe_init(struct wsframe *p, size_t max)
{
    *p = (struct wsframe){.max = max};
}

void wsframe_done(struct wsframe *p)
{
    if (p->partial != NULL) {
        buf_done(&p->partial->text);
        free(p->partial);
        p->partial = NULL;
    }
}

static struct wsframe_partial *need_partial(struct wsframe *p)
{
    if (p->partial == NULL) {
        p->partial = calloc(1, sizeof(*p->partial));
        assert(p->partial != NULL);
    }
    return p->partial;
}

struct feed {
    struct wsframe *p;
    wsframe_fn fn;
    void *arg;
    bool stopped;
};

static int deliver(struct feed *f, uint8_t op, uint8_t *payload, size_t len)
{
    if (op == WSFRAME_CLOSE) {
        int code = check_close(payload, len);
        if (code != 0) {
            return code;
        }
    }
    f->stopped = !f->fn(f->arg, (enum wsframe_op)op, payload, len);
    return 0;
}

/* A message's last piece is there: hands it on and forgets it, first, as fn may end the parser. */
static int deliver_text(struct feed *f)
{
    struct wsframe_partial *partial = f->p->partial;
    if (partial->utf8.need != 0) {
        return WSCLOSE_BAD_TEXT;
    }
    struct buf text = partial->text;
    buf_init(&partial->text);
    partial->in_message = false;
    partial->utf8 = (struct wsframe_utf8){0};
    int code = deliver(f, WSFRAME_TEXT, (uint8_t *)(text.len > 0 ? text.data : ""), text.len);
    buf_done(&text);
    return code;
}

/* A frame that lies whole in the data, and no message is open. */
static int whole_frame(struct feed *f, const struct head *h, uint8_t *payload)
{
    unmask(payload, (size_t)h->len, h->mask, 0);
    if (h->op == WSFRAME_TEXT) {
        struct wsframe_utf8 u = {0};
        if (!wsframe_utf8_feed(&u, payload, (size_t)h->len) || u.need != 0) {
            return WSCLOSE_BAD_TEXT;
        }
    }
    return deliver(f, h->op, payload, (size_t)h->len);
}

/* Some bytes of a frame's payload; the frame may end with them. */
static int some_payload(struct feed *f, uint8_t *data, size_t n)
{
    struct wsframe_partial *s = f->p->partial;
    unmask(data, n, s->head.mask, s->done);
    if (s->head.op >= 8) {
        memcpy(s->control + s->done, data, n);
    } else {
        if (!wsframe_utf8_feed(&s->utf8, data, n)) {
            return WSCLOSE_BAD_TEXT;
        }
        buf_add(&s->text, data, n);
    }
    s->done += n;
    if (s->done < s->head.len) {
        return 0;
    }
    s->in_payload = false;
    if (s->head.op >= 8) {
        uint8_t control[CONTROL_MAX];
        size_t len = (size_t)s->head.len;
        memcpy(control, s->control, len);
        return deliver(f, s->head.op, control, len);
    }
    s->in_message = true;
    return s->head.fin ? deliver_text(f) : 0;
}

/* Gathers a header from the data; what it takes is added to *used. As read_head. */
static int gather_head(struct wsframe *p, const uint8_t *data, size_t len, struct head *h,
                       size_t *used)
{
    struct wsframe_partial *s = p->partial;
    if (s == NULL || s->byte_count == 0) {
        int done = read_head(data, len, h);
        if (done == 1) {
            *used += h->size;
        } else if (done == 0 && len > 0) {
            s = need_partial(p);
            memcpy(s->bytes, data, len);
            s->byte_count = (uint8_t)len;
            *used += len;
        }
        return done;
    }
    for (size_t i = 0; i < len; i++) {
        s->bytes[s->byte_count++] = data[i];
        ++*used;
        int done = read_head(s->bytes, s->byte_count, h);
        if (done != 0) {
            s->byte_count = 0;
            return done;
        }
    }
    return 0;
}

static int begin_frame(struct feed *f, const struct head *h, uint8_t *data, size_t left,
                       size_t *used)
{
    struct wsframe *p = f->p;
    int code = check_head(p, h);
    if (code != 0) {
        return code;
    }
    bool open = p->partial != NULL && p->partial->in_message;
    if (h->len <= left && (h->op >= 8 || (h->fin && !open))) {
        *used += (size_t)h->len;
        return whole_frame(f, h, data);
    }
    struct wsframe_partial *s = need_partial(p);
    s->head = *h;
    s->done = 0;
    s->in_payload = true;
    size_t n = h->len < left ? (size_t)h->len : left;
    *used += n;
    return some_payload(f, data, n);
}

int wsframe_feed(struct wsframe *p, uint8_t *data, size_t len, wsframe_fn fn, void *arg)
{
    struct feed f = {.p = p, .fn = fn, .arg = arg};
    size_t at = 0;
    while (at < len) {
        int code;
        struct wsframe_partial *s = p->partial;
        if (s != NULL && s->in_payload) {
            uint64_t left = s->head.len - s->done;
            size_t n = left < len - at ? (size_t)left : len - at;
            at += n;
            code = some_payload(&f, data + at - n, n);
        } else {
            struct head h;
            code = gather_head(p, data + at, len - at, &h, &at);
            if (code == 1) {
                code = begin_frame(&f, &h, data + at, len - at, &at);
            }
        }
        if (code != 0 || f.stopped) {
            return code;
        }
    }
    if (p->partial != NULL && !p->partial->in_payload && !p->partial->in_message &&
        p->partial->byte_count == 0) {
        wsframe_done(p);
    }
    return 0;
}
