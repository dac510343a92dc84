// SPDX-License-Identifier: MIT
/*
 * Takes a mysql:// URL apart (RFC 3986's form; the meaning of its parts is in db.h) and looks
 * whether its CA file is there. No library and no connection here.
 */
#include "common/db_impl.h"

#include "common/buf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The part with its %XX resolved; NULL when one is not hexadecimal or NUL. */
static char *decoded(const char *s, size_t n)
{
    struct buf text;

    buf_init(&text);
    buf_reserve(&text, n + 1);
    for (size_t i = 0; i < n; i++) {
        char byte = s[i];

        if (byte == '%') {
            char hex[3] = {0};

            if (i + 2 >= n || !isxdigit((unsigned char)s[i + 1]) ||
                !isxdigit((unsigned char)s[i + 2])) {
                buf_done(&text);
                return NULL;
            }
            memcpy(hex, s + i + 1, 2);
            byte = (char)strtol(hex, NULL, 16);
            i += 2;
        }
        if (byte == '\0') {
            buf_done(&text);
            return NULL;
        }
        buf_add_char(&text, byte);
    }
    buf_add_str(&text, "");
    return buf_take(&text);
}

static bool parse_port(struct db_mysql_url *u, const char *s, size_t n)
{
    unsigned long port = 0;

    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)s[i]) || port > 65535) {
            return false;
        }
        port = port * 10 + (unsigned long)(s[i] - '0');
    }
    u->port = (unsigned)port;
    return n > 0 && port > 0 && port <= 65535;
}

/* user:password@host:port; all but the host may be absent. */
static bool parse_authority(struct db_mysql_url *u, const char *s, size_t n)
{
    const char *at = memrchr(s, '@', n);
    const char *host = at != NULL ? at + 1 : s, *end = s + n;

    if (at != NULL) {
        const char *colon = memchr(s, ':', (size_t)(at - s));
        const char *user_end = colon != NULL ? colon : at;

        u->user = decoded(s, (size_t)(user_end - s));
        u->password = colon != NULL ? decoded(colon + 1, (size_t)(at - colon - 1)) : NULL;
        if (u->user == NULL || (colon != NULL && u->password == NULL)) {
            return false;
        }
    }
    const char *host_end;
    if (host < end && *host == '[') { /* an IPv6 address */
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end == NULL) {
            return false;
        }
        u->host = decoded(host + 1, (size_t)(host_end - host - 1));
        host_end++;
    } else {
        const char *colon = memchr(host, ':', (size_t)(end - host));
        host_end = colon != NULL ? colon : end;
        u->host = decoded(host, (size_t)(host_end - host));
    }
    if (u->host == NULL || u->host[0] == '\0') {
        return false;
    }
    u->port = 3306;
    return host_end == end ||
           (*host_end == ':' && parse_port(u, host_end + 1, (size_t)(end - host_end - 1)));
}

/* tls=… and ca=…, separated by '&'. */
static bool parse_options(struct db_mysql_url *u, const char *s)
{
    static const char *const words[] = {
        [DB_TLS_OFF] = "off", [DB_TLS_ON] = "on", [DB_TLS_VERIFY] = "verify"};

    while (*s != '\0') {
        size_t n = strcspn(s, "&");

        if (n > 3 && strncmp(s, "ca=", 3) == 0 && u->ca == NULL) {
            u->ca = decoded(s + 3, n - 3);
            if (u->ca == NULL) {
                return false;
            }
        } else if (n > 4 && strncmp(s, "tls=", 4) == 0) {
            size_t i = 0;

            while (i < 3 && (strlen(words[i]) != n - 4 || strncmp(words[i], s + 4, n - 4) != 0)) {
                i++;
            }
            if (i == 3) {
                return false;
            }
            u->tls = (enum db_tls)i;
        } else {
            return false;
        }
        s += n + (s[n] == '&' ? 1 : 0);
    }
    return u->ca == NULL || u->tls != DB_TLS_OFF;
}

static const char *parse(struct db_mysql_url *u, const char *url)
{
    static const char prefix[] = "mysql://";

    if (strncmp(url, prefix, sizeof(prefix) - 1) != 0) {
        return "it begins with mysql://";
    }
    url += sizeof(prefix) - 1;
    const char *path = strchr(url, '/');
    if (path == NULL) {
        return "it ends in /SCHEMA";
    }
    if (!parse_authority(u, url, (size_t)(path - url))) {
        return "user, password, host or port is not well-formed";
    }
    size_t n = strcspn(path + 1, "?");
    u->schema = decoded(path + 1, n);
    if (u->schema == NULL || u->schema[0] == '\0' || strchr(u->schema, '/') != NULL) {
        return "it ends in /SCHEMA";
    }
    if (path[1 + n] == '?' && !parse_options(u, path + 1 + n + 1)) {
        return "behind the ? stand tls=off, on or verify, and with on and verify ca=FILE";
    }
    if (u->ca != NULL && access(u->ca, R_OK) != 0) {
        return "the file behind ca= cannot be read";
    }
    return NULL;
}

void db_mysql_url_done(struct db_mysql_url *u)
{
    free(u->host);
    free(u->user);
    free(u->password);
    free(u->schema);
    free(u->ca);
    *u = (struct db_mysql_url){0};
}

const char *db_mysql_url_parse(struct db_mysql_url *out, const char *url)
{
    *out = (struct db_mysql_url){0};
    const char *wrong = parse(out, url);
    if (wrong != NULL) {
        db_mysql_url_done(out);
    }
    return wrong;
}
