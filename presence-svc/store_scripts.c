// SPDX-License-Identifier: MIT
/*
 * The changes in Redis: one Lua script each, on one shard (keys.h). Numbers that must be exact come
 * and go as text: Lua's are doubles, exact up to 2^53, which holds users and times; incarnations
 * are compared as text of 20 digits.
 *
 * A script's only key is the beginning of the shard's keys; it makes the others from that, all with
 * the same hash tag.
 */
#include "presence-svc/store_scripts.h"

#include "presence-svc/keys.h"

/* turn: the user's status is another one now. let_go: a gateway has let go of them; of somebody
 * never heard of it is told as well, since Redis may have lost what others know. drop: a gateway's
 * users are let go. */
#define LUA_COMMON                                                                                 \
    "local p, now = KEYS[1], tonumber(ARGV[1])\n"                                                  \
    "local function turn(u)\n"                                                                     \
    "  local k = p .. 'seen:' .. u\n"                                                              \
    "  local v = tonumber(redis.call('HGET', k, 'v') or '0')\n"                                    \
    "  v = string.format('%.0f', math.max(v + 1, now))\n"                                          \
    "  redis.call('HSET', k, 'v', v)\n"                                                            \
    "  redis.call('ZADD', p .. 'untold', ARGV[1], u)\n"                                            \
    "  return v\n"                                                                                 \
    "end\n"                                                                                        \
    "local function let_go(u)\n"                                                                   \
    "  if redis.call('SCARD', p .. 'at:' .. u) == 0 and\n"                                         \
    "     (redis.call('ZSCORE', p .. 'online', u) or\n"                                            \
    "      redis.call('EXISTS', p .. 'seen:' .. u) == 0) then\n"                                   \
    "    redis.call('ZADD', p .. 'leaving', 'NX', ARGV[1], u)\n"                                   \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local function drop(gw)\n"                                                                    \
    "  for _, u in ipairs(redis.call('SMEMBERS', p .. 'of:' .. gw)) do\n"                          \
    "    redis.call('SREM', p .. 'at:' .. u, gw)\n"                                                \
    "    let_go(u)\n"                                                                              \
    "  end\n"                                                                                      \
    "  redis.call('DEL', p .. 'of:' .. gw)\n"                                                      \
    "end\n"

/* now, gateway, incarnation, then "+<user>" or "-<user>" in order. Returns user, version of those
 * who went online. Without users: a new incarnation takes over. */
const char presence_lua_apply[] = LUA_COMMON
    "local gw, inc, out = ARGV[2], ARGV[3], {}\n"
    "local k = p .. 'inc:' .. gw\n"
    "local known = redis.call('GET', k)\n"
    "if known and known > inc then return out end\n"
    "if known ~= inc then drop(gw) end\n"
    "redis.call('SET', k, inc)\n"
    "for i = 4, #ARGV do\n"
    "  local u = string.sub(ARGV[i], 2)\n"
    "  if string.sub(ARGV[i], 1, 1) == '+' then\n"
    "    redis.call('SADD', p .. 'at:' .. u, gw)\n"
    "    redis.call('SADD', p .. 'of:' .. gw, u)\n"
    "    redis.call('ZREM', p .. 'leaving', u)\n"
    "    if redis.call('ZADD', p .. 'online', 'NX', u, u) == 1 then\n"
    "      out[#out + 1] = u\n"
    "      out[#out + 1] = turn(u)\n"
    "      redis.call('PERSIST', p .. 'seen:' .. u)\n"
    "    end\n"
    "  else\n"
    "    redis.call('SREM', p .. 'at:' .. u, gw)\n"
    "    redis.call('SREM', p .. 'of:' .. gw, u)\n"
    "    let_go(u)\n"
    "  end\n"
    "end\n"
    "return out\n";

/* now, gateway, incarnation: its lease is over. The incarnation is kept for an hour, so that what
 * still comes from older ones is known as such. */
const char presence_lua_drop[] = LUA_COMMON "local k = p .. 'inc:' .. ARGV[2]\n"
                                            "local known = redis.call('GET', k)\n"
                                            "if known and known > ARGV[3] then return 0 end\n"
                                            "drop(ARGV[2])\n"
                                            "redis.call('PEXPIRE', k, " PRESENCE_INC_MS ")\n"
                                            "return 1\n";

/* now, who left before this goes offline, who was tried before this is told again. Returns how many
 * are online, then the changed (user, version, seen), then those to tell again (user, version,
 * seen, online). At most 500 of each; the next sweep goes on. */
const char presence_lua_sweep[] = LUA_COMMON
    "local changed, again = {}, {}\n"
    "local l = redis.call('ZRANGEBYSCORE', p .. 'untold', '-inf', ARGV[3], 'LIMIT', 0, 500)\n"
    "for _, u in ipairs(l) do\n"
    "  local s = redis.call('HMGET', p .. 'seen:' .. u, 'v', 'at')\n"
    "  if s[1] then\n"
    "    redis.call('ZADD', p .. 'untold', ARGV[1], u)\n"
    "    local online = redis.call('ZSCORE', p .. 'online', u)\n"
    "    for _, x in ipairs({u, s[1], s[2] or '0', online and '1' or '0'}) do\n"
    "      again[#again + 1] = x\n"
    "    end\n"
    "  else\n"
    "    redis.call('ZREM', p .. 'untold', u)\n"
    "  end\n"
    "end\n"
    "l = redis.call('ZRANGEBYSCORE', p .. 'leaving', '-inf', ARGV[2], 'WITHSCORES',\n"
    "               'LIMIT', 0, 500)\n"
    "for i = 1, #l, 2 do\n"
    "  local u, k = l[i], p .. 'seen:' .. l[i]\n"
    "  local at = string.format('%.0f', tonumber(l[i + 1]))\n"
    "  redis.call('ZREM', p .. 'leaving', u)\n"
    "  redis.call('ZREM', p .. 'online', u)\n"
    "  for _, x in ipairs({u, turn(u), at}) do changed[#changed + 1] = x end\n"
    "  redis.call('HSET', k, 'at', at)\n"
    "  redis.call('PEXPIRE', k, " PRESENCE_SEEN_MS ")\n"
    "end\n"
    "return {redis.call('ZCARD', p .. 'online'), changed, again}\n";

/* user, version, … : told in this version. */
const char presence_lua_told[] =
    "local p = KEYS[1]\n"
    "for i = 1, #ARGV, 2 do\n"
    "  if redis.call('HGET', p .. 'seen:' .. ARGV[i], 'v') == ARGV[i + 1] then\n"
    "    redis.call('ZREM', p .. 'untold', ARGV[i])\n"
    "  end\n"
    "end\n"
    "return 0\n";

/* user, … Returns for each version, seen, online. */
const char presence_lua_get[] =
    "local p, out = KEYS[1], {}\n"
    "for _, u in ipairs(ARGV) do\n"
    "  local s = redis.call('HMGET', p .. 'seen:' .. u, 'v', 'at')\n"
    "  out[#out + 1] = s[1] or '0'\n"
    "  out[#out + 1] = s[2] or '0'\n"
    "  out[#out + 1] = redis.call('ZSCORE', p .. 'online', u) and '1' or '0'\n"
    "end\n"
    "return out\n";

/* after which user, how many. Returns user, version. */
const char presence_lua_list[] =
    "local p, out = KEYS[1], {}\n"
    "local l = redis.call('ZRANGEBYSCORE', p .. 'online', '(' .. ARGV[1], '+inf',\n"
    "                     'LIMIT', 0, ARGV[2])\n"
    "for _, u in ipairs(l) do\n"
    "  out[#out + 1] = u\n"
    "  out[#out + 1] = redis.call('HGET', p .. 'seen:' .. u, 'v') or '0'\n"
    "end\n"
    "return out\n";

/* gateway, incarnation, lease until, connections, users, and flags: 'r' register if need be, 'b' a
 * beat, 'l' leaving, 'a' answered. States: 0 registered, 1 asked for all its users, 2 complete.
 * Returns -1: an older one; 0: not known here (and no 'r'); 1: asked now; 2: all is well. */
const char presence_lua_attend[] =
    "local p, gw, inc, lease, f = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[6]\n"
    "local known, connections, users, state\n"
    "local entry = redis.call('HGET', p .. 'gateways', gw)\n"
    "if entry then\n"
    "  known, connections, users, state = string.match(entry, '^(%d+) (%d+) (%d+) (%d)$')\n"
    "end\n"
    "if known and known > inc then return -1 end\n"
    "local result = 2\n"
    "if known ~= inc then\n"
    "  if not string.find(f, 'r') then return 0 end\n"
    "  connections, users, state = '0', '0', '0'\n"
    "  redis.call('ZADD', p .. 'leases', lease, gw)\n"
    "elseif string.find(f, 'a') and state == '1' then\n"
    "  state = '2'\n"
    "end\n"
    "if string.find(f, 'b') then\n"
    "  connections, users = ARGV[4], ARGV[5]\n"
    "  if string.find(f, 'l') then\n"
    "    lease = '0'\n"
    "  elseif state ~= '2' then\n"
    "    state, result = '1', 1\n"
    "  end\n"
    "  redis.call('ZADD', p .. 'leases', lease, gw)\n"
    "end\n"
    "redis.call('HSET', p .. 'gateways', gw,\n"
    "           inc .. ' ' .. connections .. ' ' .. users .. ' ' .. state)\n"
    "return result\n";

/* until when leases are over. Marks the gateways as not complete: one that beats again while its
 * users are dropped is asked for them. Returns gateway, incarnation. */
const char presence_lua_over[] =
    "local p, out = KEYS[1], {}\n"
    "local l = redis.call('ZRANGEBYSCORE', p .. 'leases', '-inf', ARGV[1], 'LIMIT', 0, 16)\n"
    "for _, gw in ipairs(l) do\n"
    "  local entry = redis.call('HGET', p .. 'gateways', gw)\n"
    "  local inc, rest = string.match(entry or '', '^(%d+) (%d+ %d+) %d$')\n"
    "  if inc then\n"
    "    redis.call('HSET', p .. 'gateways', gw, inc .. ' ' .. rest .. ' 0')\n"
    "    out[#out + 1] = gw\n"
    "    out[#out + 1] = inc\n"
    "  else\n"
    "    redis.call('ZREM', p .. 'leases', gw)\n"
    "  end\n"
    "end\n"
    "return out\n";

/* gateway, incarnation, until when leases are over: its users are dropped. Returns 1 if it was this
 * call that forgot it, 0 if it has come back meanwhile. */
const char presence_lua_forget[] =
    "local p, gw = KEYS[1], ARGV[1]\n"
    "local entry = redis.call('HGET', p .. 'gateways', gw)\n"
    "local lease = redis.call('ZSCORE', p .. 'leases', gw)\n"
    "if entry and lease and tonumber(lease) <= tonumber(ARGV[3]) and\n"
    "   string.match(entry, '^(%d+) ') == ARGV[2] then\n"
    "  redis.call('HDEL', p .. 'gateways', gw)\n"
    "  redis.call('ZREM', p .. 'leases', gw)\n"
    "  return 1\n"
    "end\n"
    "return 0\n";
