/* Choice: which of the service configs that a name's TXT record offers is this client's (A2). */
#ifndef EVENER_RESOLVER_DNS_CHOICE_H
#define EVENER_RESOLVER_DNS_CHOICE_H

#include <stdint.h>

#include <evener/status.h>

#define EVENER_DNS_CONFIG_PREFIX "grpc_config="

/* Read the text behind the prefix: a JSON list of {clientLanguage, percentage, clientHostname, serviceConfig}, of
 * which the first whose conditions all hold is taken. `percentile` is the client's own number of 0 to 99: a choice
 * with percentage p is for those below p. Store its config's text, to be freed, or NULL when none is for this
 * client. Errors: INVALID_ARGUMENT with the choice's number; RESOURCE_EXHAUSTED. Any thread. */
evener_status_code evener_dns_choice_read(const char *text, const char *hostname, uint32_t percentile, char **config,
                                          evener_status *status);

#endif
