// SPDX-License-Identifier: MIT
/*
 * HTTP/1.1 by libh2o: listeners, TLS, limits of size and time, the defence against request
 * smuggling. Hands whole requests to rest.c and takes whole responses. Loop thread unless said.
 */
#pragma once

#include "common/buf.h"
#include "gateway/loop.h"
#include "gateway/proxies.h"

struct http_request {
    struct loop *loop;
    struct conn *conn;
    const char *method, *path, *query; /* path: undecoded, without the query; not terminated */
    size_t method_len, path_len, query_len;
    const char *body;
    size_t body_len;
    const char *authority; /* of the Host header, or of an absolute target */
    size_t authority_len;
    const char *upgrade; /* the Upgrade header; NULL: none */
    size_t upgrade_len;
    int minor;  /* of HTTP/1.x */
    bool https; /* on the client's side, proxies considered */
    bool is_head;
    char address[PROXIES_ADDRESS_SIZE]; /* the client's, proxies considered */
    void *h2o;                          /* h2o_req_t */
};

/* The value of the first header of this lower-case name; NULL: there is none. Borrowed. */
const char *http_header(const struct http_request *request, const char *name, size_t *len_out);
/* The same of a header that is a list: all its lines, joined by commas (RFC 9110 section 5.3).
 * Lives as long as the request. */
const char *http_list_header(const struct http_request *request, const char *name, size_t *len_out);
/* Adds a response header; both strings are copied but for the name, which must live on. */
void http_add_header(struct http_request *request, const char *name, const char *value);
/* Memory that lives as long as the request; gone runs when the request ends, in whatever way. */
void *http_alloc(struct http_request *request, size_t size, void (*gone)(void *memory));
/* The answer; body is borrowed until the request ends. content_type NULL: without a body. */
void http_respond(struct http_request *request, int status, const char *content_type,
                  const char *body, size_t len);
const char *http_reason(int status);

/* ---- For loop.c and service.c ---- */

struct http;
/* TLS and the port; bus thread at start. ERR_INVALID with a sentence in problem. */
int http_new(struct gateway *gw, struct http **http_out, char *problem, size_t problem_size);
void http_free(struct http *http); /* takes NULL */
int http_port(const struct http *http);
void http_configure(struct loop *loop);
void http_listen(struct loop *loop);
void http_tick(struct loop *loop);
/* Begins the loop's drain: no new connections, sockets are told to go, requests are finished; the
 * loop stops by itself when all is done or at the deadline (mono ms). Bus thread. */
void http_drain(struct loop *loop, int64_t deadline_ms);
bool http_is_drained(struct loop *loop); /* any thread */
