// SPDX-License-Identifier: MIT
/*
 * The Lua scripts of store_redis.c; what goes in and comes out stands above each in the .c file.
 */
#pragma once

extern const char presence_lua_apply[];
extern const char presence_lua_drop[];
extern const char presence_lua_sweep[];
extern const char presence_lua_told[];
extern const char presence_lua_get[];
extern const char presence_lua_list[];
extern const char presence_lua_attend[];
extern const char presence_lua_over[];
extern const char presence_lua_forget[];
