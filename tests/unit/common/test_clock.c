// SPDX-License-Identifier: MIT
/* Clock: RFC 3339 both ways, at its edges; freezing. */
#include "tests/unit/test.h"

#include "common/err.h"

#include <time.h>

static const char *text_of(int64_t ms)
{
    static char out[CLOCK_RFC3339_SIZE];
    clock_rfc3339(ms, out);
    return out;
}

TEST(prints)
{
    CHECK_STR(text_of(0), "1970-01-01T00:00:00.000Z");
    CHECK_STR(text_of(-1), "1969-12-31T23:59:59.999Z");
    CHECK_STR(text_of(1769860800000), "2026-01-31T12:00:00.000Z");
    CHECK_STR(text_of(951782400007), "2000-02-29T00:00:00.007Z");
    CHECK_STR(text_of(253402300799999), "9999-12-31T23:59:59.999Z");
    CHECK_STR(text_of(-62167219200000), "0000-01-01T00:00:00.000Z");
}

TEST(prints_what_four_digits_hold)
{
    CHECK_STR(text_of(INT64_MAX), "9999-12-31T23:59:59.999Z");
    CHECK_STR(text_of(INT64_MIN), "0000-01-01T00:00:00.000Z");
}

TEST(prints_like_the_c_library)
{
    for (int64_t day = -719528; day < 2932897; day += 13) { /* years 0000 to 9999 */
        time_t seconds = (time_t)(day * 86400 + (day & 0xffff));
        struct tm tm;
        char expected[64];
        gmtime_r(&seconds, &tm);
        snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.123Z",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        int64_t parsed = 0;
        const char *text = text_of((int64_t)seconds * 1000 + 123);
        if (!CHECK_STR(text, expected) ||
            !CHECK_INT(clock_parse_rfc3339(text, strlen(text), &parsed), 0) ||
            !CHECK_INT(parsed, (int64_t)seconds * 1000 + 123)) {
            return;
        }
    }
}

TEST(parses)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T00:00:00.5Z", 500},
        {"1970-01-01T00:00:00.05Z", 50},
        {"1970-01-01T00:00:00.1239999999999999999999999999Z", 123}, /* cut, not rounded */
        {"1969-12-31T23:59:59.999Z", -1},
        {"1985-04-12T23:20:50.52Z", 482196050520},        /* RFC 3339 section 5.8 */
        {"1996-12-19T16:39:57-08:00", 851042397000},      /* and */
        {"1937-01-01T12:00:27.87+00:20", -1041337172130}, /* and */
        {"1990-12-31T23:59:60Z", 662688000000},           /* a leap second is the one after */
        {"1990-12-31T15:59:60-08:00", 662688000000},
        {"1990-12-31T23:59:60.9Z", 662688000000},
        {"1970-01-01T00:00:00+00:00", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T23:59:00+23:59", 0},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2400-02-29T00:00:00Z", 13574563200000},
        {"0000-01-01T00:00:00Z", -62167219200000},
        {"0000-02-29T00:00:00Z", -62162121600000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t ms = 42;
        int err = clock_parse_rfc3339(good[i].text, strlen(good[i].text), &ms);
        if (!CHECK_INT(err, 0) || !CHECK_INT(ms, good[i].ms)) {
            printf("    in %s\n", good[i].text);
        }
    }
}

TEST(refuses)
{
    static const char *const bad[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",      /* no zone */
        "1970-01-01 00:00:00Z",     /* a blank is only a note in the RFC */
        "1970-01-01T00:00Z",        /* no seconds */
        "1970-01-01T00:00:00.Z",    /* a point without digits */
        "1970-01-01T00:00:00,5Z",   /* ISO 8601, not RFC 3339 */
        "1970-01-01T00:00:00+0000", /* the same */
        "1970-01-01T00:00:00+00",   /* the same */
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z",
        "1990-12-31T23:58:60Z",      /* no leap second there */
        "1990-12-31T23:59:60-08:00", /* 07:59:60 UTC */
        "+1970-01-01T00:00:00Z",
        " 1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z ",
        "1970-01-01T00:00:00ZZ",
        "1970-1-1T0:0:0Z",
        "10000-01-01T00:00:00Z",
        "197a-01-01T00:00:00Z",
        "1970-01-01T-1:00:00Z",
        "１970-01-01T00:00:00Z", /* U+FF11 */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms = 42;
        if (!CHECK_INT(clock_parse_rfc3339(bad[i], strlen(bad[i]), &ms), ERR_INVALID) ||
            !CHECK_INT(ms, 42)) {
            printf("    in %s\n", bad[i]);
        }
    }
}

TEST(reads_no_further_than_told)
{
    static const char text[] = "1970-01-01T00:00:00Z";
    for (size_t n = 0; n < strlen(text); n++) {
        char *exact = malloc(n + 1); /* the sanitizer sees a byte too far */
        memcpy(exact, text, n);
        int64_t ms;
        CHECK_INT(clock_parse_rfc3339(exact, n, &ms), ERR_INVALID);
        free(exact);
    }
    int64_t ms;
    CHECK_INT(clock_parse_rfc3339("1970-01-01T00:00:00Z\0", 21, &ms), ERR_INVALID);
}

TEST(runs_and_freezes)
{
    int64_t now = clock_now_ms(), mono = clock_mono_us();
    CHECK(now > 1700000000000);
    CHECK(mono > 0);
    CHECK(clock_mono_us() >= mono);
    clock_freeze(1000, 5000);
    CHECK_INT(clock_now_ms(), 1000);
    CHECK_INT(clock_mono_us(), 5000);
    CHECK_INT(clock_mono_ms(), 5);
    clock_freeze(2000, 6000);
    CHECK_INT(clock_now_ms(), 2000);
    clock_unfreeze();
    CHECK(clock_now_ms() >= now);
}
