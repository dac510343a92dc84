// SPDX-License-Identifier: MIT
/* The MySQL driver: to come. */
#include "common/db_impl.h"
#include "common/err.h"
#include <stdio.h>
int db_mysql_open(const char *url, struct db **db_out, char *problem, size_t problem_size)
{
    (void)url;
    (void)db_out;
    snprintf(problem, problem_size, "no");
    return ERR_INVALID;
}
