// SPDX-License-Identifier: MIT
/*
 * The clocks of the system behind a switch for tests, and RFC 3339 both ways.
 *
 * Calendar arithmetic is done here: gmtime and timegm depend on locale files or are not standard,
 * and strptime accepts far more than the RFC does.
 */
#include "common/clock.h"

#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)
/* The RFC's years have four digits: 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z. */
#define MS_MIN INT64_C(-62167219200000)
#define MS_MAX INT64_C(253402300799999)

static atomic_bool frozen;
static _Atomic int64_t frozen_now_ms, frozen_mono_us;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_now_ms(void)
{
    return atomic_load(&frozen) ? atomic_load(&frozen_now_ms) : read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_us(void)
{
    return atomic_load(&frozen) ? atomic_load(&frozen_mono_us) : read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

void clock_freeze(int64_t now_ms, int64_t mono_us)
{
    atomic_store(&frozen_now_ms, now_ms);
    atomic_store(&frozen_mono_us, mono_us);
    atomic_store(&frozen, true);
}

void clock_unfreeze(void)
{
    atomic_store(&frozen, false);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 0000-01-01 (proleptic Gregorian) to the first of January of the year; year >= 0. */
static int64_t days_before_year(int64_t year)
{
    if (year == 0) {
        return 0;
    }
    int64_t last = year - 1;
    return year * 365 + last / 4 - last / 100 + last / 400 + 1; /* + 1: the year 0 is a leap year */
}

static void put_digits(char *out, int width, int64_t value)
{
    while (width-- > 0) {
        out[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

void clock_rfc3339(int64_t ms, char out[CLOCK_RFC3339_SIZE])
{
    ms = ms < MS_MIN ? MS_MIN : ms > MS_MAX ? MS_MAX : ms;
    int64_t since = ms - MS_MIN; /* never negative, so that / and % round down */
    int64_t day = since / DAY_MS;
    int64_t rest = since % DAY_MS;

    int64_t year = day / 366; /* a little too low: at most 21 in ten thousand */
    while (days_before_year(year + 1) <= day) {
        year++;
    }
    day -= days_before_year(year);
    int month = 1;
    while (day >= days_in_month(year, month)) {
        day -= days_in_month(year, month);
        month++;
    }

    put_digits(out, 4, year);
    out[4] = '-';
    put_digits(out + 5, 2, month);
    out[7] = '-';
    put_digits(out + 8, 2, day + 1);
    out[10] = 'T';
    put_digits(out + 11, 2, rest / 3600000);
    out[13] = ':';
    put_digits(out + 14, 2, rest / 60000 % 60);
    out[16] = ':';
    put_digits(out + 17, 2, rest / 1000 % 60);
    out[19] = '.';
    put_digits(out + 20, 3, rest % 1000);
    out[23] = 'Z';
    out[24] = '\0';
}

struct reader {
    const char *at, *end;
};

static bool take_char(struct reader *r, char lower, char upper)
{
    if (r->at == r->end || (*r->at != lower && *r->at != upper)) {
        return false;
    }
    r->at++;
    return true;
}

static bool take_digit(struct reader *r, int *digit_out)
{
    if (r->at == r->end || *r->at < '0' || *r->at > '9') {
        return false;
    }
    *digit_out = *r->at++ - '0';
    return true;
}

static bool take_number(struct reader *r, int width, int min, int max, int *value_out)
{
    int value = 0;
    while (width-- > 0) {
        int digit;
        if (!take_digit(r, &digit)) {
            return false;
        }
        value = value * 10 + digit;
    }
    *value_out = value;
    return value >= min && value <= max;
}

static bool take_date(struct reader *r, int64_t *days_out)
{
    int year, month, day;
    if (!take_number(r, 4, 0, 9999, &year) || !take_char(r, '-', '-') ||
        !take_number(r, 2, 1, 12, &month) || !take_char(r, '-', '-') ||
        !take_number(r, 2, 1, days_in_month(year, month), &day)) {
        return false;
    }
    int64_t days = days_before_year(year) + day - 1;
    for (int m = 1; m < month; m++) {
        days += days_in_month(year, m);
    }
    *days_out = days;
    return true;
}

/* ".5", ".123456": any number of digits, cut to milliseconds. Absent is fine. */
static bool take_fraction(struct reader *r, int *ms_out)
{
    *ms_out = 0;
    if (!take_char(r, '.', '.')) {
        return true;
    }
    int digit;
    if (!take_digit(r, &digit)) {
        return false;
    }
    int weight = 100;
    do {
        *ms_out += digit * weight;
        weight /= 10;
    } while (take_digit(r, &digit));
    return true;
}

static bool take_zone(struct reader *r, int *minutes_out)
{
    if (take_char(r, 'z', 'Z')) {
        *minutes_out = 0;
        return true;
    }
    bool west = take_char(r, '-', '-');
    int hour, minute;
    if ((!west && !take_char(r, '+', '+')) || !take_number(r, 2, 0, 23, &hour) ||
        !take_char(r, ':', ':') || !take_number(r, 2, 0, 59, &minute)) {
        return false;
    }
    *minutes_out = (west ? -1 : 1) * (hour * 60 + minute);
    return true;
}

int clock_parse_rfc3339(const char *s, size_t n, int64_t *ms_out)
{
    struct reader r = {.at = s, .end = s + n};
    int64_t days;
    int hour, minute, second, ms, zone;
    if (!take_date(&r, &days) || !take_char(&r, 't', 'T') || !take_number(&r, 2, 0, 23, &hour) ||
        !take_char(&r, ':', ':') || !take_number(&r, 2, 0, 59, &minute) ||
        !take_char(&r, ':', ':') || !take_number(&r, 2, 0, 60, &second) ||
        !take_fraction(&r, &ms) || !take_zone(&r, &zone) || r.at != r.end) {
        return ERR_INVALID;
    }
    int64_t minutes = (days * 24 + hour) * 60 + minute - zone;
    if (second == 60) {
        /* A leap second ends a UTC day; this clock has none, so it is the second after. */
        if ((minutes + 1440) % 1440 != 1439) {
            return ERR_INVALID;
        }
        ms = 0;
    }
    *ms_out = MS_MIN + (minutes * 60 + second) * 1000 + ms;
    return 0;
}
