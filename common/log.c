// SPDX-License-Identifier: MIT
/*
 * A line is built on the stack and goes out in one write of at most PIPE_BUF bytes: the kernel
 * keeps such writes to a pipe apart, so that lines of several threads and daemons never mix.
 *
 * One lock guards the sites' counters and the redirected stream. It is held for some nanoseconds
 * per line; whoever logs so much that this matters is cut to 20 lines a second anyway.
 */
#include "common/log.h"

#include "common/clock.h"
#include "common/err.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define LINE_SIZE 4096 /* PIPE_BUF of Linux */
#define PER_SECOND 20
#define DEBUG_PER_SECOND 1000 /* who asks for debug wants to see each request */
#define QUOTES 8
#define QUOTE_BYTES 500
#define QUOTE_SIZE (QUOTE_BYTES + 8) /* the quotes, an ellipsis of three bytes, NUL */

_Static_assert(LINE_SIZE <= PIPE_BUF, "a longer line may be torn");

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static atomic_int threshold = LOG_INFO;
static _Atomic uint64_t warnings;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *redirected; /* under the lock */

/* Copies, because a request's strings die with its arena, and what logs later must not care. */
static _Thread_local struct {
    const char *svc;
    char method[64];
    char traceparent[64]; /* 55 in its only version so far */
    char request_id[128];
    uint64_t user_id;
} here;

static _Thread_local char quotes[QUOTES][QUOTE_SIZE];
static _Thread_local unsigned next_quote;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

int log_parse_level(const char *name, enum log_level *level_out)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *level_out = (enum log_level)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

void log_set_service(const char *svc)
{
    here.svc = svc;
}

static void copy(char *out, size_t size, const char *s)
{
    size_t len = s == NULL ? 0 : strnlen(s, size - 1);
    if (len > 0) {
        memcpy(out, s, len);
    }
    out[len] = '\0';
}

void log_set_context(const struct log_context *context)
{
    static const struct log_context none;
    context = context == NULL ? &none : context;
    copy(here.method, sizeof(here.method), context->method);
    copy(here.traceparent, sizeof(here.traceparent), context->traceparent);
    copy(here.request_id, sizeof(here.request_id), context->request_id);
    here.user_id = context->user_id;
}

uint64_t log_warnings(void)
{
    return atomic_load(&warnings);
}

void log_redirect(FILE *stream)
{
    pthread_mutex_lock(&lock);
    redirected = stream;
    pthread_mutex_unlock(&lock);
}

/*
 * How many of the n bytes are one well-formed UTF-8 character (Unicode table 3-7) that a terminal
 * only prints; 0 if none. C1 control characters (U+0080 to U+009F) and line separators do more.
 */
static size_t printable_utf8(const unsigned char *s, size_t n)
{
    static const struct {
        unsigned char first, last; /* of the lead byte */
        unsigned char low, high;   /* bounds of the second byte */
        size_t len;
    } forms[] = {
        {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xc2, 0xa0, 0xbf, 2}, {0xc3, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last) {
            continue;
        }
        if (n < forms[i].len ||
            (forms[i].len > 1 && (s[1] < forms[i].low || s[1] > forms[i].high))) {
            return 0;
        }
        for (size_t k = 2; k < forms[i].len; k++) {
            if ((s[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        bool separator = s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9);
        return separator ? 0 : forms[i].len;
    }
    return 0;
}

/* One character of s into out (at most 4 bytes): as it is, or escaped. *len_out bytes written. */
static size_t escape(const unsigned char *s, size_t n, char out[4], size_t *len_out)
{
    static const char from[] = "\n\r\t\"\\";
    static const char to[] = "nrt\"\\";
    const char *special = *s == '\0' ? NULL : strchr(from, *s);
    if (special != NULL) {
        out[0] = '\\';
        out[1] = to[special - from];
        *len_out = 2;
        return 1;
    }
    size_t len = printable_utf8(s, n);
    if (len > 0) {
        memcpy(out, s, len);
        *len_out = len;
        return len;
    }
    static const char hex[] = "0123456789abcdef";
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[*s >> 4];
    out[3] = hex[*s & 15];
    *len_out = 4;
    return 1;
}

const char *log_quote_n(const char *s, size_t n)
{
    char *out = quotes[next_quote++ % QUOTES];
    size_t len = 0;
    out[len++] = '"';
    while (n > 0) {
        char piece[4];
        size_t piece_len;
        size_t taken = escape((const unsigned char *)s, n, piece, &piece_len);
        if (len + piece_len > QUOTE_BYTES) {
            memcpy(out + len, "…", 3);
            len += 3;
            break;
        }
        memcpy(out + len, piece, piece_len);
        len += piece_len;
        s += taken;
        n -= taken;
    }
    out[len++] = '"';
    out[len] = '\0';
    return out;
}

const char *log_quote(const char *s)
{
    return s == NULL ? "\"\"" : log_quote_n(s, strlen(s));
}

struct line {
    char data[LINE_SIZE];
    size_t len;
};

/* Keeps one byte for the newline; what does not fit is cut. */
static void line_advance(struct line *line, int printed)
{
    size_t room = sizeof(line->data) - 1 - line->len;
    if (printed > 0) {
        line->len += (size_t)printed < room ? (size_t)printed : room - 1;
    }
}

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
                                                           ...)
{
    va_list args;
    va_start(args, format);
    line_advance(
        line, vsnprintf(line->data + line->len, sizeof(line->data) - 1 - line->len, format, args));
    va_end(args);
}

/* The caller's pairs, trimmed; should one hold a raw line break, the line stays one line. */
__attribute__((format(printf, 2, 0))) static void line_add_pairs(struct line *line,
                                                                 const char *format, va_list args)
{
    size_t start = line->len;
    line_add(line, " ");
    line_advance(
        line, vsnprintf(line->data + line->len, sizeof(line->data) - 1 - line->len, format, args));
    for (size_t i = start; i < line->len; i++) {
        if (iscntrl((unsigned char)line->data[i])) {
            line->data[i] = '?';
        }
    }
    while (line->len > start && line->data[line->len - 1] == ' ') {
        line->len--;
    }
}

/* A value of the context: bare when nothing in it needs quotes. */
static void line_add_value(struct line *line, const char *key, const char *value)
{
    if (value == NULL || *value == '\0') {
        return;
    }
    for (const char *c = value; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '=' || *c == '\\') {
            value = log_quote(value);
            break;
        }
    }
    line_add(line, " %s=%s", key, value);
}

/* Counts the call; true if it may be written, then with what was left out since the last one. */
static bool site_admit(struct log_site *site, enum log_level level, uint32_t *left_out)
{
    uint32_t most = level == LOG_DEBUG ? DEBUG_PER_SECOND : PER_SECOND;
    int64_t second = clock_mono_ms() / 1000;
    pthread_mutex_lock(&lock);
    if (site->second != second) {
        site->second = second;
        site->count = 0;
    }
    bool admit = site->count < most;
    if (admit) {
        site->count++;
        *left_out = site->suppressed;
        site->suppressed = 0;
    } else {
        site->suppressed++;
    }
    pthread_mutex_unlock(&lock);
    return admit;
}

/* Nothing can be done, or told, when standard error does not take the line. */
static void line_write(const struct line *line)
{
    pthread_mutex_lock(&lock);
    FILE *stream = redirected;
    if (stream != NULL) {
        fwrite(line->data, 1, line->len, stream);
        fflush(stream);
    }
    pthread_mutex_unlock(&lock);
    if (stream == NULL) {
        ssize_t written;
        do {
            written = write(STDERR_FILENO, line->data, line->len);
        } while (written < 0 && errno == EINTR);
    }
}

void log_write(struct log_site *site, enum log_level level, const char *event, const char *format,
               ...)
{
    int saved_errno = errno; /* who logs a failure often looks at errno afterwards */
    uint32_t left_out = 0;
    if (!site_admit(site, level, &left_out)) {
        errno = saved_errno;
        return;
    }
    if (level >= LOG_WARN) {
        atomic_fetch_add(&warnings, 1);
    }
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_now_ms(), now);
    struct line line = {.len = 0};
    line_add(&line, "ts=%s level=%s", now, level_names[level]);
    line_add_value(&line, "svc", here.svc);
    line_add(&line, " msg=%s", log_quote(event));
    if (left_out > 0) {
        line_add(&line, " left_out=%" PRIu32, left_out);
    }
    line_add_value(&line, "method", here.method);
    line_add_value(&line, "trace", here.traceparent);
    line_add_value(&line, "request", here.request_id);
    if (here.user_id != 0) {
        line_add(&line, " user=%" PRIu64, here.user_id);
    }
    va_list args;
    va_start(args, format);
    line_add_pairs(&line, format, args);
    va_end(args);
    line.data[line.len++] = '\n';
    line_write(&line);
    errno = saved_errno;
}
