// SPDX-License-Identifier: MIT
/* The list of errors: look-ups by either sign, no number and no name twice. */
#include "tests/unit/test.h"

#include "common/err.h"

#include <limits.h>

TEST(looks_up_either_sign)
{
    CHECK_INT(ERR_NOT_FOUND, -7);
    CHECK_STR(err_code(ERR_NOT_FOUND), "not_found");
    CHECK_STR(err_code(-ERR_NOT_FOUND), "not_found");
    CHECK_STR(err_title(ERR_NOT_FOUND), "Not found");
    CHECK_STR(err_title(7), "Not found");
    CHECK_INT(err_http_status(ERR_NOT_FOUND), 404);
    CHECK_INT(err_http_status(18), 504);
    CHECK_STR(err_code(ERR_FENCED), "fenced");
}

TEST(unknown_number_is_internal)
{
    static const int unknown[] = {0, 20, -20, 49, 53, -53, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        CHECK_STR(err_code(unknown[i]), "internal");
        CHECK_STR(err_title(unknown[i]), "Internal error");
        CHECK_INT(err_http_status(unknown[i]), 500);
    }
}

TEST(rows_are_distinct_and_plausible)
{
    static const struct {
        int number, http;
        const char *code;
    } rows[] = {
#define X(name, number, code, http, title) {number, http, code},
        ERR_LIST(X)
#undef X
    };
    size_t n = sizeof(rows) / sizeof(rows[0]);
    for (size_t i = 0; i < n; i++) {
        CHECK(rows[i].number > 0);
        CHECK(rows[i].http >= 400 && rows[i].http < 600);
        CHECK_STR(err_code(rows[i].number), rows[i].code);
        CHECK_INT(err_http_status(-rows[i].number), rows[i].http);
        for (size_t k = 0; k < i; k++) {
            CHECK(rows[i].number != rows[k].number);
            CHECK(strcmp(rows[i].code, rows[k].code) != 0);
        }
    }
}
