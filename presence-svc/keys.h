// SPDX-License-Identifier: MIT
/*
 * The keys in Redis. All of a shard begin with its tag, so that they stand on one server; a script
 * gets the beginning as its one key and appends the rest.
 *
 *   of a user's shard, s = user mod 256:
 *     at:<user>       set      the gateways where the user has sockets
 *     of:<gateway>    set      the users of a gateway, those of this shard
 *     inc:<gateway>   string   its newest incarnation, 20 digits; gone an hour after its lease
 *     online          zset     users told as online; score: the user's id, for paging
 *     leaving         zset     users without a gateway; score: since when, in ms since 1970
 *     seen:<user>     hash     v: version, at: last seen; an offline user's is gone after 90 days
 *     untold          zset     users whose last change is not known to be told; score: last try
 *
 *   of the first shard on each server (a server that has lost its data knows no gateway then):
 *     gateways        hash     name -> "<incarnation> <connections> <users> <state>"
 *     leases          zset     name; score: until when, 0: it said goodbye
 *
 * A version is the time of the change in ms, or one more than the last where that is higher: so it
 * grows even when Redis has lost the last one.
 */
#pragma once

#define PRESENCE_SHARDS 256
#define PRESENCE_KEY_FORMAT "presence:{s%u}:"
#define PRESENCE_SEEN_MS "7776000000" /* 90 days */
#define PRESENCE_INC_MS "3600000"     /* an hour */
