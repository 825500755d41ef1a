/* Update list: a resolver's list, checked, as references, without duplicates.
 *
 *     evener_update_plan plan;
 *     if (evener_update_list_prepare(&list, update, &plan, &status) != EVENER_STATUS_OK) ...
 *     evener_update_list_commit(&list, &plan);    // or evener_update_plan_discard(&plan)
 *
 * Most updates change a few addresses of many. Addresses at the beginning and at the end of the list that are the same
 * objects as before are moved without touching them: a change of one address in 1,000,000 costs a comparison of two
 * arrays of pointers. */
#ifndef EVENER_LB_CHANNEL_UPDATE_LIST_H
#define EVENER_LB_CHANNEL_UPDATE_LIST_H

#include <evener/resolver.h>

/* Zeroed: empty. Each address is of another backend. */
typedef struct evener_update_list {
    evener_address **addresses; /* owned references, in the order of the update */
    uint32_t *hashes;           /* of the identities: compared without touching the addresses */
    size_t count;
    uint64_t id, previous_id;     /* numbers of this content and of the one before, from 1 */
    size_t same_first, same_last; /* addresses that are the same objects as before */
} evener_update_list;

/* The next content of a list. */
typedef struct evener_update_plan {
    evener_address **addresses; /* the whole new list; the plan owns references to those in the middle only */
    uint32_t *hashes;
    size_t count, first, last;
} evener_update_plan;

/* Prepare an update. The list is not changed. Of duplicates the first stays. Errors: INVALID_ARGUMENT (a NULL entry or
 * array, too many addresses; the message says where), RESOURCE_EXHAUSTED. */
evener_status_code evener_update_list_prepare(const evener_update_list *list, const evener_resolver_update *update,
                                              evener_update_plan *plan, evener_status *status);

/* Replace the content by the plan that was prepared last, or discard that plan. */
void evener_update_list_commit(evener_update_list *list, evener_update_plan *plan);
void evener_update_plan_discard(evener_update_plan *plan);

/* Make the list empty. This counts as a change: `id` grows. */
void evener_update_list_clear(evener_update_list *list);

#endif
