#include "tests/support/policy_harness.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- fake subchannels ---- */

struct evener_subchannel {
    policy_harness *h;
    evener_address *address;
    char text[EVENER_ADDRESS_BYTES_MAX];
    evener_subchannel_options options;
    void *data;
    uint32_t references;
    uint64_t started, finished;
    evener_connectivity_state state, reported_state;
    char error[EVENER_STATUS_MESSAGE_BYTES];
    bool released, wanted, failure_pending, unreported;
    /* A17 (client-side health checking): the health watch. A new connection has none. */
    void (*health_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state health,
                           const evener_status *status);
    void *health_arg;
    char service[256];
    bool watched, health_pending;
    evener_connectivity_state health;
    /* A51 (out-of-band load reports): the load watch; 0: none */
    uint64_t load_interval_ms;
    void (*load_reported)(void *arg, evener_subchannel *subchannel, const void *report, size_t report_bytes);
    void *load_arg;
    evener_subchannel *next, **link; /* links in the list of all subchannels */
    evener_subchannel *unreported_next;
};

static void destroy_if_unused(evener_subchannel *s)
{
    if (s->references > 0 || s->started != s->finished) {
        return;
    }
    cr_assert(s->released, "%s: the last reference is gone without a release", s->text);
    *s->link = s->next;
    if (s->next != NULL) {
        s->next->link = s->link;
    }
    if (s->options.data_destroy != NULL) {
        s->options.data_destroy(s->data);
    }
    free(s->data);
    evener_address_unref(s->address);
    free(s);
}

evener_subchannel *evener_subchannel_ref(evener_subchannel *s)
{
    s->references++;
    return s;
}

void evener_subchannel_unref(evener_subchannel *s)
{
    if (s != NULL) {
        cr_assert_gt(s->references, 0);
        s->references--;
        destroy_if_unused(s);
    }
}

static void report_later(evener_subchannel *s)
{
    if (s->unreported) {
        return;
    }
    s->unreported = true;
    s->unreported_next = NULL;
    *s->h->unreported_tail = evener_subchannel_ref(s);
    s->h->unreported_tail = &s->unreported_next;
    evener_loop_post(s->h->loop, &s->h->report_task);
}

static void report_one(evener_subchannel *s)
{
    evener_status status;
    if (s->failure_pending && !s->released) {
        s->failure_pending = false;
        s->reported_state = EVENER_TRANSIENT_FAILURE;
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: %s", s->text, s->error);
        s->options.state_changed(s->options.arg, s, EVENER_TRANSIENT_FAILURE, &status);
    }
    if (!s->released && s->reported_state != s->state) {
        s->reported_state = s->state;
        evener_status_clear(&status);
        s->options.state_changed(s->options.arg, s, s->state, &status);
    }
    if (!s->released && s->health_pending && s->watched) {
        s->health_pending = false;
        evener_status_set(&status, s->health == EVENER_TRANSIENT_FAILURE ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK,
                          "NOT_SERVING");
        s->health_changed(s->health_arg, s, s->health, &status);
    }
}

static void report_all(void *arg)
{
    policy_harness *h = arg;
    evener_subchannel *list = h->unreported;
    h->unreported = NULL;
    h->unreported_tail = &h->unreported;
    while (list != NULL) {
        evener_subchannel *s = list;
        list = s->unreported_next;
        s->unreported = false;
        report_one(s);
        evener_subchannel_unref(s);
    }
}

static void set_state(evener_subchannel *s, evener_connectivity_state state)
{
    if (s->state == EVENER_TRANSIENT_FAILURE && state == EVENER_IDLE && s->wanted) {
        s->state = EVENER_IDLE;
        evener_subchannel_connect(s);
        return;
    }
    s->state = state;
    s->watched = false;
    s->health_pending = false;
    s->failure_pending |= state == EVENER_TRANSIENT_FAILURE;
    report_later(s);
}

static void log_connect(policy_harness *h, const char *text)
{
    if (h->connect_count == h->connect_capacity) {
        h->connect_capacity = h->connect_capacity == 0 ? 64 : h->connect_capacity * 2;
        h->connect_log = realloc(h->connect_log, h->connect_capacity * sizeof *h->connect_log);
        cr_assert_not_null(h->connect_log);
    }
    struct connect_log *entry = &h->connect_log[h->connect_count++];
    snprintf(entry->text, sizeof entry->text, "%s", text);
    entry->at_ns = evener_loop_now_ns(h->loop);
}

void evener_subchannel_connect(evener_subchannel *s)
{
    cr_assert(!s->released, "%s: connect after release", s->text);
    if (s->state == EVENER_TRANSIENT_FAILURE) {
        s->wanted = true;
    } else if (s->state == EVENER_IDLE) {
        s->wanted = false;
        log_connect(s->h, s->text);
        set_state(s, s->h->connect_succeeds ? EVENER_READY : EVENER_CONNECTING);
    }
}

evener_status_code evener_subchannel_watch_load(evener_subchannel *s, uint64_t interval_ms,
                                                void (*load_reported)(void *arg, evener_subchannel *subchannel,
                                                                      const void *report, size_t report_bytes),
                                                void *arg, evener_status *status)
{
    cr_assert(!s->released);
    s->load_interval_ms = interval_ms;
    s->load_reported = load_reported;
    s->load_arg = arg;
    return evener_status_clear(status);
}

evener_status_code evener_subchannel_watch_health(evener_subchannel *s, const char *service,
                                                  void (*health_changed)(void *arg, evener_subchannel *subchannel,
                                                                         evener_connectivity_state health,
                                                                         const evener_status *status),
                                                  void *arg, evener_status *status)
{
    cr_assert(!s->released);
    if (s->h->no_health) {
        return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED, "no health");
    }
    if (s->state != EVENER_READY) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION, "not READY");
    }
    s->watched = service != NULL;
    s->health_pending = false;
    snprintf(s->service, sizeof s->service, "%s", service != NULL ? service : "");
    s->health_changed = health_changed;
    s->health_arg = arg;
    return evener_status_clear(status);
}

void evener_subchannel_release(evener_subchannel *s)
{
    cr_assert(!s->released, "%s: released twice", s->text);
    s->released = true;
    s->h->subchannel_count--;
    if (s->options.released != NULL) {
        s->options.released(s->options.arg, s);
    }
    evener_subchannel_unref(s);
}

evener_connectivity_state evener_subchannel_state(const evener_subchannel *s)
{
    return s->released ? EVENER_SHUTDOWN : s->state;
}

const evener_address *evener_subchannel_address(const evener_subchannel *s)
{
    return s->address;
}

void evener_subchannel_set_address(evener_subchannel *s, const evener_address *address)
{
    cr_assert(!s->released);
    cr_assert(evener_address_same_backend(s->address, address));
    evener_address *old = s->address;
    s->address = evener_address_ref(address);
    evener_address_unref(old);
}

void *evener_subchannel_data(evener_subchannel *s)
{
    return s->data;
}

const char *evener_subchannel_address_text(const evener_subchannel *s)
{
    return s->text;
}

bool evener_subchannel_carries_calls(const evener_subchannel *s)
{
    return s->h->carries_calls;
}

uint64_t evener_subchannel_in_flight(const evener_subchannel *s)
{
    return s->started - s->finished;
}

/* ---- policy helper ---- */

static policy_harness *harness_of(evener_policy_helper *helper)
{
    return (policy_harness *)((char *)helper - offsetof(policy_harness, helper));
}

/* Return another policy's subchannel of the same backend. Skipped for large lists: no test needs it there. */
static const evener_subchannel *find_sibling(const policy_harness *h, const evener_address *address)
{
    const evener_subchannel *s = h->subchannel_count < 100 ? h->subchannels : NULL;
    while (s != NULL && (s->released || !evener_address_same_backend(s->address, address))) {
        s = s->next;
    }
    return s;
}

static evener_subchannel *create_subchannel(evener_policy_helper *helper, const evener_address *address,
                                            const evener_subchannel_options *options)
{
    policy_harness *h = harness_of(helper);
    if (h->create_fails) {
        return NULL;
    }
    evener_subchannel *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    const evener_subchannel *sibling = find_sibling(h, address);
    s->h = h;
    s->address = evener_address_ref(address);
    snprintf(s->text, sizeof s->text, "%s", evener_address_text(address));
    s->options = *options;
    s->references = 1;
    if (options->data_bytes > 0) {
        const size_t bytes = (options->data_bytes + 63) / 64 * 64;
        s->data = aligned_alloc(64, bytes);
        cr_assert_not_null(s->data);
        memset(s->data, 0, bytes);
    }
    s->next = h->subchannels;
    s->link = &h->subchannels;
    if (s->next != NULL) {
        s->next->link = &s->next;
    }
    h->subchannels = s;
    h->subchannel_count++;
    h->created++;
    if (sibling != NULL && sibling->state != EVENER_IDLE) {
        memcpy(s->error, sibling->error, sizeof s->error);
        set_state(s, sibling->state);
    }
    return s;
}

static void publish(evener_policy_helper *helper, evener_connectivity_state state, const evener_status *status,
                    evener_picker *picker)
{
    policy_harness *h = harness_of(helper);
    cr_assert(state != EVENER_TRANSIENT_FAILURE || (status != NULL && status->code != EVENER_STATUS_OK),
              "TRANSIENT_FAILURE without a reason");
    h->state = state;
    h->published++;
    if (status != NULL) {
        h->status = *status;
    } else {
        evener_status_clear(&h->status);
    }
    if (picker != NULL) {
        evener_picker_unref(h->picker);
        h->picker = picker;
    }
}

static void request_reresolution(evener_policy_helper *helper)
{
    harness_of(helper)->reresolutions++;
}

static const evener_policy_helper_vtable helper_vtable = {
    .size = sizeof helper_vtable,
    .create_subchannel = create_subchannel,
    .publish = publish,
    .request_reresolution = request_reresolution,
};

/* ---- create, destroy ---- */

static evener_policy_choice choose(const policy_harness *h, const char *policy, const char *config)
{
    evener_policy_choice choice = {0};
    evener_status status;
    const size_t bytes = strlen(policy) + (config != NULL ? strlen(config) : 2) + 16;
    char *json = malloc(bytes);
    cr_assert_not_null(json);
    snprintf(json, bytes, "[{\"%s\":%s}]", policy, config != NULL ? config : "{}");
    const evener_status_code code = evener_policy_choose(h->helper.policies, json, "test", &choice, &status);
    cr_assert_eq(code, EVENER_STATUS_OK, "%s", status.message);
    free(json);
    return choice;
}

policy_harness *harness_create_with(const evener_policy_set *set, const char *policy, const char *config)
{
    policy_harness *h = calloc(1, sizeof *h);
    cr_assert_not_null(h);
    h->vl = virtual_loop_create(1);
    cr_assert_not_null(h->vl);
    h->loop = virtual_loop_loop(h->vl);
    h->report_task = (evener_task)EVENER_TASK_INIT(report_all, h);
    h->unreported_tail = &h->unreported;
    h->helper = (evener_policy_helper){.size = sizeof h->helper,
                                       .vtable = &helper_vtable,
                                       .loop = h->loop,
                                       .policies = set,
                                       .target = "test:///service",
                                       .authority = "service"};
    h->state = EVENER_IDLE;
    evener_status_clear(&h->status);
    h->picker = evener_picker_create_queue();
    h->choice = choose(h, policy, config);
    h->policy = h->choice.builder->build(h->choice.builder, &h->helper);
    cr_assert_not_null(h->policy);
    return h;
}

policy_harness *harness_create(const char *policy, const char *config)
{
    return harness_create_with(NULL, policy, config);
}

static void free_addresses(evener_address **addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        evener_address_unref(addresses[i]);
    }
    free(addresses);
}

void harness_destroy(policy_harness *h)
{
    h->policy->vtable->close(h->policy);
    cr_assert_eq(h->subchannel_count, 0, "%zu subchannels were not released", h->subchannel_count);
    evener_picker_unref(h->picker);
    harness_run(h);
    cr_assert_null(h->subchannels, "%s: a reference is left", h->subchannels->text);
    evener_policy_choice_clear(&h->choice);
    free_addresses(h->addresses, h->address_count);
    free(h->connect_log);
    virtual_loop_destroy(h->vl);
    free(h);
}

void harness_run(policy_harness *h)
{
    virtual_loop_run_until_idle(h->vl);
}

void harness_advance_ms(policy_harness *h, uint64_t ms)
{
    virtual_loop_advance_ms(h->vl, ms);
}

/* ---- updates ---- */

static evener_status_code give_update(policy_harness *h, evener_address **addresses, size_t count,
                                      evener_status *status)
{
    const evener_policy_update update = {
        .size = sizeof update, .addresses = addresses, .address_count = count, .config = h->choice.config};
    const evener_status_code code = h->policy->vtable->update(h->policy, &update, status);
    if (addresses != h->addresses) {
        free_addresses(h->addresses, h->address_count);
        h->addresses = addresses;
        h->address_count = count;
    }
    return code;
}

static evener_address *parse_address(char *text)
{
    evener_attribute attributes[8];
    size_t count = 0;
    char *rest = strchr(text, ';');
    while (rest != NULL) {
        *rest++ = '\0';
        char *equals = strchr(rest, '=');
        cr_assert(equals != NULL && count < 8);
        *equals = '\0';
        attributes[count++] = (evener_attribute){rest, equals + 1};
        rest = strchr(equals + 1, ';');
    }
    evener_address *address = NULL;
    evener_status status;
    const evener_status_code code = evener_address_create(text, attributes, count, &address, &status);
    cr_assert_eq(code, EVENER_STATUS_OK, "%s", status.message);
    return address;
}

evener_status_code harness_update_quietly(policy_harness *h, const char *list, evener_status *status)
{
    size_t count = 0;
    evener_address **addresses = malloc((strlen(list) + 1) * sizeof *addresses);
    char *copy = strdup(list);
    cr_assert(addresses != NULL && copy != NULL);
    char *save = NULL;
    for (char *item = strtok_r(copy, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save)) {
        addresses[count++] = parse_address(item);
    }
    free(copy);
    return give_update(h, addresses, count, status);
}

evener_status_code harness_update(policy_harness *h, const char *list)
{
    const evener_status_code code = harness_update_quietly(h, list, NULL);
    harness_run(h);
    return code;
}

evener_status_code harness_update_range(policy_harness *h, size_t first, size_t count)
{
    evener_address **addresses = malloc((count + 1) * sizeof *addresses);
    cr_assert_not_null(addresses);
    for (size_t i = 0; i < count; i++) {
        char text[64];
        const size_t n = first + i;
        snprintf(text, sizeof text, "10.%zu.%zu.%zu:1", n >> 16 & 255, n >> 8 & 255, n & 255);
        cr_assert_eq(evener_address_create(text, NULL, 0, &addresses[i], NULL), EVENER_STATUS_OK);
    }
    return give_update(h, addresses, count, NULL);
}

void harness_configure(policy_harness *h, const char *config)
{
    evener_policy_choice old = h->choice;
    h->choice = choose(h, old.builder->name, config);
    (void)give_update(h, h->addresses, h->address_count, NULL);
    evener_policy_choice_clear(&old);
    harness_run(h);
}

void harness_resolver_error(policy_harness *h, const char *message)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s", message);
    h->policy->vtable->resolver_error(h->policy, &status);
    harness_run(h);
}

void harness_exit_idle(policy_harness *h)
{
    if (h->policy->vtable->exit_idle != NULL) {
        h->policy->vtable->exit_idle(h->policy);
    }
    harness_run(h);
}

/* ---- states ---- */

evener_subchannel *harness_find(const policy_harness *h, const char *address)
{
    evener_subchannel *s = h->subchannels;
    while (s != NULL && (s->released || strcmp(s->text, address) != 0)) {
        s = s->next;
    }
    return s;
}

static void set_one(policy_harness *h, const char *address, evener_connectivity_state state, const char *error)
{
    bool found = false;
    for (evener_subchannel *s = h->subchannels; s != NULL; s = s->next) {
        if (!s->released && strcmp(s->text, address) == 0) {
            snprintf(s->error, sizeof s->error, "%s", error);
            set_state(s, state);
            found = true;
        }
    }
    cr_assert(found, "%s has no subchannel", address);
}

void harness_set(policy_harness *h, const char *list, evener_connectivity_state state)
{
    char *copy = strdup(list);
    cr_assert_not_null(copy);
    char *save = NULL;
    for (char *item = strtok_r(copy, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save)) {
        set_one(h, item, state, "refused");
    }
    free(copy);
    harness_run(h);
}

void harness_set_all(policy_harness *h, evener_connectivity_state state)
{
    for (evener_subchannel *s = h->subchannels; s != NULL; s = s->next) {
        if (!s->released) {
            snprintf(s->error, sizeof s->error, "refused");
            set_state(s, state);
        }
    }
    harness_run(h);
}

void harness_fail(policy_harness *h, const char *address, const char *message)
{
    set_one(h, address, EVENER_TRANSIENT_FAILURE, message);
    harness_run(h);
}

evener_subchannel *harness_at(const policy_harness *h, size_t index)
{
    cr_assert_lt(index, h->subchannel_count);
    for (evener_subchannel *s = h->subchannels;; s = s->next) {
        if (!s->released && index-- == 0) {
            return s;
        }
    }
}

bool harness_is_released(const evener_subchannel *s)
{
    return s->released;
}

void harness_set_quietly(evener_subchannel *s, evener_connectivity_state state)
{
    snprintf(s->error, sizeof s->error, "refused");
    set_state(s, state);
}

evener_connectivity_state harness_subchannel_state(const evener_subchannel *s)
{
    return s->state;
}

void harness_health(policy_harness *h, const char *address, evener_connectivity_state health)
{
    evener_subchannel *s = harness_find(h, address);
    cr_assert(s != NULL && s->watched, "%s: health is not watched", address);
    s->health = health;
    s->health_pending = true;
    report_later(s);
    harness_run(h);
}

void harness_report_load(policy_harness *h, const char *address, const void *report, size_t report_bytes)
{
    evener_subchannel *s = harness_find(h, address);
    cr_assert(s != NULL && s->load_interval_ms != 0, "%s: no load watch", address);
    s->load_reported(s->load_arg, s, report, report_bytes);
    harness_run(h);
}

uint64_t harness_load_interval_ms(const policy_harness *h, const char *address)
{
    const evener_subchannel *s = harness_find(h, address);
    cr_assert_not_null(s);
    return s->load_interval_ms;
}

const char *harness_watched_service(const policy_harness *h, const char *address)
{
    const evener_subchannel *s = harness_find(h, address);
    return s != NULL && s->watched ? s->service : NULL;
}

void harness_health_quietly(evener_subchannel *s, evener_connectivity_state health)
{
    if (s->watched) {
        s->health = health;
        s->health_pending = true;
        report_later(s);
    }
}

size_t harness_connects(const policy_harness *h, const char *address)
{
    size_t count = 0;
    for (size_t i = 0; i < h->connect_count; i++) {
        count += strcmp(h->connect_log[i].text, address) == 0;
    }
    return count;
}

const char *harness_connect_log(policy_harness *h)
{
    static char text[4096];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < h->connect_count; i++) {
        const int wrote =
            snprintf(text + used, sizeof text - used, "%s%s@%llu", i > 0 ? " " : "", h->connect_log[i].text,
                     (unsigned long long)((h->connect_log[i].at_ns - VIRTUAL_LOOP_START_NS) / EVENER_NS_PER_MS));
        cr_assert(wrote > 0 && used + (size_t)wrote < sizeof text);
        used += (size_t)wrote;
    }
    return text;
}

void harness_connect_log_clear(policy_harness *h)
{
    h->connect_count = 0;
}

/* ---- picks ---- */

evener_pick_outcome harness_pick(policy_harness *h, const evener_pick_args *args, evener_pick *pick,
                                 evener_status *status)
{
    static const evener_pick_args none = {.size = sizeof none};
    const evener_pick_context context = {
        .args = args != NULL ? args : &none, .loop = h->loop, .status = status, .lane = h->lane};
    *pick = (evener_pick){0};
    const evener_pick_outcome outcome = h->picker->vtable->pick(h->picker, &context, pick);
    if (outcome == EVENER_PICK_COMPLETE) {
        cr_assert_not_null(pick->subchannel);
        cr_assert_gt(pick->subchannel->references, 0, "a picker without a reference");
        pick->subchannel->started++;
    }
    return outcome;
}

void harness_done_with(policy_harness *h, evener_pick *pick, const evener_done_info *info)
{
    for (uint32_t i = 0; i < pick->layer_count; i++) {
        pick->layers[i].done(pick->layers[i].data, pick->layers[i].word, info, h->lane);
    }
    pick->subchannel->finished++;
    destroy_if_unused(pick->subchannel);
}

void harness_done(policy_harness *h, evener_pick *pick, evener_status_code code)
{
    const evener_done_info info = {.size = sizeof info, .code = code};
    harness_done_with(h, pick, &info);
}

const char *harness_pick_one(policy_harness *h)
{
    static char text[EVENER_ADDRESS_BYTES_MAX];
    evener_pick pick;
    switch (harness_pick(h, NULL, &pick, NULL)) {
    case EVENER_PICK_QUEUE:
        return "queue";
    case EVENER_PICK_FAIL:
        return "fail";
    case EVENER_PICK_DROP:
        return "drop";
    default:
        snprintf(text, sizeof text, "%s", pick.subchannel->text);
        harness_done(h, &pick, EVENER_STATUS_OK);
        return text;
    }
}

void harness_count_picks(policy_harness *h, size_t picks, size_t *counts)
{
    memset(counts, 0, h->address_count * sizeof *counts);
    for (size_t i = 0; i < picks; i++) {
        const char *text = harness_pick_one(h);
        size_t index = 0;
        while (index < h->address_count && strcmp(evener_address_text(h->addresses[index]), text) != 0) {
            index++;
        }
        cr_assert_lt(index, h->address_count, "picked %s", text);
        counts[index]++;
    }
}

void harness_count_picks_on_any_lane(policy_harness *h, size_t picks, size_t *counts)
{
    size_t one[HARNESS_BACKENDS_MAX];
    cr_assert_leq(h->address_count, HARNESS_BACKENDS_MAX);
    memset(counts, 0, h->address_count * sizeof *counts);
    for (size_t pick = 0; pick < picks; pick++) {
        h->lane = (uint32_t)evener_loop_random_below(h->loop, EVENER_LANES);
        harness_count_picks(h, 1, one);
        for (size_t i = 0; i < h->address_count; i++) {
            counts[i] += one[i];
        }
    }
}

uint64_t harness_in_flight(const policy_harness *h)
{
    uint64_t total = 0;
    for (const evener_subchannel *s = h->subchannels; s != NULL; s = s->next) {
        total += s->started - s->finished;
    }
    return total;
}
