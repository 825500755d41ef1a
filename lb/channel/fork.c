/* Channels from before a fork(), in the child. They get a picker of their own, so that picks of all other channels cost
 * nothing for it. */
#include "lb/base/memory.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/dead_loop.h"

static evener_pick_outcome forked_pick(evener_picker *picker, const evener_pick_context *context, evener_pick *pick)
{
    (void)picker;
    (void)pick;
    (void)evener_fork_refuse(context->status, "channel");
    return EVENER_PICK_DROP;
}

static void forked_destroy(evener_picker *picker)
{
    (void)picker;
}

static const evener_picker_vtable forked_vtable = {
    .size = sizeof forked_vtable, .pick = forked_pick, .destroy = forked_destroy};

static evener_picker forked_picker = {.vtable = &forked_vtable, .references = 1};

/* Picks fail, nothing is posted. Ends of picks count, in memory that is the child's own. */
static void cut_off(evener_fork_object *object)
{
    evener_channel *channel = EVENER_CONTAINER_OF(object, evener_channel, fork_object);
    channel->hot.picker = &forked_picker;
    channel->hot.loop = &evener_dead_loop;
    channel->hot.state = EVENER_SHUTDOWN;
}

void evener_channel_enlist_for_fork(evener_channel *channel)
{
    channel->fork_object.cut_off = cut_off;
    evener_fork_enlist(&channel->fork_object);
}

typedef struct visit {
    void (*fn)(evener_channel *channel, void *arg);
    void *arg;
} visit;

static void visit_channel(evener_fork_object *object, void *arg)
{
    const visit *v = arg;
    v->fn(EVENER_CONTAINER_OF(object, evener_channel, fork_object), v->arg);
}

void evener_channels_for_each(void (*fn)(evener_channel *channel, void *arg), void *arg)
{
    visit v = {fn, arg};
    evener_fork_for_each(cut_off, visit_channel, &v);
}

evener_status_code evener_channel_check_fork(const evener_channel *channel, evener_status *status)
{
    return evener_channel_is_older_than_fork(channel) ? evener_fork_refuse(status, "channel") : EVENER_STATUS_OK;
}
