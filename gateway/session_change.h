// SPDX-License-Identifier: MIT
/*
 * The frames that change a message: edit and recall. Loop thread.
 */
#pragma once

#include "gateway/pbjson.h"
#include "gateway/session.h"

void session_edit(struct session *s, const struct pbjson_doc *content, const char *id,
                  struct arena *arena, const char *traceparent);
void session_recall(struct session *s, const struct pbjson_doc *content, const char *id,
                    struct arena *arena, const char *traceparent);
