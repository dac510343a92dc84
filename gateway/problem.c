// SPDX-License-Identifier: MIT
#include "gateway/problem.h"

#include "gateway/pbjson.h"

#include <string.h>

static void add_text(struct buf *out, const char *name, const char *value)
{
    buf_add_str(out, name);
    pbjson_print_string(out, value, strlen(value));
}

void problem_print(struct buf *out, const struct problem *p)
{
    int status = p->status != 0 ? p->status : err_http_status(p->err);
    const char *detail = p->detail != NULL && p->detail[0] != '\0' ? p->detail : err_title(p->err);
    buf_printf(out, "{\"type\":\"/docs#%s\"", err_code(p->err));
    add_text(out, ",\"title\":", err_title(p->err));
    buf_printf(out, ",\"status\":%d", status);
    add_text(out, ",\"detail\":", detail);
    add_text(out, ",\"code\":", err_code(p->err));
    add_text(out, ",\"error\":", detail);
    if (p->request_id != NULL && p->request_id[0] != '\0') {
        add_text(out, ",\"request_id\":", p->request_id);
    }
    if (p->error_count > 0) {
        buf_add_str(out, ",\"errors\":[");
        for (size_t i = 0; i < p->error_count; i++) {
            add_text(out, i > 0 ? ",{\"field\":" : "{\"field\":", p->errors[i].field);
            add_text(out, ",\"reason\":", p->errors[i].reason);
            buf_add_char(out, '}');
        }
        buf_add_char(out, ']');
    }
    buf_add_char(out, '}');
}
