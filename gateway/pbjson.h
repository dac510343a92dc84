// SPDX-License-Identifier: MIT
/*
 * JSON to and from any protobuf message by its descriptor, so that no message needs JSON code.
 *
 * The conventions of names and numbers stand in proto/objects.proto and proto/README.md. The owner
 * of jansson, which parses; depth and number of values are bounded before, size by the caller;
 * duplicate names are refused. Any thread; a document is read by one thread at a time.
 */
#pragma once

#include "common/arena.h"
#include "common/buf.h"
#include "common/rpc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PBJSON_DEPTH 16     /* objects and lists within each other */
#define PBJSON_VALUES 16384 /* in one text */

/* What was wrong, in the arena. Functions that fill one in reset it first. */
struct pbjson_problem {
    const char *detail;               /* one sentence; of ERR_INVALID the first of the errors */
    struct rpc_field_error errors[8]; /* of ERR_INVALID: field (nested: "of[2].seq") and reason */
    size_t count;
};

struct pbjson_doc; /* a parsed JSON object; freed by pbjson_free */

/* ERR_BAD_JSON with a sentence (line and column, what is wrong, nothing of the text itself): not
 * JSON, not an object, a name twice, deeper than PBJSON_DEPTH, more than PBJSON_VALUES, not UTF-8,
 * an integer beyond 64 bits. */
int pbjson_parse(const char *text, size_t len, struct arena *arena, struct pbjson_doc **doc_out,
                 struct pbjson_problem *problem) __attribute__((warn_unused_result));
void pbjson_free(struct pbjson_doc *doc); /* takes NULL */

/* Members of the object; false: not there, null, or of another type. Strings are UTF-8 and borrowed
 * from doc; one with a U+0000 counts as of another type. Integers from 0 to 2^53-1. */
bool pbjson_get_string(const struct pbjson_doc *doc, const char *name, const char **s_out,
                       size_t *len_out);
bool pbjson_get_u64(const struct pbjson_doc *doc, const char *name, uint64_t *value_out);
bool pbjson_get_bool(const struct pbjson_doc *doc, const char *name, bool *value_out);
/* The member, an object, as a document of its own that lives as long as doc; NULL: not there or no
 * object. */
const struct pbjson_doc *pbjson_get_object(const struct pbjson_doc *doc, const char *name);
bool pbjson_has(const struct pbjson_doc *doc, const char *name); /* there, and not null */
/* Walks the members' names in the order of the text, those of null too: start with *cursor = NULL;
 * NULL at the end. */
const char *pbjson_next(const struct pbjson_doc *doc, void **cursor);
/* The member's value again as compact JSON text (echoes of a frame's id, of any type); NULL: not
 * there, or null. */
char *pbjson_text(const struct pbjson_doc *doc, const char *name, struct arena *arena);

/*
 * Fills an initialised message from the object's members. Unknown members are ignored, and so are
 * fields numbered from 100; null is as if absent. uint64 takes 0 to 2^53-1, other integers what
 * they hold. ERR_INVALID names every field of a wrong type or value ("must be a string"), the first
 * eight of them; the message is then half filled. Text is copied to the arena. Values of the path
 * are filled in afterwards: a member of the same name must not win.
 */
int pbjson_fill(const struct pbjson_doc *doc, void *message, struct arena *arena,
                struct pbjson_problem *problem) __attribute__((warn_unused_result));
/* One field from text (a path or query value, decoded): ERR_BAD_QUERY with a sentence naming it. An
 * unknown name, a hidden field, a message or a repeated field is 0 and leaves the message alone.
 * Booleans: true/false/1/0. */
int pbjson_fill_text(void *message, const char *field, const char *text, size_t len,
                     struct arena *arena, struct pbjson_problem *problem)
    __attribute__((warn_unused_result));

/* Prints a message as a JSON object at the end of out. A byte that is not UTF-8 prints as U+FFFD.
 */
void pbjson_print(const void *message, struct buf *out);
/* A JSON string with quotes. */
void pbjson_print_string(struct buf *out, const char *s, size_t len);
