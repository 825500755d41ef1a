#include <evener/wrapping_policy.h>

#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/options.h"

#define CHILD_DEFAULT "round_robin"

typedef struct wrapper {
    evener_policy policy;
    evener_wrapping view;
    evener_wrapping_policy kind;
    void *zero_config; /* the defaults where the kind has none; or NULL */
    evener_child_policy *child;
    /* as the child published last */
    evener_connectivity_state state;
    evener_status status;
    evener_picker *picker;
    size_t data_offset;
} wrapper;

/* A configuration: the wrapper's own part comes behind. */
typedef struct config_head {
    evener_policy_choice child;
    _Alignas(max_align_t) unsigned char own[];
} config_head;

static bool read_kind(const evener_policy_builder *builder, evener_wrapping_policy *kind, evener_status *status)
{
    return evener_options_read(kind, sizeof *kind, builder->user_data, "wrapping policy", "evener_wrapping_policy",
                               status) == EVENER_STATUS_OK;
}

/* ---- pickers ---- */

evener_picker *evener_wrapping_picker_create(const evener_picker_vtable *vtable, evener_picker *child,
                                             size_t data_offset, uint64_t word)
{
    evener_wrapping_picker *picker = malloc(sizeof *picker);
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, vtable);
    picker->child = evener_picker_ref(child);
    picker->data_offset = data_offset;
    picker->word = word;
    return &picker->base;
}

void evener_wrapping_picker_destroy(evener_picker *picker)
{
    evener_picker_unref(((evener_wrapping_picker *)picker)->child);
    free(picker);
}

static void publish(wrapper *w)
{
    if (w->picker == NULL) {
        return;
    }
    evener_picker *wrapped = w->kind.wrap_picker != NULL ? w->kind.wrap_picker(&w->view, w->picker, w->data_offset)
                                                         : evener_picker_ref(w->picker);
    evener_policy_publish(w->view.helper, w->state, &w->status, wrapped);
}

/* ---- the child ---- */

static evener_subchannel *child_create_subchannel(void *owner, evener_child_maker maker, const evener_address *address,
                                                  const evener_subchannel_options *options)
{
    wrapper *w = owner;
    return w->kind.create_subchannel != NULL ? w->kind.create_subchannel(&w->view, maker, address, options)
                                             : evener_policy_create_subchannel(w->view.helper, address, options);
}

static void child_publish(void *owner, evener_connectivity_state state, const evener_status *status,
                          evener_picker *picker, size_t data_offset)
{
    wrapper *w = owner;
    w->state = state;
    if (status != NULL) {
        w->status = *status;
    } else {
        evener_status_clear(&w->status);
    }
    if (picker != NULL) {
        evener_picker_unref(w->picker);
        w->picker = picker;
        w->data_offset = data_offset;
    }
    publish(w);
}

/* ---- the policy ---- */

static const void *defaults_of(const wrapper *w)
{
    return w->kind.config_defaults != NULL ? w->kind.config_defaults : w->zero_config;
}

static evener_status_code wrapper_update(evener_policy *policy, const evener_policy_update *update,
                                         evener_status *status)
{
    wrapper *w = (wrapper *)policy;
    const config_head *config = update->config;
    const evener_policy_choice fallback = {.builder = evener_policy_find(w->view.helper->policies, CHILD_DEFAULT)};
    const evener_policy_choice *choice = config != NULL ? &config->child : &fallback;
    const void *own = config != NULL ? config->own : defaults_of(w);
    const bool is_new = own != w->view.config;
    w->view.config = own;
    if (w->kind.configured != NULL) {
        w->kind.configured(&w->view, choice->builder->name);
    }
    if (is_new && w->kind.wrap_picker != NULL) {
        publish(w); /* what it keeps of the old configuration goes */
    }
    return evener_child_policy_update(w->child, choice, update, status);
}

static void wrapper_resolver_error(evener_policy *policy, const evener_status *status)
{
    evener_child_policy_resolver_error(((wrapper *)policy)->child, status);
}

static void wrapper_exit_idle(evener_policy *policy)
{
    evener_child_policy_exit_idle(((wrapper *)policy)->child);
}

static void wrapper_free(wrapper *w)
{
    free(w->view.state);
    free(w->zero_config);
    free(w);
}

static void wrapper_close(evener_policy *policy)
{
    wrapper *w = (wrapper *)policy;
    evener_child_policy_destroy(w->child);
    if (w->kind.state_destroy != NULL) {
        w->kind.state_destroy(&w->view);
    }
    evener_picker_unref(w->picker);
    wrapper_free(w);
}

static void wrapper_describe(evener_policy *policy, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    wrapper *w = (wrapper *)policy;
    const evener_child_maker maker = w->kind.maker_of != NULL ? w->kind.maker_of(&w->view, subchannel) : NULL;
    evener_child_policy_describe(w->child, maker, subchannel, buffer, buffer_bytes);
    if (w->kind.describe != NULL) {
        w->kind.describe(&w->view, subchannel, buffer, buffer_bytes);
    }
}

static const evener_policy_vtable wrapper_vtable = {
    .size = sizeof wrapper_vtable,
    .update = wrapper_update,
    .resolver_error = wrapper_resolver_error,
    .exit_idle = wrapper_exit_idle,
    .close = wrapper_close,
    .describe = wrapper_describe,
};

evener_policy *evener_wrapping_policy_build(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    evener_status status;
    wrapper *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    if (!read_kind(builder, &w->kind, &status)) {
        evener_log(EVENER_LOG_ERROR, "policy", "%s: %s: %s", helper->target, builder->name, status.message);
        free(w);
        return NULL;
    }
    const evener_child_hooks hooks = {.size = sizeof hooks,
                                      .create_subchannel = child_create_subchannel,
                                      .publish = child_publish,
                                      .data_bytes = w->kind.subchannel_data_bytes};
    w->policy.vtable = &wrapper_vtable;
    w->zero_config = calloc(1, w->kind.config_bytes > 0 ? w->kind.config_bytes : 1);
    w->view = (evener_wrapping){.size = sizeof w->view, .helper = helper, .config = defaults_of(w)};
    w->view.state = calloc(1, w->kind.state_bytes > 0 ? w->kind.state_bytes : 1);
    w->child = evener_child_policy_create(helper, &hooks, w);
    if (w->zero_config == NULL || w->view.state == NULL || w->child == NULL) {
        evener_child_policy_destroy(w->child);
        wrapper_free(w);
        return NULL;
    }
    evener_status_clear(&w->status);
    return &w->policy;
}

/* ---- configuration ---- */

void evener_wrapping_policy_config_destroy(evener_policy_config *config)
{
    evener_policy_choice_clear(&((config_head *)config)->child);
    free(config);
}

evener_status_code evener_wrapping_policy_parse_config(const evener_policy_builder *builder,
                                                       const evener_policy_set *policies, const char *json,
                                                       evener_policy_config **config, evener_status *status)
{
    evener_wrapping_policy kind;
    if (!read_kind(builder, &kind, status)) {
        return EVENER_STATUS_INVALID_ARGUMENT;
    }
    config_head *head = calloc(1, sizeof *head + kind.config_bytes);
    if (head == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    if (kind.config_defaults != NULL) {
        memcpy(head->own, kind.config_defaults, kind.config_bytes);
    }
    evener_policy_fields *fields = evener_policy_fields_open(json);
    if (kind.read_config != NULL) {
        kind.read_config(fields, policies, head->own);
    }
    evener_policy_fields_get_child_policy(fields, "childPolicy", policies, &head->child);
    const evener_status_code code = evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_IGNORE, status);
    if (code != EVENER_STATUS_OK) {
        evener_wrapping_policy_config_destroy(head);
        return code;
    }
    *config = head;
    return code;
}
