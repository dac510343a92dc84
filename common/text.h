// SPDX-License-Identifier: MIT
/*
 * Text that users write: is it UTF-8, how many characters has it, what does it look like without
 * regard to case. Pure; any thread. The owner of utf8proc, with auth-svc/text, which asks it for
 * the categories of characters.
 */
#pragma once

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>

enum text_controls {
    TEXT_NO_CONTROLS, /* none of U+0000–1F, U+007F–9F */
    TEXT_NAME,        /* as those; and nothing that breaks a line, hides, or turns what follows */
    TEXT_LINES,       /* of these tab, line feed and carriage return may stand in it */
    TEXT_ANY_BUT_NUL,
};

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF) with no control
 * characters but those allowed. chars_out (may be NULL): the number of code points. */
bool text_is_valid(const void *p, size_t n, enum text_controls controls, size_t *chars_out);

/*
 * TEXT_NAME is for what stands on one line among the words of others: nicknames, names of groups.
 * Refused are line and paragraph separators, embeddings, overrides and isolates of direction (UAX
 * #9), and characters without width, but for joiners and directional marks, which some scripts and
 * emoji need and which change nothing beyond their place.
 */

/* What a page puts into its markup as the address of a picture: NULL, or why not, to be read after
 * the field's name. Empty, or at most 512 bytes: an http or https URL, or a path on this site.
 * Other schemes (javascript:, data:) are refused. */
const char *text_check_url(const void *p, size_t n);

/* NFKC and case-folded (Unicode's toNFKC_Casefold), NUL-terminated, in the arena: two texts that
 * differ only in case or form become equal. NULL: not valid UTF-8, or with a U+0000. */
char *text_fold(struct arena *arena, const void *p, size_t n);
