// SPDX-License-Identifier: MIT
/*
 * The REST side: finds the row of the route table, asks who is there and how often, asks the
 * service, completes and prints its answer. Decides nothing that is a service's to decide. Loop
 * thread.
 */
#pragma once

#include "gateway/http.h"
#include "common/rpc.h"
#include "common/token.h"
#include "gateway/routes.h"
#include "gateway/trace.h"

struct rest; /* one request on its way */

void rest_handle(struct http_request *request);
/* Answers with a problem; before rest_handle as well as in it. */
void rest_refuse(struct http_request *request, int err, const char *detail);
void rest_metrics(void); /* makes them, once at start */

/* ---- For the local answers: ws.c, monitor.c ---- */

struct http_request *rest_http(struct rest *rest);
struct arena *rest_arena(struct rest *rest); /* lives as long as the request */
const char *rest_request_id(const struct rest *rest);
/* JSON of the row's success status; text is borrowed until the request ends. */
void rest_reply_json(struct rest *rest, const char *text, size_t len);
void rest_fail(struct rest *rest, int err, const char *detail);
/* The same with a status of its own (426). */
void rest_fail_status(struct rest *rest, int status, int err, const char *detail);
/* Counts it among the user's requests (user 0: of this address). False: too often, and answered. */
bool rest_is_within_limit(struct rest *rest, enum limits_class class, uint64_t user_id);
/* Counts the request as answered with this status, which another file has sent (101). */
void rest_count(struct rest *rest, int status);
