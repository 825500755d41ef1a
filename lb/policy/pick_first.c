/* pick_first: one backend, the first that can be reached (A62, A61, RFC 8305).
 *
 * A pass tries the addresses in order: the next one starts 250 ms after the one before, or at once when that has failed
 * ("happy eyeballs"). The first that is READY is selected and the others are dropped. When all have failed, the policy
 * is in TRANSIENT_FAILURE until one is READY; each address is connected again as soon as its backoff is over, and
 * re-resolution is asked for after every round of failures.
 *
 *     IDLE -- exit_idle --> CONNECTING -- first READY --> READY
 *     CONNECTING -- all failed --> TRANSIENT_FAILURE -- first READY --> READY
 *     READY -- lost, or its address is gone from the list --> IDLE
 *
 * While a backend of a long list is selected, a list with a few changes is only kept: its candidates are made when the
 * next pass begins.
 *
 * Memory. Without memory for some of the addresses the others are tried. The update is then refused, so that the
 * resolver gives the list again, and a pass that failed is repeated, as it may have begun without an update.
 *
 * Order: duplicates out, shuffled if configured, families interleaved, beginning with the first address's. */
#include <evener/policy.h>

#include <stdlib.h>
#include <string.h>

#include <evener/policy_config.h>

#include "lb/policy/address_index.h"
#include "lb/policy/address_order.h"
#include "lb/policy/builtin.h"
#include "lb/policy/list_change.h"

#define ATTEMPT_DELAY_DEFAULT_NS (250 * EVENER_NS_PER_MS) /* RFC 8305 section 8: 250 ms, 100 ms to 2 s */
#define ATTEMPT_DELAY_MIN_NS (100 * EVENER_NS_PER_MS)
#define ATTEMPT_DELAY_MAX_NS (2 * EVENER_NS_PER_S)
/* From this length on a list is kept as such. */
#define LONG_LIST 1000
/* Delay before a picker that could not be made (out of memory) is made again. */
#define RETRY_NS (10 * EVENER_NS_PER_MS)
/* Delay before a failed pass is repeated that had no memory for some of its addresses. */
#define PASS_RETRY_NS EVENER_NS_PER_S

typedef struct pick_first_config {
    bool shuffle;
    uint64_t attempt_delay_ns;
} pick_first_config;

static const pick_first_config default_config = {.attempt_delay_ns = ATTEMPT_DELAY_DEFAULT_NS};

typedef struct pick_first pick_first;

typedef struct candidate {
    pick_first *owner;
    evener_address *address;
    evener_subchannel *subchannel;   /* NULL: released */
    evener_connectivity_state state; /* as reported last */
    bool failed;                     /* in this pass; once all have failed, until READY */
} candidate;

struct pick_first {
    evener_policy policy;
    evener_policy_helper *helper;
    const pick_first_config *config;
    evener_address **list; /* the last update's, owned, if it is long */
    size_t list_count;
    uint64_t list_id;       /* of that update; 0: it is not kept */
    bool is_stale;          /* the candidates are of an older list, or incomplete: they are made before the next pass */
    candidate **candidates; /* in the order of connecting */
    size_t count;
    size_t left_out;                 /* addresses of the list without a candidate, as memory ran out */
    candidate *selected;             /* READY, and the only one with a subchannel; or NULL */
    evener_connectivity_state state; /* as published last */
    bool has_list;                   /* the last update was not empty */
    bool in_pass;                    /* addresses are tried one after the other */
    bool is_starved;                 /* the last pass had no memory for some of its addresses */
    size_t next;                     /* in_pass: the first address that was not tried yet */
    size_t failures;                 /* since the last round was full */
    evener_status last_error;
    evener_timer attempt_timer;
};

/* ---- the picker: one subchannel ---- */

typedef struct single_picker {
    evener_picker base;
    evener_subchannel *subchannel;
} single_picker;

static evener_pick_outcome single_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    (void)context;
    pick->subchannel = ((single_picker *)base)->subchannel;
    return EVENER_PICK_COMPLETE;
}

static void single_destroy(evener_picker *base)
{
    evener_subchannel_unref(((single_picker *)base)->subchannel);
    free(base);
}

static const evener_picker_vtable single_vtable = {
    .size = sizeof single_vtable, .pick = single_pick, .destroy = single_destroy};

static evener_picker *single_create(evener_subchannel *subchannel)
{
    single_picker *picker = malloc(sizeof *picker);
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, &single_vtable);
    picker->subchannel = evener_subchannel_ref(subchannel);
    return &picker->base;
}

/* ---- states ---- */

static void publish_waiting(pick_first *p, evener_connectivity_state state)
{
    evener_timer_stop(p->helper->loop, &p->attempt_timer);
    p->state = state;
    evener_policy_publish(p->helper, state, NULL, evener_picker_create_queue());
}

static void publish_failure(pick_first *p, const evener_status *status)
{
    p->state = EVENER_TRANSIENT_FAILURE;
    evener_policy_publish(p->helper, EVENER_TRANSIENT_FAILURE, status, evener_picker_create_fail(status));
}

static void publish_all_failed(pick_first *p)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "failed to connect to all addresses; last error: %s",
                      p->last_error.message);
    publish_failure(p, &status);
}

static void candidate_release(candidate *c)
{
    if (c->subchannel != NULL) {
        evener_subchannel_release(c->subchannel);
        c->subchannel = NULL;
    }
    c->state = EVENER_IDLE;
    c->failed = false;
}

static void stop_pass(pick_first *p)
{
    p->in_pass = false;
    evener_timer_stop(p->helper->loop, &p->attempt_timer);
}

static void release_others(pick_first *p, const candidate *kept)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->candidates[i] != kept) {
            candidate_release(p->candidates[i]);
        }
    }
}

static void state_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status);

static bool all_failed(const pick_first *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (!p->candidates[i]->failed) {
            return false;
        }
    }
    return true;
}

/* End the pass, after every address has failed: from now on each is connected again when its backoff ends. No list
 * would help where memory ran out. */
static void end_pass(pick_first *p)
{
    stop_pass(p);
    p->failures = 0;
    if (p->is_starved) {
        evener_timer_start(p->helper->loop, &p->attempt_timer, PASS_RETRY_NS);
    } else {
        evener_policy_request_reresolution(p->helper);
    }
    for (size_t i = 0; i < p->count; i++) {
        if (p->candidates[i]->subchannel != NULL) {
            evener_subchannel_connect(p->candidates[i]->subchannel);
        }
    }
    publish_all_failed(p);
}

/* Try from p->next on, until one is under way. */
static void advance(pick_first *p)
{
    evener_timer_stop(p->helper->loop, &p->attempt_timer);
    while (p->next < p->count) {
        candidate *c = p->candidates[p->next++];
        if (c->failed) {
            continue;
        }
        evener_subchannel_connect(c->subchannel);
        if (p->next < p->count) { /* A61: no timer after the last address */
            evener_timer_start(p->helper->loop, &p->attempt_timer, p->config->attempt_delay_ns);
        }
        return;
    }
    if (all_failed(p)) {
        end_pass(p);
    }
}

/* Publish the selected one. On out of memory try again later, as no other event may follow soon. */
static void publish_selected(pick_first *p)
{
    evener_picker *picker = single_create(p->selected->subchannel);
    if (picker == NULL) {
        evener_timer_start(p->helper->loop, &p->attempt_timer, RETRY_NS);
    }
    p->state = EVENER_READY;
    evener_policy_publish(p->helper, EVENER_READY, NULL, picker);
}

static size_t start_pass(pick_first *p);

static void attempt_delay_over(void *arg)
{
    pick_first *p = arg;
    if (p->selected != NULL) {
        publish_selected(p);
    } else if (p->in_pass) {
        advance(p);
    } else {
        (void)start_pass(p); /* there was no memory */
    }
}

static bool make_candidates(pick_first *p);

static void no_memory_for(pick_first *p, const evener_address *address)
{
    evener_status_set(&p->last_error, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory",
                      evener_address_text(address));
}

/* Start a pass over the list. Return how many of its candidates have no subchannel, as memory ran out. */
static size_t start_pass(pick_first *p)
{
    size_t missing = 0;
    bool one_is_ready = false;
    if (p->is_stale && !make_candidates(p)) {
        evener_timer_start(p->helper->loop, &p->attempt_timer, RETRY_NS);
        return 0;
    }
    for (size_t i = 0; i < p->count; i++) {
        candidate *c = p->candidates[i];
        if (c->subchannel == NULL) {
            const evener_subchannel_options options = {
                .size = sizeof options, .state_changed = state_changed, .arg = c};
            c->subchannel = evener_policy_create_subchannel(p->helper, c->address, &options);
        }
        if (c->subchannel == NULL) {
            c->failed = true; /* the next pass tries again */
            missing++;
            no_memory_for(p, c->address);
        } else {
            c->failed = c->state == EVENER_TRANSIENT_FAILURE; /* in its backoff */
            one_is_ready |= evener_subchannel_state(c->subchannel) == EVENER_READY;
        }
    }
    p->in_pass = true;
    p->is_starved = missing > 0 || p->left_out > 0;
    p->next = 0;
    if (p->state == EVENER_IDLE) {
        publish_waiting(p, EVENER_CONNECTING);
    }
    if (one_is_ready) {
        /* Another policy of the channel has this connection: its READY is reported shortly. */
        evener_timer_start(p->helper->loop, &p->attempt_timer, p->config->attempt_delay_ns);
    } else {
        advance(p);
    }
    return missing;
}

static void select_candidate(pick_first *p, candidate *c)
{
    stop_pass(p);
    p->selected = c;
    publish_selected(p);
    release_others(p, c);
}

/* Become IDLE. The lost backend keeps its subchannel, and with it its statistics, until another is selected. */
static void become_idle(pick_first *p)
{
    p->selected = NULL;
    publish_waiting(p, EVENER_IDLE);
}

static void failed(pick_first *p, candidate *c, const evener_status *status)
{
    p->last_error = *status;
    if (p->in_pass) {
        c->failed = true;
        /* The newest attempt has failed, or one before it while no address is left to try. */
        if ((p->next > 0 && p->candidates[p->next - 1] == c) || p->next == p->count) {
            advance(p);
        }
        return;
    }
    p->failures++;
    if (p->failures >= p->count) { /* A62: again after each round */
        p->failures = 0;
        evener_policy_request_reresolution(p->helper);
        publish_all_failed(p);
    }
}

static void state_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status)
{
    candidate *c = arg;
    pick_first *p = c->owner;
    c->state = state;
    if (c == p->selected) {
        if (state == EVENER_TRANSIENT_FAILURE) {
            p->last_error = *status; /* for the next pass, in which it may be in its backoff */
        }
        if (state != EVENER_READY) {
            evener_policy_request_reresolution(p->helper);
            become_idle(p);
        }
        return;
    }
    switch (state) {
    case EVENER_READY:
        select_candidate(p, c);
        break;
    case EVENER_TRANSIENT_FAILURE:
        failed(p, c, status);
        break;
    case EVENER_IDLE:
        /* Its backoff is over. An address that failed in this pass is not tried again in it, and an idle policy waits
         * for a call. */
        if (p->state != EVENER_IDLE && (!p->in_pass || !c->failed)) {
            evener_subchannel_connect(subchannel);
        }
        break;
    default:
        break;
    }
}

/* ---- updates ---- */

static void candidates_free(candidate **candidates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (candidates[i] != NULL) {
            candidate_release(candidates[i]);
            evener_address_unref(candidates[i]->address);
            free(candidates[i]);
        }
    }
    free(candidates);
}

/* Return the candidate of an address, the old one if there is one. `index` is of the old list. */
static candidate *candidate_obtain(pick_first *p, const evener_address_index *index, evener_address *address)
{
    const size_t position = evener_address_index_find(index, address);
    if (position == EVENER_NO_INDEX) {
        candidate *c = calloc(1, sizeof *c);
        if (c != NULL) {
            c->owner = p;
            c->address = evener_address_ref(address);
            c->state = EVENER_IDLE;
        }
        return c;
    }
    candidate *c = p->candidates[position];
    p->candidates[position] = NULL;
    if (c->subchannel != NULL && !evener_address_equal(c->address, address)) {
        evener_subchannel_set_address(c->subchannel, address);
    }
    evener_address_unref(c->address);
    c->address = evener_address_ref(address);
    return c;
}

static void forget_list(pick_first *p)
{
    for (size_t i = 0; i < p->list_count; i++) {
        evener_address_unref(p->list[i]);
    }
    free(p->list);
    p->list = NULL;
    p->list_count = 0;
    p->list_id = 0;
    p->is_stale = false;
}

static evener_status_code fail_empty(pick_first *p, evener_status *status)
{
    stop_pass(p);
    p->selected = NULL;
    p->state = EVENER_TRANSIENT_FAILURE;
    const evener_status_code code = evener_policy_fail_empty(p->helper, status);
    candidates_free(p->candidates, p->count);
    p->candidates = NULL;
    p->count = 0;
    p->left_out = 0;
    p->has_list = false;
    forget_list(p);
    return code;
}

/* Make the new list, taking over the candidates of addresses that stay; NULL if out of memory: nothing has changed.
 * With memory for some of it, the others are left out. */
static candidate **make_list(pick_first *p, const evener_policy_update *update, size_t *made)
{
    size_t count = 0;
    evener_address_index index;
    evener_address **addresses =
        evener_address_order(update->addresses, update->address_count, p->config->shuffle, p->helper->loop, &count);
    candidate **candidates = malloc(update->address_count * sizeof(candidate *));
    if (!evener_address_index_init(&index, p->count) || addresses == NULL || candidates == NULL) {
        evener_address_index_clear(&index);
        free(addresses);
        free(candidates);
        return NULL;
    }
    for (size_t i = 0; i < p->count; i++) {
        evener_address_index_add(&index, p->candidates[i]->address, i);
    }
    *made = 0;
    for (size_t i = 0; i < count; i++) {
        candidate *c = candidate_obtain(p, &index, addresses[i]);
        if (c != NULL) {
            candidates[(*made)++] = c;
        } else {
            no_memory_for(p, addresses[i]);
        }
    }
    evener_address_index_clear(&index);
    free(addresses);
    if (*made == 0) {
        free(candidates);
        return NULL;
    }
    p->left_out = count - *made;
    return candidates;
}

static bool replace_list(pick_first *p, const evener_policy_update *update)
{
    candidate **old = p->candidates;
    const size_t old_count = p->count;
    size_t count;
    candidate **candidates = make_list(p, update, &count);
    if (candidates == NULL) {
        return false;
    }
    p->candidates = candidates;
    p->count = count;
    p->is_stale = false;
    for (size_t i = 0; p->selected != NULL && i < old_count; i++) {
        if (old[i] == p->selected) { /* its address is gone */
            p->selected = NULL;
            publish_waiting(p, EVENER_IDLE);
        }
    }
    candidates_free(old, old_count);
    return true;
}

static bool make_candidates(pick_first *p)
{
    const evener_policy_update update = {.size = sizeof update, .addresses = p->list, .address_count = p->list_count};
    if (!replace_list(p, &update)) {
        return false;
    }
    p->is_stale = p->left_out > 0;
    return true;
}

/* Keep a long list: what did not change keeps its references. Without memory it is not kept. */
static void keep_list(pick_first *p, const evener_policy_update *update, const evener_list_change *change)
{
    const size_t count = update->address_count;
    evener_address **list = count >= LONG_LIST ? malloc(count * sizeof *list) : NULL;
    if (list == NULL) {
        forget_list(p);
        return;
    }
    const size_t first = change->is_small ? change->first : 0, last = change->is_small ? change->last : 0;
    for (size_t i = first; i < count - last; i++) {
        list[i] = evener_address_ref(update->addresses[i]);
    }
    if (change->is_small) {
        memcpy(list, p->list, first * sizeof *list);
        memcpy(list + count - last, p->list + p->list_count - last, last * sizeof *list);
        for (size_t i = first; i < p->list_count - last; i++) {
            evener_address_unref(p->list[i]);
        }
        free(p->list);
    } else {
        forget_list(p);
    }
    p->list = list;
    p->list_count = count;
    p->list_id = change->list_id;
}

/* The list changed a little while a backend is selected: find that backend in it. */
static void check_selected(pick_first *p, const evener_list_change *change)
{
    candidate *c = p->selected;
    const size_t end = p->list_count - change->last;
    p->is_stale = true;
    for (size_t i = change->first; i < end; i++) {
        if (evener_address_same_backend(p->list[i], c->address)) {
            if (!evener_address_equal(p->list[i], c->address)) {
                evener_subchannel_set_address(c->subchannel, p->list[i]);
            }
            evener_address_unref(c->address);
            c->address = evener_address_ref(p->list[i]);
            return;
        }
    }
    for (size_t i = 0; i < p->list_count; i++) {
        if (p->list[i] == c->address) {
            return;
        }
    }
    p->selected = NULL; /* its address is gone */
    publish_waiting(p, EVENER_IDLE);
    candidate_release(c);
}

static evener_status_code pick_first_update(evener_policy *policy, const evener_policy_update *update,
                                            evener_status *status)
{
    pick_first *p = (pick_first *)policy;
    p->config = update->config != NULL ? update->config : &default_config;
    if (update->address_count == 0) {
        return fail_empty(p, status);
    }
    const bool was_idle = p->state == EVENER_IDLE && p->has_list;
    const bool was_selected = p->selected != NULL;
    const evener_list_change change = evener_list_change_of(update, p->list_id, p->list_count);
    keep_list(p, update, &change);
    if (was_selected && change.is_small && p->list_id != 0) {
        check_selected(p, &change);
        return evener_status_clear(status);
    }
    if (!replace_list(p, update)) {
        forget_list(p);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a list of %zu addresses",
                                 update->address_count);
    }
    if (!p->has_list) {
        p->state = EVENER_IDLE; /* the published failure is not of this list */
    }
    p->has_list = true;
    size_t missing = p->left_out;
    const bool waits = was_selected || was_idle; /* the selected one is in the list, or a call has to ask */
    if (!waits) {
        stop_pass(p);
        missing += start_pass(p);
    }
    if (missing > 0) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for %zu of %zu addresses",
                                 missing, update->address_count);
    }
    return evener_status_clear(status);
}

static void pick_first_resolver_error(evener_policy *policy, const evener_status *status)
{
    pick_first *p = (pick_first *)policy;
    if (!p->has_list) {
        publish_failure(p, status);
    }
}

static void pick_first_exit_idle(evener_policy *policy)
{
    pick_first *p = (pick_first *)policy;
    if (p->state == EVENER_IDLE && p->has_list) {
        (void)start_pass(p);
    }
}

static void pick_first_close(evener_policy *policy)
{
    pick_first *p = (pick_first *)policy;
    evener_timer_stop(p->helper->loop, &p->attempt_timer);
    candidates_free(p->candidates, p->count);
    forget_list(p);
    free(p);
}

static void pick_first_describe(evener_policy *policy, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    const pick_first *p = (const pick_first *)policy;
    if (buffer_bytes > sizeof "selected" && p->selected != NULL && p->selected->subchannel == subchannel) {
        strcpy(buffer, "selected");
    }
}

static const evener_policy_vtable pick_first_vtable = {
    .size = sizeof pick_first_vtable,
    .update = pick_first_update,
    .resolver_error = pick_first_resolver_error,
    .exit_idle = pick_first_exit_idle,
    .close = pick_first_close,
    .describe = pick_first_describe,
};

static evener_policy *pick_first_build(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    (void)builder;
    pick_first *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->policy.vtable = &pick_first_vtable;
    p->helper = helper;
    p->config = &default_config;
    p->state = EVENER_IDLE;
    p->attempt_timer = (evener_timer)EVENER_TIMER_INIT(attempt_delay_over, p);
    evener_status_clear(&p->last_error);
    return &p->policy;
}

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    (void)policies;
    pick_first_config *config = parsed;
    evener_policy_fields_get_bool(fields, "shuffleAddressList", &config->shuffle);
    evener_policy_fields_get_duration(fields, "connectionAttemptDelay", ATTEMPT_DELAY_MIN_NS, ATTEMPT_DELAY_MAX_NS,
                                      &config->attempt_delay_ns);
}

static const evener_policy_config_type config_type = {.size = sizeof config_type,
                                                      .config_bytes = sizeof(pick_first_config),
                                                      .defaults = &default_config,
                                                      .read = read_config};

static evener_status_code parse_config(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    return evener_policy_config_parse(&config_type, policies, json, config, status);
}

const evener_policy_builder evener_policy_pick_first = {
    .size = sizeof evener_policy_pick_first,
    .name = "pick_first",
    .build = pick_first_build,
    .parse_config = parse_config,
    .config_destroy = free,
};
