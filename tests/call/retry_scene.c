#include "tests/call/retry_scene.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fake_call_outcome scripted(void *arg, const char *address, const evener_call_begin_args *args)
{
    retry_scene *s = arg;
    fake_call_outcome outcome = s->outcomes[s->attempts < s->outcome_count ? s->attempts : s->outcome_count - 1];
    if (s->bad_address != NULL && strcmp(address, s->bad_address) == 0) {
        outcome = (fake_call_outcome){.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE};
    }
    const uint64_t now_ns = virtual_loop_now_ns(s->f->loop);
    if (s->attempts < SCENE_ATTEMPTS) {
        scene_attempt *seen = &s->seen[s->attempts];
        *seen = (scene_attempt){
            .at_ms = (now_ns - s->started_ns) / EVENER_NS_PER_MS,
            .previous_attempts = args->previous_attempts,
            .timeout_ms = args->deadline_ns == UINT64_MAX ? 0 : (args->deadline_ns - now_ns) / EVENER_NS_PER_MS};
        strncpy(seen->address, address, sizeof seen->address - 1);
    }
    const evener_metadata *token = evener_metadata_find(args->metadata, args->metadata_count, "authorization");
    (void)snprintf(s->authorization, sizeof s->authorization, "%s", token != NULL ? token->value : "");
    s->attempts++;
    s->executions += outcome.kind == FAKE_CALL_ANSWER || outcome.kind == FAKE_CALL_LOST;
    return outcome;
}

retry_scene *retry_scene_create_with(evener_channel_options options, const char *config,
                                     const fake_call_outcome *outcomes, size_t count)
{
    retry_scene *s = calloc(1, sizeof *s);
    memcpy(s->outcomes, outcomes, count * sizeof *outcomes);
    s->outcome_count = count;
    s->details.size = sizeof s->details;
    s->request = (evener_bytes){.data = (const uint8_t *)"hello", .length = 5};
    options.policy = options.policy != NULL ? options.policy : "round_robin";
    options.default_service_config = config;
    s->f = fixture_create_calling(&options, scripted, s);
    fixture_push(s->f, SCENE_BACKENDS);
    fixture_connect(s->f);
    return s;
}

retry_scene *retry_scene_create(const char *config, const fake_call_outcome *outcomes, size_t count)
{
    return retry_scene_create_with((evener_channel_options){0}, config, outcomes, count);
}

void retry_scene_destroy(retry_scene *s)
{
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(fake_transport_calls_under_way(s->f->transport), 0, "an attempt is left behind");
    evener_call_unref(s->call);
    evener_call_details_clear(&s->details);
    fixture_destroy(s->f);
    free(s);
}

void retry_scene_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    retry_scene *s = arg;
    (void)response;
    s->ends++;
    s->status = *status;
    s->ended_ms = (virtual_loop_now_ns(s->f->loop) - s->started_ns) / EVENER_NS_PER_MS;
}

void retry_scene_start(retry_scene *s, uint64_t timeout_ms)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = timeout_ms, .details = &s->details};
    evener_status status;
    evener_call_unref(s->call);
    s->attempts = 0;
    s->executions = 0;
    s->ends = 0;
    s->started_ns = virtual_loop_now_ns(s->f->loop);
    cr_assert_eq(
        evener_call_start(s->f->channel, SCENE_METHOD, &s->request, &options, retry_scene_ended, s, &s->call, &status),
        EVENER_STATUS_OK, "%s", status.message);
}

void retry_scene_finish(retry_scene *s, uint64_t ms)
{
    virtual_loop_run_until_idle(s->f->loop);
    for (uint64_t i = 0; i < ms && s->ends == 0; i++) {
        virtual_loop_advance_ms(s->f->loop, 1);
    }
}
