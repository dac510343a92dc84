// SPDX-License-Identifier: MIT
/*
 * Addresses are compared as 16 bytes; IPv4 stands in them as ::ffff:a.b.c.d (RFC 4291).
 */
#include "gateway/proxies.h"

#include "common/config.h"
#include "common/err.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NETWORKS_MAX 64

struct network {
    struct in6_addr base;
    unsigned bits;
};

struct proxies {
    struct network networks[NETWORKS_MAX];
    size_t count;
};

static const unsigned char mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool parse(const char *text, struct in6_addr *out, bool *v4_out)
{
    struct in_addr v4;
    *v4_out = inet_pton(AF_INET, text, &v4) == 1;
    if (*v4_out) {
        memcpy(out->s6_addr, mapped_prefix, 12);
        memcpy(out->s6_addr + 12, &v4, 4);
        return true;
    }
    return inet_pton(AF_INET6, text, out) == 1;
}

static void print(const struct in6_addr *address, char out[PROXIES_ADDRESS_SIZE])
{
    if (memcmp(address->s6_addr, mapped_prefix, 12) == 0) {
        inet_ntop(AF_INET, address->s6_addr + 12, out, PROXIES_ADDRESS_SIZE);
    } else {
        inet_ntop(AF_INET6, address, out, PROXIES_ADDRESS_SIZE);
    }
}

static int parse_network(const char *part, size_t len, struct network *out)
{
    char text[64];
    if (len >= sizeof(text)) {
        return ERR_INVALID;
    }
    memcpy(text, part, len);
    text[len] = '\0';
    char *slash = strchr(text, '/');
    long bits = -1;
    if (slash != NULL) {
        *slash = '\0';
        char *end;
        bits = strtol(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end != '\0') {
            return ERR_INVALID;
        }
    }
    bool v4;
    if (!parse(text, &out->base, &v4)) {
        return ERR_INVALID;
    }
    long most = v4 ? 32 : 128;
    if (bits > most) {
        return ERR_INVALID;
    }
    out->bits = (unsigned)((bits < 0 ? most : bits) + (v4 ? 96 : 0));
    return 0;
}

int proxies_new(const char *list, struct proxies **proxies_out, char *problem, size_t problem_size)
{
    struct proxies *p = calloc(1, sizeof(*p));
    assert(p != NULL);
    const char *part;
    size_t len;
    for (size_t i = 0; config_list_part(list, i, &part, &len); i++) {
        if (i >= NETWORKS_MAX || parse_network(part, len, &p->networks[p->count++]) != 0) {
            snprintf(problem, problem_size, "TRUSTED_PROXIES: \"%.*s\" is not a network", (int)len,
                     part);
            free(p);
            return ERR_INVALID;
        }
    }
    *proxies_out = p;
    return 0;
}

void proxies_free(struct proxies *p)
{
    free(p);
}

static bool network_has(const struct network *n, const struct in6_addr *address)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->base.s6_addr, address->s6_addr, whole) != 0) {
        return false;
    }
    if (rest == 0) {
        return true;
    }
    unsigned mask = 0xff00u >> rest & 0xff;
    return ((n->base.s6_addr[whole] ^ address->s6_addr[whole]) & mask) == 0;
}

static bool trusted(const struct proxies *p, const struct in6_addr *address)
{
    for (size_t i = 0; i < p->count; i++) {
        if (network_has(&p->networks[i], address)) {
            return true;
        }
    }
    return false;
}

bool proxies_trust(const struct proxies *p, const char *address)
{
    struct in6_addr a;
    bool v4;
    return p->count > 0 && parse(address, &a, &v4) && trusted(p, &a);
}

/* The last element of a comma-separated list, which is cut off from it; trimmed. */
static bool last_element(const char *list, size_t *len, char out[64])
{
    size_t end = *len;
    if (end == 0) {
        return false;
    }
    size_t start = end;
    while (start > 0 && list[start - 1] != ',') {
        start--;
    }
    *len = start > 0 ? start - 1 : 0;
    while (start < end && (list[start] == ' ' || list[start] == '\t')) {
        start++;
    }
    while (end > start && (list[end - 1] == ' ' || list[end - 1] == '\t')) {
        end--;
    }
    if (end - start >= 64) {
        return false;
    }
    memcpy(out, list + start, end - start);
    out[end - start] = '\0';
    return true;
}

void proxies_client(const struct proxies *p, const char *peer, const char *forwarded_for,
                    size_t len, char out[PROXIES_ADDRESS_SIZE])
{
    struct in6_addr current;
    bool v4;
    if (!parse(peer, &current, &v4)) {
        snprintf(out, PROXIES_ADDRESS_SIZE, "%s", peer);
        return;
    }
    char element[64];
    struct in6_addr next;
    while (p->count > 0 && trusted(p, &current) && last_element(forwarded_for, &len, element) &&
           parse(element, &next, &v4)) {
        current = next;
    }
    print(&current, out);
}

bool proxies_https(const struct proxies *p, const char *peer, const char *forwarded_proto,
                   size_t len, bool direct)
{
    char element[64];
    if (!proxies_trust(p, peer) || !last_element(forwarded_proto, &len, element)) {
        return direct;
    }
    return strcasecmp(element, "https") == 0 || strcasecmp(element, "wss") == 0;
}

void proxies_address(const struct sockaddr *sa, char out[PROXIES_ADDRESS_SIZE])
{
    out[0] = '\0';
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, out, PROXIES_ADDRESS_SIZE);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        print(&in6.sin6_addr, out);
    }
}
