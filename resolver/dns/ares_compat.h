/* ares_compat: the c-ares functions that exist in two forms, under one name. c-ares 1.28 replaced the functions on raw
 * messages by functions on parsed records, and deprecated the former; c-ares 1.18 has only those. */
#ifndef EVENER_RESOLVER_DNS_ARES_COMPAT_H
#define EVENER_RESOLVER_DNS_ARES_COMPAT_H

#include <ares.h>
#include <stddef.h>

/* Start a query of class IN for exactly this name. Calls `callback` once, perhaps from inside this function, with the
 * reply's bytes, which are borrowed for the call. */
void evener_ares_query(ares_channel channel, const char *name, int type, ares_callback callback, void *arg);

/* Parse the SRV or TXT records among a reply's answers into a list, NULL if there are none. Return ARES_SUCCESS,
 * ARES_ENODATA, ARES_ENOMEM or another code for a malformed reply. With newer versions, a TXT record is one element
 * with all its strings joined. */
int evener_ares_parse_srv(const unsigned char *bytes, int count, struct ares_srv_reply **list);
int evener_ares_parse_txt(const unsigned char *bytes, int count, struct ares_txt_ext **list);

/* Free a list of the two functions above. NULL is allowed. */
void evener_ares_free_srv(struct ares_srv_reply *list);
void evener_ares_free_txt(struct ares_txt_ext *list);

#endif
