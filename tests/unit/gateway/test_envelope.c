// SPDX-License-Identifier: MIT
/* The content of a frame alone, with each size of a frame's header. */
#include "gateway/envelope.h"

#include "tests/unit/test.h"

TEST(content_of_a_frame)
{
    static const size_t sizes[] = {2, 20, 300, 66000};
    static char content[66000];
    memset(content, 'x', sizeof(content));
    content[0] = '"';
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i];
        content[n - 1] = '"';
        struct frame *f = envelope_frame("message", content, n, NULL);
        struct frame *c = envelope_content(f, "message", n);
        struct frame *direct = frame_new(WSFRAME_TEXT, content, n);
        CHECK_INT(c->len, direct->len);
        CHECK(memcmp(c->data, direct->data, c->len) == 0);
        CHECK_INT(frame_payload(f)[0], '{');
        frame_release(f);
        frame_release(c);
        frame_release(direct);
        content[n - 1] = 'x';
    }
}
