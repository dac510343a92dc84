// SPDX-License-Identifier: MIT
/*
 * What a profile may hold. Each check returns NULL, or why not, as in "nickname <reason>".
 * Pure; any thread.
 */
#pragma once

#include <stddef.h>

#define AUTH_RULES_PASSWORD_MIN 8
#define AUTH_RULES_PASSWORD_MAX 128
#define AUTH_RULES_DEVICE_MAX 200 /* bytes */

const char *auth_rules_check_password(const void *text, size_t n); /* 8 to 128 bytes */
const char *auth_rules_check_nickname(const void *text, size_t n); /* 0 to 64 characters */
const char *auth_rules_check_bio(const void *text, size_t n);      /* 0 to 500 characters */
/* Empty, or the addr-spec that browsers accept (HTML, "valid e-mail address"), at most 254 bytes
 * (RFC 5321 4.5.3.1.3), letters of any script. Whether mail arrives is not asked. */
const char *auth_rules_check_email(const void *text, size_t n);
const char *auth_rules_check_device(const void *text, size_t n); /* 0 to 200 bytes, one line */
