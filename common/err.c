// SPDX-License-Identifier: MIT
/*
 * The lookups over ERR_LIST. A switch rather than an array, because the numbers have a gap.
 */
#include "common/err.h"

/* A number from another daemon is not to be trusted with a negation: INT_MIN has none. */
static int negative(int err)
{
    return err > 0 ? -err : err;
}

const char *err_code(int err)
{
    switch (negative(err)) {
#define X(name, number, code, http, title)                                                         \
    case -(number):                                                                                \
        return code;
        ERR_LIST(X)
#undef X
    default:
        return err_code(ERR_INTERNAL);
    }
}

const char *err_title(int err)
{
    switch (negative(err)) {
#define X(name, number, code, http, title)                                                         \
    case -(number):                                                                                \
        return title;
        ERR_LIST(X)
#undef X
    default:
        return err_title(ERR_INTERNAL);
    }
}

int err_http_status(int err)
{
    switch (negative(err)) {
#define X(name, number, code, http, title)                                                         \
    case -(number):                                                                                \
        return http;
        ERR_LIST(X)
#undef X
    default:
        return err_http_status(ERR_INTERNAL);
    }
}
