// SPDX-License-Identifier: MIT
/*
 * Settings from the environment. All rows are checked before the first one is stored, so that the
 * target is untouched on failure. A default that breaks its own row is our bug and asserted.
 */
#include "common/config.h"

#include "common/err.h"
#include "common/log.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RATE_COUNT_MAX INT64_C(1000000000)
#define RATE_SECONDS_MAX INT64_C(86400)

union value {
    const char *text;
    int64_t number;
    bool flag;
    struct config_rate rate;
};

/* Stricter than strtoll: no blanks, no plus sign, nothing behind. Returns what follows or NULL. */
static const char *parse_number(const char *s, int64_t *number_out)
{
    if (!isdigit((unsigned char)s[0]) && !(s[0] == '-' && isdigit((unsigned char)s[1]))) {
        return NULL;
    }
    char *end;
    errno = 0;
    long long number = strtoll(s, &end, 10);
    if (errno != 0) {
        return NULL;
    }
    *number_out = number;
    return end;
}

static bool parse_int(const struct config_row *row, const char *s, int64_t *out)
{
    assert(row->min < row->max);
    const char *end = parse_number(s, out);
    return end != NULL && *end == '\0' && *out >= row->min && *out <= row->max;
}

static bool parse_bool(const char *s, bool *out)
{
    static const char *const words[][2] = {
        {"1", "0"}, {"true", "false"}, {"yes", "no"}, {"on", "off"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (int no = 0; no < 2; no++) {
            if (strcasecmp(s, words[i][no]) == 0) {
                *out = no == 0;
                return true;
            }
        }
    }
    return false;
}

static bool parse_rate(const char *s, struct config_rate *out)
{
    const char *rest = parse_number(s, &out->count);
    if (rest == NULL || out->count < 0 || out->count > RATE_COUNT_MAX) {
        return false;
    }
    if (*rest == '\0') {
        out->seconds = 0;
        return out->count == 0; /* "0" is off; "60" leaves open per what */
    }
    if (*rest != '/') {
        return false;
    }
    const char *end = parse_number(rest + 1, &out->seconds);
    return end != NULL && *end == '\0' && out->seconds >= 1 && out->seconds <= RATE_SECONDS_MAX;
}

static bool parse_choice(const struct config_row *row, const char *s)
{
    size_t len = strlen(s);
    for (const char *word = row->choices; word != NULL; word = strchr(word, '|')) {
        word += *word == '|';
        if (strcspn(word, "|") == len && memcmp(word, s, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool parse(const struct config_row *row, const char *s, union value *out)
{
    switch (row->type) {
    case CONFIG_STRING:
        out->text = s;
        return true;
    case CONFIG_INT:
        return parse_int(row, s, &out->number);
    case CONFIG_BOOL:
        return parse_bool(s, &out->flag);
    case CONFIG_RATE:
        return parse_rate(s, &out->rate);
    case CONFIG_CHOICE:
        out->text = s;
        return parse_choice(row, s);
    }
    return false;
}

static void store(const struct config_row *row, const union value *value, void *target)
{
    void *field = (char *)target + row->offset;
    switch (row->type) {
    case CONFIG_STRING:
    case CONFIG_CHOICE:
        memcpy(field, &value->text, sizeof(value->text));
        break;
    case CONFIG_INT:
        memcpy(field, &value->number, sizeof(value->number));
        break;
    case CONFIG_BOOL:
        memcpy(field, &value->flag, sizeof(value->flag));
        break;
    case CONFIG_RATE:
        memcpy(field, &value->rate, sizeof(value->rate));
        break;
    }
}

/* "a whole number from 1 to 65535": completes "PORT must be …". */
static void describe(const struct config_row *row, char *out, size_t size)
{
    switch (row->type) {
    case CONFIG_STRING:
        snprintf(out, size, "a text");
        break;
    case CONFIG_INT:
        snprintf(out, size, "a whole number from %" PRId64 " to %" PRId64, row->min, row->max);
        break;
    case CONFIG_BOOL:
        snprintf(out, size, "1 or 0, true or false, yes or no, on or off");
        break;
    case CONFIG_RATE:
        snprintf(out, size, "count/seconds (such as 60/60) or 0 for no limit");
        break;
    case CONFIG_CHOICE:
        snprintf(out, size, "one of %s", row->choices);
        break;
    }
}

/* The value's text in force, or NULL when the row must be set and is not. */
static const char *text_of(const struct config_row *row, bool *given_out)
{
    const char *s = getenv(row->name);
    *given_out = s != NULL && *s != '\0';
    return *given_out ? s : row->fallback;
}

static int load_row(const struct config_row *row, union value *value, char *problem,
                    size_t problem_size)
{
    bool given;
    const char *s = text_of(row, &given);
    if (s != NULL && parse(row, s, value)) {
        return 0;
    }
    assert(given || row->fallback == NULL);
    char must[256];
    describe(row, must, sizeof(must));
    if (s == NULL) {
        snprintf(problem, problem_size, "%s must be set (%s)", row->name, row->help);
    } else if (row->secret) {
        snprintf(problem, problem_size, "%s must be %s", row->name, must);
    } else {
        snprintf(problem, problem_size, "%s must be %s, not %s", row->name, must, log_quote(s));
    }
    return ERR_INVALID;
}

int config_load(const struct config_row *rows, size_t n, void *target, char *problem,
                size_t problem_size)
{
    union value value;
    for (size_t i = 0; i < n; i++) {
        int err = load_row(&rows[i], &value, problem, problem_size);
        if (err != 0) {
            return err;
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool given;
        parse(&rows[i], text_of(&rows[i], &given), &value);
        store(&rows[i], &value, target);
    }
    return 0;
}

void config_help(FILE *out, const struct config_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct config_row *row = &rows[i];
        fprintf(out, "  %s\n      %s", row->name, row->help);
        if (row->type != CONFIG_STRING) {
            char must[256];
            describe(row, must, sizeof(must));
            fprintf(out, "; %s", must);
        }
        if (row->fallback == NULL) {
            fprintf(out, " (must be set)");
        } else if (row->fallback[0] != '\0') {
            fprintf(out, " (default: %s)", row->secret ? "not shown" : row->fallback);
        }
        fputc('\n', out);
    }
}

bool config_list_part(const char *list, size_t i, const char **part_out, size_t *len_out)
{
    static const char blanks[] = " \t\r\n";
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        const char *next = list + len + (list[len] == ',');
        size_t lead = strspn(list, blanks);
        if (lead < len) {
            while (strchr(blanks, list[len - 1]) != NULL) {
                len--;
            }
            if (i-- == 0) {
                *part_out = list + lead;
                *len_out = len - lead;
                return true;
            }
        }
        list = next;
    }
    return false;
}
