// SPDX-License-Identifier: MIT
/*
 * What users write, as Unicode: is it good UTF-8, how many characters, and the form in which two
 * texts are compared. The owner of utf8proc. Pure; any thread.
 */
#pragma once

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>

enum auth_text_kind {
    AUTH_TEXT_NAME,  /* no spaces of any kind, no control or format characters */
    AUTH_TEXT_LINE,  /* one line: spaces are good */
    AUTH_TEXT_LINES, /* line feeds and tabs too */
};

/* Counts the characters (code points). False: not UTF-8 (RFC 3629), or a character that this kind
 * of text may not hold. */
bool auth_text_count_characters(enum auth_text_kind kind, const void *text, size_t n,
                                size_t *characters_out);
/*
 * The form for comparing: NFKC and case folding, invisible characters dropped (Unicode's
 * toNFKC_Casefold, UAX #31), so that texts which look alike to a hasty reader in case, width or
 * composition become the same bytes. In the arena, with a NUL. NULL: not UTF-8, or it holds
 * code points that Unicode has not assigned (their folding may still change).
 */
char *auth_text_fold(struct arena *arena, const void *text, size_t n, size_t *len_out);
/* The longest beginning of at most `most` bytes that does not cut a character in two. */
size_t auth_text_cut(const char *text, size_t n, size_t most);
