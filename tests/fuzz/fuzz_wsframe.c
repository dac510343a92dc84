// SPDX-License-Identifier: MIT
/*
 * The parser of client frames. The first byte chooses how the rest is cut into pieces and after how
 * many messages the receiver says stop. However it is cut, the same comes out.
 */
#include "tests/fuzz/fuzz.h"

#include "common/buf.h"
#include "gateway/wsframe.h"

#include <string.h>

#define MAX 300

struct seen {
    struct buf log; /* opcode, length, payload of each message */
    unsigned count, stop_after;
};

static bool on_message(void *arg, enum wsframe_op op, uint8_t *payload, size_t len)
{
    struct seen *seen = arg;
    struct wsframe_utf8 utf8 = {0};

    MUST(op == WSFRAME_TEXT || op == WSFRAME_CLOSE || op == WSFRAME_PING || op == WSFRAME_PONG);
    MUST(len <= (op == WSFRAME_TEXT ? MAX : 125));
    if (op == WSFRAME_TEXT) {
        MUST(wsframe_utf8_feed(&utf8, payload, len) && utf8.need == 0);
    }
    if (op == WSFRAME_CLOSE && len > 0) {
        MUST(len >= 2 && wsframe_code_is_valid((unsigned)payload[0] << 8 | payload[1]));
    }
    buf_printf(&seen->log, "%d %zu ", (int)op, len);
    buf_add(&seen->log, payload, len);
    memset(payload, 0, len); /* it may be changed */
    return ++seen->count < seen->stop_after;
}

/* Returns what wsframe_feed said at last. */
static int feed(struct seen *seen, const uint8_t *data, size_t size, size_t piece)
{
    struct wsframe parser;
    int code = 0;

    buf_init(&seen->log);
    wsframe_init(&parser, MAX);
    for (size_t at = 0; at < size && code == 0 && seen->count < seen->stop_after; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(n); /* of exactly that size, for the sanitizer */
        MUST(copy != NULL);
        memcpy(copy, data + at, n);
        code = wsframe_feed(&parser, copy, n, on_message, seen);
        free(copy);
    }
    wsframe_done(&parser);
    MUST(code == 0 || code == WSCLOSE_PROTOCOL || code == WSCLOSE_UNSUPPORTED ||
         code == WSCLOSE_BAD_TEXT || code == WSCLOSE_TOO_BIG);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    unsigned stop_after = (data[0] >> 4) + 1U;
    size_t pieces[] = {size, 1, (data[0] & 15U) + 2};
    struct seen whole = {.stop_after = stop_after};
    int code = feed(&whole, data + 1, size - 1, pieces[0]);

    for (size_t i = 1; i < 3; i++) {
        struct seen cut = {.stop_after = stop_after};
        MUST(feed(&cut, data + 1, size - 1, pieces[i]) == code);
        MUST(cut.log.len == whole.log.len);
        MUST(cut.log.len == 0 || memcmp(cut.log.data, whole.log.data, cut.log.len) == 0);
        buf_done(&cut.log);
    }
    buf_done(&whole.log);
    return 0;
}
