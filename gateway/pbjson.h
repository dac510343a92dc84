// SPDX-License-Identifier: MIT
/*
 * JSON to and from any protobuf message by its descriptor, so that no message needs JSON code.
 *
 * The conventions of names and numbers stand in proto/objects.proto. The owner of jansson: it
 * parses and prints; size and depth are bounded before, duplicate keys are refused. Any thread.
 */
#pragma once

#include "common/arena.h"
#include "common/buf.h"
#include "common/rpc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PBJSON_DEPTH 16

/* What was wrong: a list of fields (ERR_INVALID), or one sentence (the other errors). */
struct pbjson_problem {
    const char *detail;
    struct rpc_field_error errors[8];
    size_t count;
};

struct pbjson_doc; /* a parsed JSON object; freed by pbjson_free */

/* ERR_BAD_JSON with a sentence (line and column, what is wrong): not JSON, not an object, duplicate
 * key, deeper than PBJSON_DEPTH, not UTF-8, a number out of range. */
int pbjson_parse(const char *text, size_t len, struct arena *arena, struct pbjson_doc **doc_out,
                 struct pbjson_problem *problem);
void pbjson_free(struct pbjson_doc *doc); /* takes NULL */

/* Members of the object; false: not there, or of another type. Strings are borrowed from doc. */
bool pbjson_get_string(const struct pbjson_doc *doc, const char *name, const char **s_out,
                       size_t *len_out);
bool pbjson_has(const struct pbjson_doc *doc, const char *name);
/* The member `name`, an object, as a document of its own that lives as long as doc; NULL: not there or no object. */
const struct pbjson_doc *pbjson_get_object(const struct pbjson_doc *doc, const char *name);
bool pbjson_get_u64(const struct pbjson_doc *doc, const char *name, uint64_t *value_out);
bool pbjson_get_bool(const struct pbjson_doc *doc, const char *name, bool *value_out);
/* Walks members in the order of the text: start with *cursor = NULL; NULL at the end. */
const char *pbjson_next(const struct pbjson_doc *doc, void **cursor);
/* The member's value again as compact JSON text (echoes of a frame's id, of any type). */
char *pbjson_text(const struct pbjson_doc *doc, const char *name, struct arena *arena);

/*
 * Fills an initialised message from the object's members. Unknown members are ignored, and so are fields numbered from
 * 100; null is as if absent. Integers from 0 to 2^53-1 (ids), or what the field's type holds.
 * ERR_INVALID names every field of a wrong type or an unknown enum value ("must be a string"). Text is copied to the arena.
 */
int pbjson_fill(const struct pbjson_doc *doc, void *message, struct arena *arena,
                struct pbjson_problem *problem);
/* One field from text (a path or query value, decoded): ERR_BAD_QUERY with a sentence naming it. An unknown
 * name is 0 and leaves the message alone. Booleans: true/false/1/0. */
int pbjson_fill_text(void *message, const char *field, const char *text, size_t len,
                     struct arena *arena, struct pbjson_problem *problem);

/* Prints a message as a JSON object at the end of out. Bytes that are not UTF-8 print as U+FFFD. */
void pbjson_print(const void *message, struct buf *out);
/* A JSON string with quotes; len bytes of UTF-8. */
void pbjson_print_string(struct buf *out, const char *s, size_t len);
