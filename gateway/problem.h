// SPDX-License-Identifier: MIT
/*
 * Problem details (RFC 9457) with the suite's extension members. Pure; any thread.
 */
#pragma once

#include "common/buf.h"
#include "common/rpc.h"

#define PROBLEM_TYPE "application/problem+json"

struct problem {
    int err;            /* ERR_* */
    int status;         /* 0: as err says */
    const char *detail; /* NULL or "": the error's title */
    const char *request_id;
    const struct rpc_field_error *errors;
    size_t error_count;
};

void problem_print(struct buf *out, const struct problem *problem);
