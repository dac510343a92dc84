// SPDX-License-Identifier: MIT
/* Log: the line's form, quoting, escapes, context, levels, repeats, several threads. */
#include "tests/unit/test.h"

#include "common/err.h"

#include <errno.h>
#include <pthread.h>

static char *text;
static size_t text_size;
static FILE *stream;

/* What the tests below log goes to memory, at a fixed time, until end_capture. */
static void begin_capture(void)
{
    stream = open_memstream(&text, &text_size);
    log_redirect(stream);
    clock_freeze(1769860800000, 1000000);
}

static void end_capture(void)
{
    log_redirect(NULL);
    fclose(stream);
    clock_unfreeze();
}

static size_t count_lines(void)
{
    size_t lines = 0;
    for (const char *c = text; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    return lines;
}

TEST(a_line)
{
    begin_capture();
    log_info("ready", "partitions=%d name=%s", 12, LOG_Q("x y"));
    log_info("no pairs", " ");
    end_capture();
    CHECK_STR(text, "ts=2026-01-31T12:00:00.000Z level=info msg=\"ready\" partitions=12 "
                    "name=\"x y\"\n"
                    "ts=2026-01-31T12:00:00.000Z level=info msg=\"no pairs\"\n");
    free(text);
}

TEST(context_is_added_and_cleared)
{
    char method[] = "Login", trace[] = "00-abc-def-01", request[] = "a \"b\"";
    log_set_service("auth-svc");
    log_set_context(&(struct log_context){
        .method = method, .traceparent = trace, .request_id = request, .user_id = 42});
    memset(method, 'x', 5); /* the context has its own copy */
    begin_capture();
    log_info("one", "k=%d", 1);
    log_set_context(&(struct log_context){.user_id = 7, .request_id = ""});
    log_info("two", " ");
    log_set_context(NULL);
    log_info("three", " ");
    log_set_service(NULL);
    log_info("four", " ");
    end_capture();
    CHECK_STR(text, "ts=2026-01-31T12:00:00.000Z level=info svc=auth-svc msg=\"one\" method=Login "
                    "trace=00-abc-def-01 request=\"a \\\"b\\\"\" user=42 k=1\n"
                    "ts=2026-01-31T12:00:00.000Z level=info svc=auth-svc msg=\"two\" user=7\n"
                    "ts=2026-01-31T12:00:00.000Z level=info svc=auth-svc msg=\"three\"\n"
                    "ts=2026-01-31T12:00:00.000Z level=info msg=\"four\"\n");
    free(text);
}

TEST(long_context_is_cut)
{
    char request[1000];
    memset(request, 'r', sizeof(request) - 1);
    request[sizeof(request) - 1] = '\0';
    log_set_context(&(struct log_context){.request_id = request});
    begin_capture();
    log_info("x", " ");
    end_capture();
    log_set_context(NULL);
    CHECK(text_size > 100 && text_size < 300);
    free(text);
}

TEST(quote_escapes)
{
    CHECK_STR(log_quote(NULL), "\"\"");
    CHECK_STR(log_quote(""), "\"\"");
    CHECK_STR(log_quote("plain"), "\"plain\"");
    CHECK_STR(log_quote("a\"b\\c\nd\re\tf"), "\"a\\\"b\\\\c\\nd\\re\\tf\"");
    CHECK_STR(log_quote("\x01\x1b[31m\x7f"), "\"\\x01\\x1b[31m\\x7f\"");
    CHECK_STR(log_quote_n("a\0b", 3), "\"a\\x00b\"");
    CHECK_STR(log_quote("grün 日本 🙂"), "\"grün 日本 🙂\"");
    CHECK_STR(log_quote("\xc2\x9b"), "\"\\xc2\\x9b\"");          /* C1: starts a sequence */
    CHECK_STR(log_quote("\xe2\x80\xa8"), "\"\\xe2\\x80\\xa8\""); /* line separator */
    CHECK_STR(log_quote("\xc0\xaf"), "\"\\xc0\\xaf\"");          /* overlong */
    CHECK_STR(log_quote("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\""); /* a surrogate */
    CHECK_STR(log_quote("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\""); /* above U+10FFFF */
    CHECK_STR(log_quote_n("\xf0\x9f\x99\x82", 3), "\"\\xf0\\x9f\\x99\""); /* torn */
}

TEST(quote_cuts_between_characters)
{
    char s[3001];
    for (size_t fill = 0; fill < 4; fill++) { /* each place in a character of three bytes */
        memset(s, '.', fill);
        for (size_t i = fill; i + 3 < sizeof(s); i += 3) {
            memcpy(s + i, "日", 4);
        }
        const char *quoted = log_quote(s);
        size_t len = strlen(quoted);
        CHECK(len > 495 && len <= 505);
        CHECK_STR(quoted + len - 4, "…\"");
        CHECK(strstr(quoted, "\\x") == NULL);
    }
    memset(s, '\n', 3000);
    s[3000] = '\0';
    CHECK(strlen(log_quote(s)) <= 505);
}

TEST(eight_quotes_live_at_a_time)
{
    const char *quoted[8];
    char s[2] = "a";
    for (int i = 0; i < 8; i++) {
        s[0] = (char)('a' + i);
        quoted[i] = log_quote(s);
    }
    for (int i = 0; i < 8; i++) {
        CHECK_INT(quoted[i][1], 'a' + i);
    }
}

TEST(raw_line_breaks_do_not_forge_lines)
{
    begin_capture();
    log_info("x", "k=%s", "a\nts=2026 level=error\x1b[2J");
    end_capture();
    CHECK_INT(count_lines(), 1);
    CHECK(strstr(text, "k=a?ts=2026 level=error?[2J\n") != NULL);
    free(text);
}

TEST(long_lines_are_cut_and_end)
{
    char s[10000];
    memset(s, 'z', sizeof(s) - 1);
    s[sizeof(s) - 1] = '\0';
    begin_capture();
    log_info("x", "k=%s", s);
    log_info("y", "k=%d", 1);
    end_capture();
    CHECK_INT(count_lines(), 2);
    CHECK(strchr(text, '\n') - text < 4096);
    CHECK(strchr(text, '\n') - text > 4000);
    free(text);
}

TEST(levels)
{
    enum log_level level = LOG_ERROR;
    CHECK_INT(log_parse_level("debug", &level), 0);
    CHECK_INT(level, LOG_DEBUG);
    CHECK_INT(log_parse_level("WARN", &level), 0);
    CHECK_INT(level, LOG_WARN);
    CHECK_INT(log_parse_level("loud", &level), ERR_INVALID);
    CHECK_INT(log_parse_level("", &level), ERR_INVALID);
    CHECK_INT(level, LOG_WARN);

    CHECK_INT(log_get_level(), LOG_INFO);
    begin_capture();
    log_debug("hidden", " ");
    log_set_level(LOG_DEBUG);
    log_debug("shown", " ");
    log_set_level(LOG_ERROR);
    log_warn("hidden", " ");
    log_set_level(LOG_INFO);
    end_capture();
    CHECK_INT(count_lines(), 1);
    CHECK(strstr(text, "level=debug msg=\"shown\"") != NULL);
    free(text);
}

TEST(warnings_are_counted)
{
    EXPECT_WARNINGS(2);
    uint64_t before = log_warnings();
    begin_capture();
    log_info("no", " ");
    log_warn("yes", " ");
    log_error("yes", " ");
    end_capture();
    CHECK_INT(log_warnings() - before, 2);
    free(text);
}

static void log_once(int i)
{
    log_info("same", "i=%d", i);
}

TEST(repeats_are_left_out_and_told)
{
    begin_capture();
    for (int i = 0; i < 50; i++) {
        log_once(i);
    }
    CHECK_INT(count_lines(), 20);
    log_info("another line is not held back", " ");
    CHECK_INT(count_lines(), 21);
    clock_freeze(1769860801000, 2000000);
    log_once(50);
    log_once(51);
    end_capture();
    CHECK_INT(count_lines(), 23);
    CHECK(strstr(text, "msg=\"same\" left_out=30 i=50\n") != NULL);
    CHECK(strstr(text, "msg=\"same\" i=51\n") != NULL);
    free(text);
}

TEST(errno_survives)
{
    begin_capture();
    for (int i = 0; i < 30; i++) {
        errno = ENOENT;
        log_info("x", "i=%d", i);
        CHECK_INT(errno, ENOENT);
    }
    end_capture();
    free(text);
}

static void *log_from_thread(void *arg)
{
    const char *name = arg;
    log_set_service(name);
    log_set_context(&(struct log_context){.method = name});
    for (int i = 0; i < 500; i++) {
        log_info("threads", "name=%s", LOG_Q(name));
    }
    return NULL;
}

TEST(threads_do_not_mix)
{
    static char names[4][8] = {"one", "two", "three", "four"};
    pthread_t threads[4];
    begin_capture();
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, log_from_thread, names[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    end_capture();
    CHECK_INT(count_lines(), 20);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        CHECK(strncmp(line, "ts=2026", 7) == 0);
    }
    free(text);
}
