// SPDX-License-Identifier: MIT
/*
 * The rule for names stands on both forms: what is written, and what it folds to. A character may
 * be no space and yet fold to one (U+00B4 does), or fold to many (U+FDFA to 18), or to none.
 */
#include "auth-svc/username.h"

#include "auth-svc/text.h"
#include "common/text.h"

#include <string.h>

const char *auth_username_make_key(struct arena *arena, const void *name, size_t n,
                                   const char **reason_out)
{
    size_t characters;

    if (n == 0) {
        *reason_out = "must not be empty";
        return NULL;
    }
    /* A character has at most four bytes: nothing longer is looked at. */
    if (n > (size_t)AUTH_USERNAME_CHARACTERS * 4) {
        *reason_out = "must have at most 32 characters";
        return NULL;
    }
    if (!auth_text_count_characters(AUTH_TEXT_NAME, name, n, &characters)) {
        *reason_out = "must be UTF-8 without spaces and control characters";
        return NULL;
    }
    if (characters > AUTH_USERNAME_CHARACTERS) {
        *reason_out = "must have at most 32 characters";
        return NULL;
    }
    const char *key = text_fold(arena, name, n);
    if (key == NULL || key[0] == '\0' || strlen(key) > AUTH_USERNAME_KEY_BYTES ||
        !auth_text_count_characters(AUTH_TEXT_NAME, key, strlen(key), &characters)) {
        *reason_out = "holds characters that a name cannot have";
        return NULL;
    }
    return key;
}
