// SPDX-License-Identifier: MIT
/*
 * Log lines in logfmt on standard error, one write per line:
 *   ts=2026-01-31T12:00:00.000Z level=info svc=auth-svc msg="ready" partitions=12 trace=…
 *
 * The event is a short fixed text; what varies is key=value pairs in the format. Never tokens,
 * passwords or message text. Repeats of one call site within a second are counted, not written
 * (at most 20 a second from one line, 1,000 at debug; the next one written says how many were
 * left out).
 * Any thread; the context belongs to the thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* What the thread is working on; added to each of its lines. Strings are borrowed. */
struct log_context {
    const char *svc;         /* daemon name; set once per thread */
    const char *method;      /* RPC or route, or NULL */
    const char *traceparent; /* W3C Trace Context; NULL or "" when absent */
    const char *request_id;  /* NULL or "" when absent */
    uint64_t user_id;        /* 0: unknown */
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
int log_parse_level(const char *name, enum log_level *level_out); /* ERR_INVALID */

void log_set_service(const char *svc); /* this thread's svc=; the string must live on */
/* Replaces method, trace, request and user of this thread; NULL clears them. Copied. */
void log_set_context(const struct log_context *context);

/* How many lines of at least warn were written since start (tests fail on unexpected ones). */
uint64_t log_warnings(void);
/* For tests: lines go to this stream instead; NULL: standard error again. */
void log_redirect(FILE *stream);

struct log_site { /* one per call site */
    int64_t second;
    uint32_t count, suppressed;
};

void log_write(struct log_site *site, enum log_level level, const char *event, const char *format,
               ...) __attribute__((format(printf, 4, 5)));

/* log_info("connected", "server=%s attempts=%d", …); no pairs: log_info("ready", " "). Text from
 * outside goes through LOG_Q, which quotes and escapes it into a small per-thread buffer. */
#define LOG_AT(level, event, ...)                                                                  \
    do {                                                                                           \
        static struct log_site log_site_here;                                                      \
        if ((level) >= log_get_level()) {                                                          \
            log_write(&log_site_here, (level), (event), __VA_ARGS__);                              \
        }                                                                                          \
    } while (0)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_AT(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, __VA_ARGS__)

/* s quoted for logfmt, cut at 500 bytes; valid until the eighth next call in this thread. */
const char *log_quote(const char *s);
const char *log_quote_n(const char *s, size_t n);
#define LOG_Q(s) log_quote(s)
