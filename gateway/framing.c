// SPDX-License-Identifier: MIT
#include "gateway/framing.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct seen {
    int length, encoding, host;
};

static bool is_digits(const char *s, const char *end)
{
    while (s < end && (*s == ' ' || *s == '\t')) {
        s++;
    }
    while (end > s && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) {
        end--;
    }
    if (s == end) {
        return false;
    }
    for (; s < end; s++) {
        if (*s < '0' || *s > '9') {
            return false;
        }
    }
    return true;
}

static bool line_is_clear(const char *line, const char *end, struct seen *seen)
{
    if (*line == ' ' || *line == '\t') {
        return false;
    }
    const char *colon = memchr(line, ':', (size_t)(end - line));
    if (colon == NULL || colon == line || colon[-1] == ' ' || colon[-1] == '\t') {
        return false;
    }
    size_t n = (size_t)(colon - line);
    if (n == 14 && strncasecmp(line, "content-length", n) == 0) {
        seen->length++;
        return is_digits(colon + 1, end);
    }
    if (n == 17 && strncasecmp(line, "transfer-encoding", n) == 0) {
        seen->encoding++;
    } else if (n == 4 && strncasecmp(line, "host", n) == 0) {
        seen->host++;
    }
    return true;
}

/* old: HTTP/1.0, which has no chunks and needs no Host. */
static enum framing judge(const struct seen *seen, bool old)
{
    if (seen->length + seen->encoding > 1 || seen->host > 1 || (seen->host == 0 && !old) ||
        (seen->encoding == 1 && old)) {
        return FRAMING_UNCLEAR;
    }
    return seen->encoding == 1 ? FRAMING_CHUNKED : FRAMING_PLAIN;
}

enum framing framing_read(const char *head, size_t len)
{
    const char *end = head + len;
    /* Empty lines before the request line are skipped by the parser. */
    while (head < end && (*head == '\r' || *head == '\n')) {
        head++;
    }
    const char *line = memchr(head, '\n', (size_t)(end - head));
    size_t first = line != NULL ? (size_t)(line - head) : 0;
    bool old = memmem(head, first, " HTTP/1.0", 9) != NULL;
    struct seen seen = {0};
    while (line != NULL && ++line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL) {
            return FRAMING_UNCLEAR; /* a head without an end never gets here */
        }
        if (*line == '\n' || (*line == '\r' && line + 1 == stop)) {
            return judge(&seen, old);
        }
        if (!line_is_clear(line, stop, &seen)) {
            return FRAMING_UNCLEAR;
        }
        line = stop;
    }
    return FRAMING_UNCLEAR;
}
