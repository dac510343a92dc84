// SPDX-License-Identifier: MIT
/* The parser of client frames: every way to cut, every rule of RFC 6455 that earns a close code. */
#include "gateway/wsframe.h"

#include "common/buf.h"
#include "tests/unit/test.h"

#define MAX 1000

struct seen {
    struct buf log; /* "T:hello P:x " */
    int count, stop_after;
};

static bool on_frame(void *arg, enum wsframe_op op, uint8_t *payload, size_t len)
{
    struct seen *seen = arg;
    buf_printf(&seen->log, "%c:%.*s ",
               op == WSFRAME_TEXT    ? 'T'
               : op == WSFRAME_CLOSE ? 'C'
               : op == WSFRAME_PING  ? 'P'
                                     : 'O',
               (int)len, (const char *)payload);
    return ++seen->count != seen->stop_after;
}

/* A masked frame at the end of out. */
static void add_frame(struct buf *out, bool fin, int op, const void *payload, size_t len)
{
    static const uint8_t mask[4] = {0x12, 0x9f, 0x00, 0xff};
    buf_add_char(out, (char)((fin ? 0x80 : 0) | op));
    if (len < 126) {
        buf_add_char(out, (char)(0x80 | len));
    } else {
        buf_add_char(out, (char)(0x80 | 126));
        buf_add_char(out, (char)(len >> 8));
        buf_add_char(out, (char)len);
    }
    buf_add(out, mask, 4);
    for (size_t i = 0; i < len; i++) {
        buf_add_char(out, (char)(((const uint8_t *)payload)[i] ^ mask[i % 4]));
    }
}

static void add_text(struct buf *out, bool fin, int op, const char *text)
{
    add_frame(out, fin, op, text, strlen(text));
}

/* Feeds the bytes in pieces of this size; the log's text is valid until the next call. */
static int feed(const struct buf *in, size_t first, size_t piece, const char **log_out)
{
    static struct seen seen;
    buf_done(&seen.log);
    seen = (struct seen){0};
    buf_add_str(&seen.log, "");
    struct wsframe parser;
    wsframe_init(&parser, MAX);
    int code = 0;
    for (size_t at = 0, n = first; at < in->len && code == 0; at += n, n = piece) {
        n = n < in->len - at ? n : in->len - at;
        uint8_t copy[4096];
        memcpy(copy, in->data + at, n);
        code = wsframe_feed(&parser, copy, n, on_frame, &seen);
    }
    wsframe_done(&parser);
    *log_out = seen.log.data != NULL ? seen.log.data : "";
    return code;
}

static int feed_all(const struct buf *in, const char **log_out)
{
    return feed(in, in->len, in->len, log_out);
}

TEST(every_cut_gives_the_same)
{
    struct buf in;
    buf_init(&in);
    char longer[600];
    memset(longer, 'x', sizeof(longer));
    longer[599] = '\0';
    add_text(&in, true, WSFRAME_TEXT, "hello");
    add_text(&in, false, WSFRAME_TEXT, "h\xc3");
    add_text(&in, true, WSFRAME_PING, "p");
    add_text(&in, false, 0, "\xa9l\xe2\x98");
    add_text(&in, true, 0, "\x83");
    add_text(&in, true, WSFRAME_TEXT, "");
    add_text(&in, true, WSFRAME_TEXT, longer);
    add_text(&in, true, WSFRAME_PONG, "o");
    const char *log;
    CHECK_INT(feed_all(&in, &log), 0);
    char *whole = strdup(log);
    char expected[1000];
    snprintf(expected, sizeof(expected), "T:hello P:p T:h\xc3\xa9l\xe2\x98\x83 T: T:%s O:o ",
             longer);
    CHECK_STR(whole, expected);
    for (size_t cut = 1; cut < in.len; cut++) {
        CHECK_INT(feed(&in, cut, in.len, &log), 0);
        CHECK_STR(log, whole);
    }
    for (size_t piece = 1; piece < 9; piece++) {
        CHECK_INT(feed(&in, piece, piece, &log), 0);
        CHECK_STR(log, whole);
    }
    free(whole);
    buf_done(&in);
}

TEST(an_idle_parser_holds_nothing)
{
    struct buf in;
    buf_init(&in);
    add_text(&in, false, WSFRAME_TEXT, "a");
    add_text(&in, true, 0, "b");
    struct wsframe parser;
    struct seen seen = {0};
    wsframe_init(&parser, MAX);
    for (size_t i = 0; i < in.len; i++) {
        CHECK(i == 0 || parser.partial != NULL);
        CHECK_INT(wsframe_feed(&parser, (uint8_t *)in.data + i, 1, on_frame, &seen), 0);
    }
    CHECK(parser.partial == NULL);
    CHECK_STR(seen.log.data, "T:ab ");
    buf_done(&seen.log);
    buf_done(&in);
}

static void expect_code(const void *bytes, size_t len, int code)
{
    struct buf in;
    buf_init(&in);
    buf_add(&in, bytes, len);
    const char *log;
    CHECK_INT(feed_all(&in, &log), code);
    CHECK_INT(feed(&in, 1, 1, &log), code);
    buf_done(&in);
}
#define EXPECT(code, ...)                                                                          \
    do {                                                                                           \
        static const uint8_t bytes[] = {__VA_ARGS__};                                              \
        expect_code(bytes, sizeof(bytes), code);                                                   \
    } while (0)

TEST(what_is_wrong_earns_its_code)
{
    EXPECT(WSCLOSE_PROTOCOL, 0x81, 0x01, 'x');                /* not masked */
    EXPECT(WSCLOSE_PROTOCOL, 0xc1, 0x80, 0, 0, 0, 0);         /* a reserved bit */
    EXPECT(WSCLOSE_PROTOCOL, 0x83, 0x80, 0, 0, 0, 0);         /* a reserved opcode */
    EXPECT(WSCLOSE_PROTOCOL, 0x8b, 0x80, 0, 0, 0, 0);         /* a reserved control opcode */
    EXPECT(WSCLOSE_PROTOCOL, 0x09, 0x80, 0, 0, 0, 0);         /* a fragmented ping */
    EXPECT(WSCLOSE_PROTOCOL, 0x89, 0xfe, 0, 126, 0, 0, 0, 0); /* a ping of 126 bytes */
    EXPECT(WSCLOSE_PROTOCOL, 0x80, 0x80, 0, 0, 0, 0);         /* continues nothing */
    EXPECT(WSCLOSE_PROTOCOL, 0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0); /* interrupted */
    EXPECT(WSCLOSE_PROTOCOL, 0x81, 0xfe, 0, 5, 0, 0, 0, 0);                   /* not the shortest */
    EXPECT(WSCLOSE_PROTOCOL, 0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0);
    EXPECT(WSCLOSE_PROTOCOL, 0x81, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0);
    EXPECT(WSCLOSE_UNSUPPORTED, 0x82, 0x80, 0, 0, 0, 0);
    EXPECT(WSCLOSE_TOO_BIG, 0x81, 0xfe, 0x03, 0xe9, 0, 0, 0, 0); /* 1001 bytes */
    EXPECT(WSCLOSE_TOO_BIG, 0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    EXPECT(WSCLOSE_PROTOCOL, 0x88, 0x81, 0, 0, 0, 0, 3);            /* half a code */
    EXPECT(WSCLOSE_PROTOCOL, 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed);   /* 1005 */
    EXPECT(WSCLOSE_BAD_TEXT, 0x88, 0x83, 0, 0, 0, 0, 3, 0xe8, 255); /* a reason that is no text */
    EXPECT(0, 0x88, 0x82, 0, 0, 0, 0, 3, 0xe8);
    EXPECT(0, 0x88, 0x80, 0, 0, 0, 0);
}

TEST(fragments_together_are_bounded)
{
    struct buf in;
    char half[501];
    memset(half, 'x', sizeof(half));
    buf_init(&in);
    add_frame(&in, false, WSFRAME_TEXT, half, 500);
    add_frame(&in, true, 0, half, 500);
    const char *log;
    CHECK_INT(feed_all(&in, &log), 0);
    buf_clear(&in);
    add_frame(&in, false, WSFRAME_TEXT, half, 500);
    add_frame(&in, true, 0, half, 501);
    CHECK_INT(feed_all(&in, &log), WSCLOSE_TOO_BIG);
    buf_done(&in);
}

TEST(stop_means_stop)
{
    struct buf in;
    buf_init(&in);
    add_text(&in, true, WSFRAME_TEXT, "a");
    add_text(&in, true, WSFRAME_TEXT, "b");
    add_text(&in, true, 3, "wrong, and not looked at");
    struct seen seen = {.stop_after = 2};
    struct wsframe parser;
    wsframe_init(&parser, MAX);
    CHECK_INT(wsframe_feed(&parser, (uint8_t *)in.data, in.len, on_frame, &seen), 0);
    CHECK_STR(seen.log.data, "T:a T:b ");
    wsframe_done(&parser);
    buf_done(&seen.log);
    buf_done(&in);
}

/* Of the decoder's table in RFC 3629: first and last of each length, and what lies between. */
TEST(utf8)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"", true},
        {"plain ascii, longer than eight", true},
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xe2\x98", false},
        {"\xe2\x28\xa1", false},
        {"12345678\xff", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint8_t *text = (const uint8_t *)cases[i].text;
        size_t len = strlen(cases[i].text);
        for (size_t cut = 0; cut <= len; cut++) {
            struct wsframe_utf8 u = {0};
            bool good = wsframe_utf8_feed(&u, text, cut) &&
                        wsframe_utf8_feed(&u, text + cut, len - cut) && u.need == 0;
            CHECK_INT(good, cases[i].good);
        }
    }
}

TEST(headers_of_our_frames)
{
    uint8_t h[WSFRAME_HEAD_MAX];
    CHECK_INT(wsframe_head(h, WSFRAME_TEXT, 125), 2);
    CHECK(h[0] == 0x81 && h[1] == 125);
    CHECK_INT(wsframe_head(h, WSFRAME_TEXT, 126), 4);
    CHECK(h[1] == 126 && h[2] == 0 && h[3] == 126);
    CHECK_INT(wsframe_head(h, WSFRAME_TEXT, 65535), 4);
    CHECK_INT(wsframe_head(h, WSFRAME_TEXT, 65536), 10);
    CHECK(h[1] == 127 && h[6] == 0 && h[7] == 1 && h[8] == 0 && h[9] == 0);
}
