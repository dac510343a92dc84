// SPDX-License-Identifier: MIT
/*
 * message-svc as the skeleton runs it.
 */
#pragma once

#include "common/svc.h"
#include "message-svc/doubts.h"

extern const struct svc message_svc;

struct message_doubts *message_service_doubts(const struct svc_ctx *ctx);
