/* The counted configuration behind an evener_policy_choice. */
#ifndef EVENER_LB_POLICY_CHOICE_H
#define EVENER_LB_POLICY_CHOICE_H

#include <stdbool.h>

#include <evener/policy.h>

/* Give the choice the only reference to a new count of `config`, which `builder` made. False: out of memory. */
bool evener_policy_choice_share(evener_policy_choice *choice, const evener_policy_builder *builder,
                                evener_policy_config *config);

/* Take or give back a reference of a choice's `shared`; the last one destroys the configuration. NULL is allowed. Any
 * thread. */
void *evener_policy_shared_ref(void *shared);
void evener_policy_shared_unref(void *shared);

#endif
