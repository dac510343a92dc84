// SPDX-License-Identifier: MIT
/*
 * Who the client is behind trusted proxies (TRUSTED_PROXIES): its address from X-Forwarded-For,
 * its scheme from X-Forwarded-Proto. Pure; any thread once made.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define PROXIES_ADDRESS_SIZE INET6_ADDRSTRLEN

struct proxies;

/* list: addresses and networks ("10.0.0.0/8, ::1"). ERR_INVALID with a sentence in problem. */
int proxies_new(const char *list, struct proxies **proxies_out, char *problem, size_t problem_size);
void proxies_free(struct proxies *proxies); /* takes NULL */
bool proxies_trust(const struct proxies *proxies, const char *address);

/*
 * The client's address as text. Walks X-Forwarded-For from its end, past every trusted address; the
 * first that is not trusted, or what does not parse, ends the walk (what stands before it may be
 * invented). An IPv4 address in IPv6 form is written as IPv4.
 */
void proxies_client(const struct proxies *proxies, const char *peer, const char *forwarded_for,
                    size_t len, char out[PROXIES_ADDRESS_SIZE]);
/* Is the client's side https? Only a trusted peer is believed. */
bool proxies_https(const struct proxies *proxies, const char *peer, const char *forwarded_proto,
                   size_t len, bool direct);
/* sa as text, IPv4-mapped as IPv4; "" when it is neither. */
void proxies_address(const struct sockaddr *sa, char out[PROXIES_ADDRESS_SIZE]);
