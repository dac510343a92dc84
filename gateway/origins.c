// SPDX-License-Identifier: MIT
/*
 * Origins are compared as browsers write them: scheme, host and a port that is not the default
 * one (RFC 6454, section 6.1), without regard to case.
 */
#include "gateway/origins.h"

#include "common/config.h"
#include "common/err.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct origins {
    const char *list; /* borrowed: settings live as long as the process */
};

static bool is_origin(const char *s, size_t len)
{
    size_t scheme = len > 7 && strncasecmp(s, "http://", 7) == 0    ? 7
                    : len > 8 && strncasecmp(s, "https://", 8) == 0 ? 8
                                                                    : 0;
    return scheme > 0 && memchr(s + scheme, '/', len - scheme) == NULL;
}

int origins_new(const char *list, struct origins **origins_out, char *problem, size_t problem_size)
{
    const char *part;
    size_t len;
    for (size_t i = 0; config_list_part(list, i, &part, &len); i++) {
        if (!is_origin(part, len)) {
            snprintf(problem, problem_size,
                     "ALLOWED_ORIGINS: \"%.*s\" is not an origin (like https://example.com)",
                     (int)len, part);
            return ERR_INVALID;
        }
    }
    struct origins *o = malloc(sizeof(*o));
    assert(o != NULL);
    o->list = list;
    *origins_out = o;
    return 0;
}

void origins_free(struct origins *o)
{
    free(o);
}

bool origins_listed(const struct origins *o, const char *origin, size_t len)
{
    const char *part;
    size_t part_len;
    for (size_t i = 0; config_list_part(o->list, i, &part, &part_len); i++) {
        if (part_len == len && strncasecmp(part, origin, len) == 0) {
            return true;
        }
    }
    return false;
}

bool origins_own(const char *origin, size_t len, bool https, const char *authority,
                 size_t authority_len)
{
    const char *scheme = https ? "https://" : "http://";
    size_t n = strlen(scheme);
    const char *port = https ? ":443" : ":80";
    size_t port_len = strlen(port);
    if (authority_len > port_len &&
        memcmp(authority + authority_len - port_len, port, port_len) == 0) {
        authority_len -= port_len;
    }
    return len == n + authority_len && strncasecmp(origin, scheme, n) == 0 &&
           strncasecmp(origin + n, authority, authority_len) == 0;
}
