/* What all policies do through their helper. */
#include <evener/policy.h>

#include <stdbool.h>
#include <stddef.h>

evener_status_code evener_policy_fail_empty(evener_policy_helper *helper, evener_status *status)
{
    evener_status reason;
    const bool knows_source = helper->size >= offsetof(evener_policy_helper, list_source) + sizeof(const char *);
    const char *source = knows_source && helper->list_source != NULL ? helper->list_source : "";
    const evener_status_code code =
        evener_status_set(&reason, EVENER_STATUS_UNAVAILABLE, "the address list of %s is empty%s%s", helper->target,
                          *source != '\0' ? ", says " : "", source);
    evener_policy_publish(helper, EVENER_TRANSIENT_FAILURE, &reason, evener_picker_create_fail(&reason));
    return evener_status_set(status, code, "%s", reason.message);
}
