// SPDX-License-Identifier: MIT
/*
 * A service's question from an HTTP request: body, query, path and headers into the input message.
 * No sockets, no state. Loop thread (any).
 */
#pragma once

#include "gateway/http.h"
#include "gateway/pbjson.h"
#include "gateway/routes.h"

#define REST_LIMIT_DEFAULT 50
#define REST_LIMIT_MAX 200

/*
 * Fills an initialised message. Errors: ERR_BAD_JSON, ERR_BAD_QUERY, ERR_INVALID,
 * ERR_UNSUPPORTED_MEDIA_TYPE, ERR_PRECONDITION_FAILED (an If-Match that no version of ours made),
 * ERR_NOT_FOUND (a path segment that can be no id).
 */
int rest_input_fill(const struct http_request *request, const struct routes_match *match,
                    void *message, struct arena *arena, struct pbjson_problem *problem);
/* The value of a query parameter, decoded, in the arena; NULL: absent or undecodable. */
const char *rest_input_query(const struct http_request *request, const char *name,
                             struct arena *arena);
