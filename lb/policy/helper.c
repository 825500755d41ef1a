/* What all policies do through their helper. */
#include <evener/policy.h>

evener_status_code evener_policy_fail_empty(evener_policy_helper *helper, evener_status *status)
{
    evener_status reason;
    const evener_status_code code =
        evener_status_set(&reason, EVENER_STATUS_UNAVAILABLE, "the address list of %s is empty", helper->target);
    evener_policy_publish(helper, EVENER_TRANSIENT_FAILURE, &reason, evener_picker_create_fail(&reason));
    return evener_status_set(status, code, "%s", reason.message);
}
