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
    TEXT_LINES,       /* of these tab, line feed and carriage return may stand in it */
    TEXT_ANY_BUT_NUL,
};

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF) with no control
 * characters but those allowed. chars_out (may be NULL): the number of code points. */
bool text_is_valid(const void *p, size_t n, enum text_controls controls, size_t *chars_out);

/* NFKC and case-folded (Unicode's toNFKC_Casefold), NUL-terminated, in the arena: two texts that
 * differ only in case or form become equal. NULL: not valid UTF-8, or with a U+0000. */
char *text_fold(struct arena *arena, const void *p, size_t n);
