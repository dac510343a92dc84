// SPDX-License-Identifier: MIT
/*
 * Every error of the suite, once: number, name on the wire, HTTP status, title.
 *
 * A function that can fail returns 0 or a negative ERR_*. The same numbers, positive, travel
 * between daemons in Reply.status and appear to clients as the problem's `code`. The last three
 * are internal: they never leave a daemon.
 */
#pragma once

#define ERR_LIST(X)                                                                                \
    X(BAD_JSON, 1, "bad_json", 400, "The body is not valid JSON")                                  \
    X(BAD_QUERY, 2, "bad_query", 400, "A query value does not parse")                              \
    X(UNAUTHENTICATED, 3, "unauthenticated", 401, "Authentication is needed")                      \
    X(TOKEN_EXPIRED, 4, "token_expired", 401, "The access token has expired")                      \
    X(BAD_CREDENTIALS, 5, "bad_credentials", 401, "Wrong name or password")                        \
    X(FORBIDDEN, 6, "forbidden", 403, "Not allowed")                                               \
    X(NOT_FOUND, 7, "not_found", 404, "Not found")                                                 \
    X(METHOD_NOT_ALLOWED, 8, "method_not_allowed", 405, "Method not allowed")                      \
    X(UNSUPPORTED_MEDIA_TYPE, 9, "unsupported_media_type", 415, "Unsupported media type")          \
    X(USERNAME_TAKEN, 10, "username_taken", 409, "The name is taken")                              \
    X(CONFLICT, 11, "conflict", 409, "Conflict")                                                   \
    X(ALREADY_MEMBER, 12, "already_member", 409, "Already a member")                               \
    X(PRECONDITION_FAILED, 13, "precondition_failed", 412, "The record has changed")               \
    X(TOO_LARGE, 14, "too_large", 413, "Too large")                                                \
    X(INVALID, 15, "invalid", 422, "A value is not valid")                                         \
    X(RATE_LIMITED, 16, "rate_limited", 429, "Too many requests")                                  \
    X(UNAVAILABLE, 17, "unavailable", 503, "Temporarily unavailable")                              \
    X(TIMEOUT, 18, "timeout", 504, "No answer in time")                                            \
    X(INTERNAL, 19, "internal", 500, "Internal error")                                             \
    X(DUPLICATE, 50, "duplicate", 500, "A unique key is taken")                                    \
    X(STALE, 51, "stale", 500, "Another writer was faster")                                        \
    X(FENCED, 52, "fenced", 500, "Another instance has taken over")

enum err {
#define X(name, number, code, http, title) ERR_##name = -(number),
    ERR_LIST(X)
#undef X
};

/* Both accept either sign. An unknown number reads as ERR_INTERNAL. Any thread. */
const char *err_code(int err);  /* "not_found" */
const char *err_title(int err); /* "Not found" */
int err_http_status(int err);   /* 404 */
