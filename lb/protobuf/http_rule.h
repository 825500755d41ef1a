/* HttpRule: the option google.api.http of a method (googleapis: google/api/http.proto), read from its packed
 * options. */
#ifndef EVENER_LB_PROTOBUF_HTTP_RULE_H
#define EVENER_LB_PROTOBUF_HTTP_RULE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/descriptors.h>
#include <evener/status.h>

/* One binding. Owns its texts; none is NULL unless it was cleared. */
typedef struct evener_http_rule {
    char *verb;
    char *path;
    char *body;
    char *response_body;
} evener_http_rule;

typedef struct evener_http_rules {
    evener_http_rule *rules;
    size_t count; /* 0: the method has no rule */
} evener_http_rules;

/* Read a method's rule and its additional bindings, which have none of their own. Errors: INVALID_ARGUMENT,
 * RESOURCE_EXHAUSTED; *rules is then empty. */
evener_status_code evener_http_rules_read(const evener_method *method, evener_http_rules *rules, evener_status *status);

void evener_http_rule_clear(evener_http_rule *rule);
void evener_http_rules_clear(evener_http_rules *rules);

#endif
