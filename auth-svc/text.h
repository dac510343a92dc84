// SPDX-License-Identifier: MIT
/*
 * Which characters users may write where, by their Unicode categories. What common/text does not
 * ask: spaces and characters that hide or turn text. Pure; any thread.
 */
#pragma once

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>

enum auth_text_kind {
    AUTH_TEXT_NAME,  /* assigned characters only; no spaces, no invisible characters but joiners */
    AUTH_TEXT_LINES, /* spaces, line feeds and tabs too */
};

/* Counts the characters (code points). False: not UTF-8 (RFC 3629), or a character that this kind
 * of text may not hold. No kind holds control characters or overrides of direction. */
bool auth_text_count_characters(enum auth_text_kind kind, const void *text, size_t n,
                                size_t *characters_out);
/* What a header said (User-Agent, address), fit to be kept: cut at `most` bytes, never within a
 * character; "" when it is not a line of UTF-8. */
const char *auth_text_clean_line(struct arena *arena, const char *text, size_t most);
