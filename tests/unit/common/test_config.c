// SPDX-License-Identifier: MIT
/* Settings: each type, each kind of wrong value, the sentence; help; lists. */
#include "tests/unit/test.h"

#include "common/config.h"
#include "common/err.h"

#include <stddef.h>

struct target {
    const char *name;
    const char *key;
    const char *mode;
    int64_t port;
    bool loud;
    struct config_rate rate;
};

#define FIELD(f) .offset = offsetof(struct target, f)

static const struct config_row rows[] = {
    {"T_NAME", CONFIG_STRING, FIELD(name), .fallback = "", .help = "a name"},
    {"T_KEY", CONFIG_STRING, FIELD(key), .fallback = "k", .help = "a key", .secret = true},
    {"T_MODE", CONFIG_CHOICE, FIELD(mode), .fallback = "debug", .choices = "debug|release",
     .help = "the mode"},
    {"T_PORT", CONFIG_INT, FIELD(port), .fallback = "8080", .min = 0, .max = 65535,
     .help = "the port"},
    {"T_LOUD", CONFIG_BOOL, FIELD(loud), .fallback = "no", .help = "loud or not"},
    {"T_RATE", CONFIG_RATE, FIELD(rate), .fallback = "60/30", .help = "a rate"},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static char problem[400];

static void clear_all(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        unsetenv(rows[i].name);
    }
    problem[0] = '\0';
}

/* Loads with one variable set. */
static int load_with(const char *name, const char *value, struct target *t)
{
    clear_all();
    setenv(name, value, 1);
    return config_load(rows, ROWS, t, problem, sizeof(problem));
}

TEST(defaults)
{
    struct target t;
    clear_all();
    CHECK_INT(config_load(rows, ROWS, &t, problem, sizeof(problem)), 0);
    CHECK_STR(t.name, "");
    CHECK_STR(t.key, "k");
    CHECK_STR(t.mode, "debug");
    CHECK_INT(t.port, 8080);
    CHECK(!t.loud);
    CHECK_INT(t.rate.count, 60);
    CHECK_INT(t.rate.seconds, 30);
    CHECK_STR(problem, "");
}

TEST(empty_counts_as_unset)
{
    struct target t;
    CHECK_INT(load_with("T_PORT", "", &t), 0);
    CHECK_INT(t.port, 8080);
    CHECK_INT(load_with("T_MODE", "", &t), 0);
    CHECK_STR(t.mode, "debug");
}

TEST(good_values)
{
    struct target t;
    CHECK_INT(load_with("T_NAME", " any text, as it is ", &t), 0);
    CHECK_STR(t.name, " any text, as it is ");
    CHECK_INT(load_with("T_MODE", "release", &t), 0);
    CHECK_STR(t.mode, "release");
    CHECK_INT(load_with("T_PORT", "0", &t), 0);
    CHECK_INT(t.port, 0);
    CHECK_INT(load_with("T_PORT", "65535", &t), 0);
    CHECK_INT(t.port, 65535);
    CHECK_INT(load_with("T_RATE", "0", &t), 0);
    CHECK_INT(t.rate.count, 0);
    CHECK_INT(load_with("T_RATE", "600/60", &t), 0);
    CHECK_INT(t.rate.count, 600);
    CHECK_INT(t.rate.seconds, 60);
    CHECK_INT(load_with("T_RATE", "0/60", &t), 0);
    CHECK_INT(t.rate.count, 0);
}

TEST(words_for_bool)
{
    static const char *const yes[] = {"1", "true", "yes", "on", "TRUE", "On"};
    static const char *const no[] = {"0", "false", "no", "off", "False", "OFF"};
    struct target t;
    for (size_t i = 0; i < 6; i++) {
        t.loud = false;
        CHECK_INT(load_with("T_LOUD", yes[i], &t), 0);
        CHECK(t.loud);
        CHECK_INT(load_with("T_LOUD", no[i], &t), 0);
        CHECK(!t.loud);
    }
}

TEST(wrong_values_name_the_setting)
{
    static const struct {
        const char *name, *value;
    } wrong[] = {
        {"T_PORT", "abc"},
        {"T_PORT", "80a"},
        {"T_PORT", " 80"},
        {"T_PORT", "80 "},
        {"T_PORT", "+80"},
        {"T_PORT", "-1"},
        {"T_PORT", "65536"},
        {"T_PORT", "1e3"},
        {"T_PORT", "0x50"},
        {"T_PORT", "-"},
        {"T_PORT", "99999999999999999999"},
        {"T_LOUD", "2"},
        {"T_LOUD", "maybe"},
        {"T_LOUD", "yes "},
        {"T_MODE", "Debug"},
        {"T_MODE", "deb"},
        {"T_MODE", "debug|release"},
        {"T_MODE", "|"},
        {"T_MODE", "releases"},
        {"T_RATE", "60"},
        {"T_RATE", "60/"},
        {"T_RATE", "/60"},
        {"T_RATE", "60/0"},
        {"T_RATE", "-1/60"},
        {"T_RATE", "60/-1"},
        {"T_RATE", "60/60/1"},
        {"T_RATE", "60/60s"},
        {"T_RATE", "60 / 60"},
        {"T_RATE", "60/99999999"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct target t = {.port = 42};
        bool ok = CHECK_INT(load_with(wrong[i].name, wrong[i].value, &t), ERR_INVALID);
        ok = CHECK(strncmp(problem, wrong[i].name, 6) == 0) && ok;
        ok = CHECK(strstr(problem, wrong[i].value) != NULL) && ok;
        ok = CHECK_INT(t.port, 42) && ok; /* untouched */
        if (!ok) {
            printf("    for %s=%s: %s\n", wrong[i].name, wrong[i].value, problem);
        }
    }
    struct target t;
    load_with("T_PORT", "abc", &t);
    CHECK_STR(problem, "T_PORT must be a whole number from 0 to 65535, not \"abc\"");
    load_with("T_MODE", "x\ny", &t);
    CHECK_STR(problem, "T_MODE must be one of debug|release, not \"x\\ny\"");
}

TEST(what_must_be_set)
{
    static const struct config_row must[] = {
        {"T_MUST", CONFIG_STRING, FIELD(name), .help = "the address of the database"},
        {"T_NUMBER", CONFIG_INT, FIELD(port), .min = 1, .max = 2, .help = "a number"},
    };
    struct target t;
    unsetenv("T_MUST");
    unsetenv("T_NUMBER");
    CHECK_INT(config_load(must, 2, &t, problem, sizeof(problem)), ERR_INVALID);
    CHECK_STR(problem, "T_MUST must be set (the address of the database)");
    setenv("T_MUST", "x", 1);
    CHECK_INT(config_load(must, 2, &t, problem, sizeof(problem)), ERR_INVALID);
    CHECK_STR(problem, "T_NUMBER must be set (a number)");
    setenv("T_NUMBER", "2", 1);
    CHECK_INT(config_load(must, 2, &t, problem, sizeof(problem)), 0);
    CHECK_STR(t.name, "x");
    CHECK_INT(t.port, 2);
}

TEST(secrets_stay_secret)
{
    static const struct config_row secret[] = {
        {"T_PIN", CONFIG_INT, FIELD(port), .min = 0, .max = 9999, .fallback = "1234",
         .help = "the PIN", .secret = true},
    };
    struct target t;
    setenv("T_PIN", "12x34", 1);
    CHECK_INT(config_load(secret, 1, &t, problem, sizeof(problem)), ERR_INVALID);
    CHECK_STR(problem, "T_PIN must be a whole number from 0 to 9999");

    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_help(out, secret, 1);
    fclose(out);
    CHECK(strstr(text, "1234") == NULL);
    CHECK(strstr(text, "T_PIN") != NULL);
    free(text);
}

TEST(help_has_all_rows)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_help(out, rows, ROWS);
    fclose(out);
    for (size_t i = 0; i < ROWS; i++) {
        CHECK(strstr(text, rows[i].name) != NULL);
        CHECK(strstr(text, rows[i].help) != NULL);
    }
    CHECK(strstr(text, "(default: 8080)") != NULL);
    CHECK(strstr(text, "from 0 to 65535") != NULL);
    CHECK(strstr(text, "debug|release") != NULL);
    free(text);
}

TEST(a_short_problem_is_cut)
{
    struct target t;
    char small[10];
    clear_all();
    setenv("T_PORT", "x", 1);
    CHECK_INT(config_load(rows, ROWS, &t, small, sizeof(small)), ERR_INVALID);
    CHECK_STR(small, "T_PORT mu");
}

TEST(list_parts)
{
    static const char list[] = " a ,bc,, \t, d e ,";
    static const char *const expected[] = {"a", "bc", "d e"};
    const char *part = NULL;
    size_t len = 0;
    for (size_t i = 0; i < 3; i++) {
        CHECK(config_list_part(list, i, &part, &len));
        CHECK_INT(len, strlen(expected[i]));
        CHECK(strncmp(part, expected[i], len) == 0);
    }
    part = NULL;
    CHECK(!config_list_part(list, 3, &part, &len));
    CHECK(part == NULL);
    CHECK(!config_list_part("", 0, &part, &len));
    CHECK(!config_list_part(" , ,", 0, &part, &len));
    CHECK(config_list_part("one", 0, &part, &len));
    CHECK_INT(len, 3);
    CHECK(!config_list_part("one", 1, &part, &len));
}
