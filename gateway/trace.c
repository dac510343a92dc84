// SPDX-License-Identifier: MIT
/*
 * Version 00 of the Trace Context is read strictly; a later version is read as far as 00 goes
 * (W3C Trace Context, section 4.3).
 */
#include "gateway/trace.h"

#include "common/random.h"

#include <stdio.h>
#include <string.h>

static bool is_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool is_zero(const char *s, size_t n)
{
    return strspn(s, "0") >= n;
}

bool trace_is_valid(const char *s, size_t len)
{
    if (s == NULL || len < TRACE_PARENT_SIZE - 1 || !is_hex(s, 2) || memcmp(s, "ff", 2) == 0) {
        return false;
    }
    if (memcmp(s, "00", 2) == 0 ? len != 55 : (len > 55 && s[55] != '-')) {
        return false;
    }
    return s[2] == '-' && is_hex(s + 3, 32) && !is_zero(s + 3, 32) && s[35] == '-' &&
           is_hex(s + 36, 16) && !is_zero(s + 36, 16) && s[52] == '-' && is_hex(s + 53, 2);
}

void trace_parent(const char *came, size_t len, char out[TRACE_PARENT_SIZE])
{
    char fresh[49];
    random_hex(fresh, 24);
    if (trace_is_valid(came, len)) {
        snprintf(out, TRACE_PARENT_SIZE, "00-%.32s-%.16s-%.2s", came + 3, fresh, came + 53);
    } else {
        snprintf(out, TRACE_PARENT_SIZE, "00-%.32s-%.16s-01", fresh, fresh + 32);
    }
}

void trace_request(const char *came, size_t len, char out[TRACE_REQUEST_SIZE])
{
    static const char sane[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    bool good = came != NULL && len > 0 && len < TRACE_REQUEST_SIZE;
    for (size_t i = 0; good && i < len; i++) {
        good = came[i] != '\0' && strchr(sane, came[i]) != NULL;
    }
    if (good) {
        memcpy(out, came, len);
        out[len] = '\0';
    } else {
        random_hex(out, 8);
    }
}
