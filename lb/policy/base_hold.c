#include "lb/policy/base_hold.h"

#include <assert.h>
#include <stdlib.h>

struct evener_base_hold {
    uint32_t references;
    uint64_t number;
    evener_base_left *left_first, *left_last; /* in this hold and perhaps older ones, but not in `newer` */
    evener_base_hold *older, *newer;
    evener_base_holds *holds; /* NULL: the policy has ended */
};

evener_base_hold *evener_base_hold_create(evener_base_holds *holds)
{
    evener_base_hold *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    made->references = 1;
    made->number = ++holds->made;
    made->holds = holds;
    made->older = holds->newest;
    if (made->older != NULL) {
        made->older->newer = made;
    }
    holds->newest = made;
    return made;
}

void evener_base_hold_release(const evener_base_holds *holds, uint64_t last, evener_base_left *left,
                              evener_subchannel *subchannel)
{
    evener_base_hold *hold = holds->newest;
    while (hold != NULL && hold->number > last) {
        hold = hold->older;
    }
    if (hold == NULL) {
        evener_subchannel_release(subchannel); /* and with it perhaps the memory of `left` */
        return;
    }
    left->subchannel = evener_subchannel_ref(subchannel);
    left->next = hold->left_first;
    hold->left_first = left;
    hold->left_last = hold->left_last != NULL ? hold->left_last : left;
    evener_subchannel_release(subchannel);
}

void evener_base_holds_detach(evener_base_holds *holds)
{
    for (evener_base_hold *hold = holds->newest; hold != NULL; hold = hold->older) {
        hold->holds = NULL;
    }
    holds->newest = NULL;
}

evener_base_hold *evener_base_hold_ref(evener_base_hold *hold)
{
    hold->references++;
    return hold;
}

/* Hand what left to the older hold, or let it go. */
static void hand_on(evener_base_hold *hold)
{
    evener_base_hold *older = hold->older;
    if (hold->left_first == NULL) {
        return;
    }
    if (older != NULL) {
        hold->left_last->next = older->left_first;
        older->left_first = hold->left_first;
        older->left_last = older->left_last != NULL ? older->left_last : hold->left_last;
        return;
    }
    for (evener_base_left *left = hold->left_first, *next; left != NULL; left = next) {
        next = left->next;
        evener_subchannel_unref(left->subchannel);
    }
}

void evener_base_hold_unref(evener_base_hold *hold)
{
    if (hold == NULL) {
        return;
    }
    assert(hold->references > 0);
    if (--hold->references > 0) {
        return;
    }
    hand_on(hold);
    if (hold->older != NULL) {
        hold->older->newer = hold->newer;
    }
    if (hold->newer != NULL) {
        hold->newer->older = hold->older;
    } else if (hold->holds != NULL) {
        hold->holds->newest = hold->older;
    }
    free(hold);
}
