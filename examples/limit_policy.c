/* limit: at most `maxPerBackend` calls under way on each backend; a call that would be one more is dropped.
 *     {"limit": {"maxPerBackend": 100, "childPolicy": [{"round_robin": {}}]}} */
#include <evener/evener.h>

static const uint32_t limit_default = 100; /* the whole configuration is one number */

static void limit_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    (void)word, (void)info, (void)lane;
    __atomic_fetch_sub((uint32_t *)data, 1, __ATOMIC_RELAXED);
}

static evener_pick_outcome limit_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    const evener_wrapping_picker *picker = (const evener_wrapping_picker *)base;
    const evener_pick_outcome outcome = evener_wrapping_picker_pick(picker, context, pick);
    if (outcome != EVENER_PICK_COMPLETE) {
        return outcome;
    }
    uint32_t *under_way = evener_wrapping_picker_data(picker, pick);
    if (__atomic_fetch_add(under_way, 1, __ATOMIC_RELAXED) < picker->word &&
        evener_pick_on_done(pick, limit_done, under_way, 0)) {
        return EVENER_PICK_COMPLETE;
    }
    __atomic_fetch_sub(under_way, 1, __ATOMIC_RELAXED);
    evener_pick_undo(pick, context->lane); /* what the child has counted */
    evener_status_set(context->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "limit: maxPerBackend calls are under way");
    return EVENER_PICK_DROP;
}

static const evener_picker_vtable limit_picker = {
    .size = sizeof limit_picker, .pick = limit_pick, .destroy = evener_wrapping_picker_destroy};

static evener_picker *limit_wrap(evener_wrapping *wrapping, evener_picker *child, size_t data_offset)
{
    return evener_wrapping_picker_create(&limit_picker, child, data_offset, *(const uint32_t *)wrapping->config);
}

static void limit_read(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *config)
{
    (void)policies;
    evener_policy_fields_get_u32(fields, "maxPerBackend", 1, 1000000, config);
}

static const evener_wrapping_policy limit = {.size = sizeof limit,
                                             .config_bytes = sizeof(uint32_t),
                                             .config_defaults = &limit_default,
                                             .read_config = limit_read,
                                             .wrap_picker = limit_wrap,
                                             .subchannel_data_bytes = sizeof(uint32_t)};

const evener_policy_builder limit_builder = {.size = sizeof limit_builder,
                                             .name = "limit",
                                             .build = evener_wrapping_policy_build,
                                             .parse_config = evener_wrapping_policy_parse_config,
                                             .config_destroy = evener_wrapping_policy_config_destroy,
                                             .user_data = (void *)&limit};
