#include "tests/policy/scene.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/numbers.h"

static scene the_scene;

scene *scene_open(const char *policy, const char *config, const char *list, uint64_t seed)
{
    scene *s = &the_scene;
    *s = (scene){.h = harness_create(policy, config), .random = sim_mix(seed)};
    s->h->connect_succeeds = true;
    for (uint64_t i = 0; i < seed; i++) {
        (void)evener_loop_random(s->h->loop);
    }
    cr_assert_eq(list != NULL ? harness_update(s->h, list) : harness_update_range(s->h, 1, SCENE_BACKENDS),
                 EVENER_STATUS_OK);
    harness_run(s->h);
    for (size_t b = 0; b < SCENE_BACKENDS; b++) {
        s->backends[b] = (scene_backend){SCENE_USUAL_US, EVENER_STATUS_OK};
    }
    return s;
}

static size_t index_of(const scene *s, const evener_pick *pick)
{
    size_t b = 0;
    while (b < SCENE_BACKENDS &&
           strcmp(evener_address_text(s->h->addresses[b]), evener_subchannel_address_text(pick->subchannel)) != 0) {
        b++;
    }
    cr_assert_lt(b, SCENE_BACKENDS);
    return b;
}

static void end_call(scene *s, size_t index)
{
    harness_done(s->h, &s->calls[index].pick, s->calls[index].code);
    s->calls[index] = s->calls[--s->call_count];
}

void scene_close(scene *s)
{
    while (s->call_count > 0) {
        end_call(s, 0);
    }
    while (s->stream_count > 0) {
        harness_done(s->h, &s->streams[--s->stream_count], EVENER_STATUS_OK);
    }
    cr_assert_eq(harness_in_flight(s->h), 0);
    harness_destroy(s->h);
}

static void begin_call(scene *s)
{
    cr_assert_lt(s->call_count, SCENE_CALLS_MAX);
    scene_call *c = &s->calls[s->call_count++];
    cr_assert_eq(harness_pick(s->h, NULL, &c->pick, NULL), EVENER_PICK_COMPLETE);
    const size_t b = index_of(s, &c->pick);
    const uint64_t now_ns = virtual_loop_now_ns(s->h->vl);
    const double factor = s->varied ? sim_exponential(&s->random) : 1;
    const uint64_t answer_us =
        s->backends[b].answer_us == SCENE_NEVER ? SCENE_NEVER : (uint64_t)((double)s->backends[b].answer_us * factor);
    const bool cancelled = s->patience_us > 0 && s->patience_us < answer_us;
    const uint64_t took_us = cancelled ? s->patience_us : answer_us;
    c->code = cancelled ? EVENER_STATUS_CANCELLED : s->backends[b].code;
    c->end_ns = took_us == SCENE_NEVER ? SCENE_NEVER : now_ns + took_us * EVENER_NS_PER_US;
    s->picks[b]++;
}

static void advance_to(scene *s, uint64_t at_ns)
{
    const uint64_t now_ns = virtual_loop_now_ns(s->h->vl);
    if (at_ns > now_ns) {
        virtual_loop_advance_ns(s->h->vl, at_ns - now_ns);
    }
}

/* End the calls that are due until then, in order. */
static void end_until(scene *s, uint64_t until_ns)
{
    for (;;) {
        size_t first = 0;
        for (size_t i = 1; i < s->call_count; i++) {
            first = s->calls[i].end_ns < s->calls[first].end_ns ? i : first;
        }
        if (s->call_count == 0 || s->calls[first].end_ns > until_ns) {
            break;
        }
        advance_to(s, s->calls[first].end_ns);
        end_call(s, first);
    }
    advance_to(s, until_ns);
}

/* Make calls at random times for this long; count the picks of each backend anew. */
void scene_run(scene *s, double rate_per_s, double seconds)
{
    uint64_t at_ns = virtual_loop_now_ns(s->h->vl);
    const uint64_t over_ns = at_ns + (uint64_t)(seconds * 1e9);
    memset(s->picks, 0, sizeof s->picks);
    for (;;) {
        at_ns += (uint64_t)(sim_exponential(&s->random) / rate_per_s * 1e9);
        if (at_ns > over_ns) {
            break;
        }
        end_until(s, at_ns);
        begin_call(s);
    }
    end_until(s, over_ns);
}

/* Let the calls under way end. */
void scene_drain(scene *s)
{
    uint64_t last_ns = virtual_loop_now_ns(s->h->vl);
    for (size_t i = 0; i < s->call_count; i++) {
        last_ns = s->calls[i].end_ns > last_ns ? s->calls[i].end_ns : last_ns;
    }
    end_until(s, last_ns);
}

double scene_share(const scene *s, size_t b)
{
    size_t sum = 0;
    for (size_t i = 0; i < SCENE_BACKENDS; i++) {
        sum += s->picks[i];
    }
    return (double)s->picks[b] / (double)sum;
}

/* Return one figure of the policy's description of a backend. */
double scene_described(scene *s, size_t b, const char *name)
{
    char note[256] = "", key[32];
    s->h->policy->vtable->describe(s->h->policy, harness_find(s->h, evener_address_text(s->h->addresses[b])), note,
                                   sizeof note);
    snprintf(key, sizeof key, "%s=", name);
    const char *at = strstr(note, key);
    cr_assert_not_null(at, "no %s in \"%s\"", name, note);
    return strtod(at + strlen(key), NULL);
}

const evener_pick_args scene_stream_args = {.size = sizeof scene_stream_args, .streaming = true};

void scene_open_streams(scene *s, size_t first, size_t backends, size_t count)
{
    static evener_pick elsewhere[SCENE_CALLS_MAX];
    const evener_done_info not_sent = {
        .size = sizeof not_sent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true, .streaming = true};
    size_t opened[SCENE_BACKENDS] = {0}, elsewhere_count = 0;
    for (size_t missing = backends * count; missing > 0;) {
        evener_pick pick;
        cr_assert_eq(harness_pick(s->h, &scene_stream_args, &pick, NULL), EVENER_PICK_COMPLETE);
        const size_t b = index_of(s, &pick);
        if (b >= first && b < first + backends && opened[b] < count) {
            opened[b]++;
            missing--;
            s->streams[s->stream_count++] = pick;
        } else {
            cr_assert_lt(elsewhere_count, SCENE_CALLS_MAX);
            elsewhere[elsewhere_count++] = pick;
        }
    }
    while (elsewhere_count > 0) {
        harness_done_with(s->h, &elsewhere[--elsewhere_count], &not_sent);
    }
}
