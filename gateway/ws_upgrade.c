// SPDX-License-Identifier: MIT
/*
 * The opening handshake (RFC 6455 section 4.2). Everything that can be refused is refused before
 * the upgrade, as a problem; what the socket needs of the request is copied, since its memory
 * dies with the upgrade.
 */
#include "gateway/ws.h"
#include "gateway/loop_engine.h"
#include <h2o/http1.h>

#include "common/err.h"
#include "gateway/authn.h"
#include "gateway/deliver.h"
#include "gateway/interest.h"
#include "gateway/origins.h"
#include "gateway/rest_input.h"
#include "gateway/trace.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PROTOCOL "chat.v1"
#define BEARER "bearer."
#define KEY_LEN 24 /* base64 of 16 bytes */

struct upgrade {
    struct loop *loop;
    struct token_claims claims;
    bool v1;
    char *traceparent; /* NULL: none came */
};

/* The next token of a comma-separated header value, trimmed; NULL: there is none. *at: behind it.
 */
static const char *next_token(const char **at, const char *end, size_t *n_out)
{
    if (*at > end) {
        return NULL;
    }
    const char *token = *at, *stop = memchr(token, ',', (size_t)(end - token));
    stop = stop != NULL ? stop : end;
    *at = stop + 1;
    while (token < stop && (*token == ' ' || *token == '\t')) {
        token++;
    }
    while (stop > token && (stop[-1] == ' ' || stop[-1] == '\t')) {
        stop--;
    }
    *n_out = (size_t)(stop - token);
    return token;
}

static bool is_handshake(const struct http_request *http)
{
    size_t len = 0;
    const char *version = http_header(http, "sec-websocket-version", &len);
    return http->upgrade != NULL && http->upgrade_len == 9 &&
           strncasecmp(http->upgrade, "websocket", 9) == 0 && http->minor >= 1 && !http->is_head &&
           version != NULL && len == 2 && memcmp(version, "13", 2) == 0;
}

/* The accept key: base64 of the SHA-1 of the client's key and a fixed text. */
static bool accept_key(const struct http_request *http, char out[29])
{
    static const char fixed[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    size_t len = 0;
    const char *key = http_header(http, "sec-websocket-key", &len);
    if (key == NULL || len != KEY_LEN || memcmp(key + KEY_LEN - 2, "==", 2) != 0) {
        return false;
    }
    unsigned char text[KEY_LEN + sizeof(fixed)], digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;
    memcpy(text, key, KEY_LEN);
    memcpy(text + KEY_LEN, fixed, sizeof(fixed));
    if (EVP_Digest(text, KEY_LEN + sizeof(fixed) - 1, digest, &digest_len, EVP_sha1(), NULL) != 1) {
        return false;
    }
    EVP_EncodeBlock((unsigned char *)out, digest, (int)digest_len);
    return true;
}

static bool origin_is_good(const struct http_request *http)
{
    size_t len = 0;
    const char *origin = http_header(http, "origin", &len);
    return origin == NULL ||
           origins_own(origin, len, http->https, http->authority, http->authority_len) ||
           origins_listed(http->loop->gw->origins, origin, len);
}

/* Authorization, then the subprotocol list, then ?token=. */
static const char *find_token(struct rest *rest, bool *v1_out, size_t *len_out)
{
    struct http_request *http = rest_http(rest);
    size_t len = 0, n = 0;
    const char *token = NULL, *part;
    const char *value = http_list_header(http, "sec-websocket-protocol", &len);
    *v1_out = false;
    const char *at = value, *end = value != NULL ? value + len : NULL;
    while (value != NULL && (part = next_token(&at, end, &n)) != NULL) {
        if (n == strlen(PROTOCOL) && memcmp(part, PROTOCOL, n) == 0) {
            *v1_out = true;
        } else if (n > strlen(BEARER) && memcmp(part, BEARER, strlen(BEARER)) == 0) {
            token = part + strlen(BEARER);
            *len_out = n - strlen(BEARER);
        }
    }
    value = http_header(http, "authorization", &len);
    const char *bearer = authn_bearer(value, len, &n);
    if (bearer != NULL) {
        token = bearer;
        *len_out = n;
    }
    if (token == NULL && (token = rest_input_query(http, "token", rest_arena(rest))) != NULL) {
        *len_out = strlen(token);
    }
    return token;
}

static void give_back(struct gateway *gw, uint64_t user_id)
{
    interest_socket_closed(gw->interest, user_id);
    atomic_fetch_sub(&gw->sockets, 1);
}

static void on_upgraded(void *arg, h2o_socket_t *socket, size_t request_len)
{
    struct upgrade *u = arg;
    if (socket == NULL) {
        give_back(u->loop->gw, u->claims.user_id);
    } else {
        struct session *s = ws_adopt(u->loop, socket, request_len);
        s->traceparent = u->traceparent;
        u->traceparent = NULL;
        session_keep(s);
        session_open(s, u->loop, &u->claims, u->v1);
        if (atomic_load(&u->loop->gw->draining)) { /* ws_drain may have been here already */
            ws_close(s, WSCLOSE_GOING_AWAY, "the server is going away");
        }
        session_release(s);
    }
    free(u->traceparent);
    free(u);
}

/* 0, or the error to refuse with. */
static int reserve(struct gateway *gw, uint64_t user_id)
{
    if (atomic_load(&gw->draining) || !deliver_is_ready(gw->deliver)) {
        return ERR_UNAVAILABLE;
    }
    if (atomic_fetch_add(&gw->sockets, 1) >= gw->settings->max_connections) {
        atomic_fetch_sub(&gw->sockets, 1);
        return ERR_UNAVAILABLE;
    }
    int err = interest_socket_opened(gw->interest, user_id, gw->settings->max_sockets_per_user);
    if (err != 0) {
        atomic_fetch_sub(&gw->sockets, 1);
    }
    return err;
}

static void respond(struct rest *rest, struct upgrade *u, const char *accept)
{
    struct http_request *http = rest_http(rest);
    h2o_req_t *req = http->h2o;
    rest_count(rest, 101);
    req->res.status = 101;
    req->res.reason = http_reason(101);
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_UPGRADE, NULL, H2O_STRLIT("websocket"));
    http_add_header(http, "sec-websocket-accept", accept);
    if (u->v1) {
        http_add_header(http, "sec-websocket-protocol", PROTOCOL);
    }
    http_add_header(http, "x-request-id", rest_request_id(rest));
    h2o_http1_upgrade(req, NULL, 0, on_upgraded, u);
}

void ws_upgrade(struct rest *rest)
{
    struct http_request *http = rest_http(rest);
    struct loop *loop = http->loop;
    char accept[29];
    if (!is_handshake(http)) {
        http_add_header(http, "upgrade", "websocket");
        http_add_header(http, "sec-websocket-version", "13");
        rest_fail_status(rest, 426, ERR_BAD_JSON, "a WebSocket handshake of version 13 is needed");
        return;
    }
    if (!accept_key(http, accept)) {
        rest_fail_status(rest, 400, ERR_BAD_JSON, "Sec-WebSocket-Key is not valid");
        return;
    }
    if (!origin_is_good(http)) {
        rest_fail(rest, ERR_FORBIDDEN, "this origin may not open sockets");
        return;
    }
    struct upgrade *u = calloc(1, sizeof(*u));
    assert(u != NULL);
    u->loop = loop;
    size_t len = 0;
    const char *token = find_token(rest, &u->v1, &len);
    int err = token == NULL ? ERR_UNAUTHENTICATED
                            : authn_check(loop->gw->authn, token, len, &u->claims);
    if (err == 0 && !rest_is_within_limit(rest, LIMITS_USER, u->claims.user_id)) {
        free(u);
        return;
    }
    if (err == 0) {
        err = reserve(loop->gw, u->claims.user_id);
    }
    const char *trace = http_header(http, "traceparent", &len);
    if (err == 0 && trace_is_valid(trace, len)) {
        u->traceparent = strndup(trace, len);
    }
    if (err != 0) {
        free(u);
        rest_fail(rest, err, err == ERR_RATE_LIMITED ? "too many sockets of this user" : NULL);
        return;
    }
    respond(rest, u, accept);
}
