// SPDX-License-Identifier: MIT
#include "gateway/web.h"

const char web_page[] = "<!doctype html>\n"
                        "<html lang=\"en\">\n"
                        "<head><meta charset=\"utf-8\"><title>chat</title></head>\n"
                        "<body><h1>chat</h1><p>The gateway is running. Clients talk to "
                        "<code>/api</code>.</p></body>\n"
                        "</html>\n";
