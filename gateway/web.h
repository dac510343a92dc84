// SPDX-License-Identifier: MIT
/* The page at "/": for now one line that says what this is. */
#pragma once

extern const char web_page[];
