// SPDX-License-Identifier: MIT
/* Heads that two servers could read differently. */
#include "gateway/framing.h"

#include "tests/unit/test.h"

static bool clear(const char *head)
{
    return framing_read(head, strlen(head)) != FRAMING_UNCLEAR;
}

TEST(plain_requests)
{
    CHECK(clear("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    CHECK(clear("GET / HTTP/1.1\nHost: a\n\n"));
    CHECK(clear("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    CHECK(clear("GET / HTTP/1.0\r\n\r\n"));
    CHECK(
        clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nCont\nTransfer-Encoding: x"));
    CHECK(clear("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"));
    CHECK(
        clear("POST / HTTP/1.1\r\nHost: a\r\nX-Content-Length: 1\r\ncontent-length:\t7 \r\n\r\n"));
}

TEST(chunks)
{
    static const char chunked[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n";
    static const char plain[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    CHECK(framing_read(chunked, strlen(chunked)) == FRAMING_CHUNKED);
    CHECK(framing_read(plain, strlen(plain)) == FRAMING_PLAIN);
}

TEST(contradictions)
{
    CHECK(!clear(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"));
    CHECK(!clear(
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 5\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n Content-Length: 5\r\n\r\n"));
    CHECK(!clear("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"));
    CHECK(!clear("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"));
    CHECK(!clear("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"));
    CHECK(!clear("GET / HTTP/1.1\r\nHost: a\r\n"));
    CHECK(!clear("GET / HTTP/1.1\r\n\r\n"));
    CHECK(!clear("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    CHECK(!clear(""));
}
