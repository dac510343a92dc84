// SPDX-License-Identifier: MIT
#include "gateway/envelope.h"

#include "common/clock.h"
#include "common/err.h"
#include "gateway/pbjson.h"

#include <string.h>

static void begin(struct buf *out, const char *type)
{
    buf_add_str(out, "{\"type\":\"");
    buf_add_str(out, type);
    buf_add_str(out, "\",\"content\":");
}

static void end(struct buf *out, const char *id)
{
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_now_ms(), now);
    buf_add_str(out, ",\"timestamp\":\"");
    buf_add_str(out, now);
    buf_add_char(out, '"');
    if (id != NULL) {
        buf_add_str(out, ",\"id\":");
        buf_add_str(out, id);
    }
    buf_add_char(out, '}');
}

void envelope_print(struct buf *out, const char *type, const char *content, size_t len,
                    const char *id)
{
    begin(out, type);
    buf_add(out, content, len);
    end(out, id);
}

struct frame *envelope_frame(const char *type, const char *content, size_t len, const char *id)
{
    struct buf text;
    buf_init(&text);
    envelope_print(&text, type, content, len, id);
    struct frame *f = frame_new(WSFRAME_TEXT, text.data, text.len);
    buf_done(&text);
    return f;
}

struct frame *envelope_content(const struct frame *f, const char *type, size_t len)
{
    struct buf head;
    buf_init(&head);
    begin(&head, type);
    struct frame *content = frame_new(WSFRAME_TEXT, frame_payload(f) + head.len, len);
    buf_done(&head);
    return content;
}

struct frame *envelope_frame_message(const char *type, const void *message)
{
    struct buf text;
    buf_init(&text);
    begin(&text, type);
    pbjson_print(message, &text);
    end(&text, NULL);
    struct frame *f = frame_new(WSFRAME_TEXT, text.data, text.len);
    buf_done(&text);
    return f;
}

static void add_text(struct buf *out, const char *name, const char *value)
{
    buf_add_str(out, name);
    pbjson_print_string(out, value, strlen(value));
}

struct frame *envelope_frame_error(int err, const char *detail,
                                   const struct rpc_field_error *errors, size_t error_count,
                                   const char *id)
{
    struct buf text;
    buf_init(&text);
    begin(&text, "error");
    add_text(&text, "{\"code\":", err_code(err));
    add_text(&text, ",\"detail\":", detail != NULL && detail[0] != '\0' ? detail : err_title(err));
    for (size_t i = 0; i < error_count; i++) {
        buf_add_str(&text, i == 0 ? ",\"errors\":[" : ",");
        add_text(&text, "{\"field\":", errors[i].field);
        add_text(&text, ",\"reason\":", errors[i].reason);
        buf_add_str(&text, i + 1 == error_count ? "}]" : "}");
    }
    buf_add_char(&text, '}');
    end(&text, id);
    struct frame *f = frame_new(WSFRAME_TEXT, text.data, text.len);
    buf_done(&text);
    return f;
}

void envelope_add_time(struct buf *out, int64_t ms)
{
    if (ms == 0) {
        buf_add_str(out, "null");
        return;
    }
    char text[CLOCK_RFC3339_SIZE];
    clock_rfc3339(ms, text);
    buf_add_char(out, '"');
    buf_add_str(out, text);
    buf_add_char(out, '"');
}
