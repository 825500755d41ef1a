#include "lb/channel/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/log.h>

#include "lb/base/memory.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/clock.h"

#define DEFAULT_AGE_MS_MAX (UINT64_C(24) * 3600 * 1000)
#define RETRY_MS 10000      /* after a write that failed, or without memory for it */
#define BUSY_FACTOR 20      /* after a write of time t, none for BUSY_FACTOR x t */
#define RENEWALS_PER_AGE 8  /* how often the time of a list that stays the same is renewed */
#define RENEWAL_MS_MIN 1000 /* ... but not more often than this */
#define RENEWAL_MS_MAX (UINT64_C(6) * 3600 * 1000)
#define CLOCK_TOLERANCE_MS 600 /* a time in the future by less is not worth a warning */

/* A read or a write of the disk. */
typedef struct evener_cache_job {
    evener_work work;
    evener_task done;
    evener_channel_cache *cache;
    char *path;
    bool writes;
    evener_saved_list list; /* to write, or read */
    /* of a read */
    uint64_t start_number;
    /* of a write */
    uint64_t known_content, content; /* hashes of what the file holds and of the list */
    bool may_skip;                   /* nothing need be written if both are the same */
    uint64_t took_ns;
    evener_status status;
} evener_cache_job;

static uint64_t wall_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / EVENER_NS_PER_MS;
}

static const char *name_of(const evener_channel_cache *cache)
{
    return evener_channel_target(cache->channel);
}

static evener_loop *loop_of(const evener_channel_cache *cache)
{
    return cache->channel->hot.loop;
}

static void note_error(evener_channel_cache *cache, const evener_status *status)
{
    const bool is_new = strcmp(cache->last_error, status->message) != 0;
    snprintf(cache->last_error, sizeof cache->last_error, "%s", status->message);
    evener_log(is_new ? EVENER_LOG_WARNING : EVENER_LOG_DEBUG, "channel", "%s: cache file %s", name_of(cache),
               status->message);
}

/* ---- jobs ---- */

static void free_job(evener_cache_job *job)
{
    if (job != NULL) {
        evener_saved_list_clear(&job->list);
        free(job->path);
        free(job);
    }
}

static void read_file(evener_cache_job *job)
{
    evener_saved_list_read(job->path, &job->list, &job->status);
}

static void write_file(evener_cache_job *job)
{
    char *text = NULL;
    size_t bytes = 0;
    if (!evener_saved_list_encode(&job->list, &text, &bytes, &job->content)) {
        evener_status_set(&job->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", job->path);
        return;
    }
    evener_status_clear(&job->status);
    if (job->may_skip && job->content == job->known_content) {
        job->list.time_ms = 0; /* nothing was written */
    } else {
        evener_saved_list_write(job->path, text, bytes, &job->status);
    }
    free(text);
}

/* On a work thread, or the control thread. */
static void run_job(evener_work *work)
{
    evener_cache_job *job = EVENER_CONTAINER_OF(work, evener_cache_job, work);
    const uint64_t began_ns = evener_clock_now_ns();
    if (job->writes) {
        write_file(job);
    } else {
        read_file(job);
    }
    job->took_ns = evener_clock_now_ns() - began_ns;
    evener_loop_post(loop_of(job->cache), &job->done);
}

static void start_job(evener_channel_cache *cache, evener_cache_job *job)
{
    cache->jobs++;
    cache->writing |= job->writes;
    if (cache->threads != NULL) {
        evener_work_threads_put(cache->threads, &job->work);
    } else {
        run_job(&job->work);
    }
}

static evener_cache_job *create_job(evener_channel_cache *cache, evener_task_fn done)
{
    evener_cache_job *job = calloc(1, sizeof *job);
    if (job != NULL) {
        job->work.run = run_job;
        job->done = (evener_task)EVENER_TASK_INIT(done, job);
        job->cache = cache;
        job->path = strdup(cache->path);
    }
    if (job == NULL || job->path == NULL) {
        free_job(job);
        return NULL;
    }
    return job;
}

static void end_job(evener_cache_job *job)
{
    evener_channel *channel = job->cache->channel;
    job->cache->jobs--;
    free_job(job);
    evener_channel_free_if_over(channel);
}

/* ---- reading ---- */

static const char *reason_of(const evener_channel_cache *cache)
{
    return cache->failure.code != EVENER_STATUS_OK   ? cache->failure.message
           : evener_channel_has_list(cache->channel) ? "the resolver's list is empty"
                                                     : "the resolver has not answered yet";
}

/* Put the saved list in force if it may be. Return false if it is of no use. */
static bool use_saved(evener_channel_cache *cache)
{
    evener_saved_list list = cache->saved;
    cache->saved = (evener_saved_list){0};
    const uint64_t now_ms = wall_clock_ms();
    const uint64_t age_ms = now_ms > list.time_ms ? now_ms - list.time_ms : 0;
    evener_status status;
    evener_status_clear(&status);
    if (list.count == 0) {
        return false; /* there was none, and why was said before */
    }
    if (strcmp(list.target, name_of(cache)) != 0) {
        evener_status_set(&status, EVENER_STATUS_FAILED_PRECONDITION,
                          "%s is refused: it is of the target %.200s; give each channel a file of its own", cache->path,
                          list.target);
    } else if (age_ms > cache->age_ms_max) {
        evener_status_set(&status, EVENER_STATUS_FAILED_PRECONDITION,
                          "%s is refused: it is %llu s old, and the limit is %llu s (cache_max_age_ms)", cache->path,
                          (unsigned long long)(age_ms / 1000), (unsigned long long)(cache->age_ms_max / 1000));
    } else {
        if (list.time_ms > now_ms + CLOCK_TOLERANCE_MS) {
            evener_log(EVENER_LOG_WARNING, "channel",
                       "%s: cache file %s is of a time %llu s from now: is the clock right?", name_of(cache),
                       cache->path, (unsigned long long)((list.time_ms - now_ms) / 1000));
        }
        char source[128];
        snprintf(source, sizeof source, "cache file %s", cache->path);
        evener_log(EVENER_LOG_WARNING, "channel",
                   "%s: starts from the cache file %s (%zu addresses, confirmed %llu s ago): %s", name_of(cache),
                   cache->path, list.count, (unsigned long long)(age_ms / 1000), reason_of(cache));
        cache->in_force_time_ms = list.time_ms < now_ms ? list.time_ms : now_ms;
        if (!evener_channel_take_saved_list(cache->channel, &list, source, &status)) {
            cache->in_force_time_ms = 0;
        }
    }
    evener_saved_list_clear(&list);
    if (status.code != EVENER_STATUS_OK) {
        note_error(cache, &status);
    }
    return status.code == EVENER_STATUS_OK;
}

static void stop_waiting(evener_channel_cache *cache)
{
    cache->start_number++;
    cache->reading = false;
    cache->wanted = false;
    cache->failure_held = false;
    evener_status_clear(&cache->failure);
    evener_saved_list_clear(&cache->saved);
    evener_timer_stop(loop_of(cache), &cache->silence_timer);
    evener_timer_stop(loop_of(cache), &cache->hold_timer);
}

static void decide(evener_channel_cache *cache)
{
    if (!cache->wanted || cache->reading) {
        return;
    }
    const bool held = cache->failure_held;
    if (!use_saved(cache) && held) {
        evener_channel_report_resolver_failure(cache->channel, &cache->failure);
    }
    stop_waiting(cache);
}

static void read_done(void *arg)
{
    evener_cache_job *job = arg;
    evener_channel_cache *cache = job->cache;
    if (job->start_number == cache->start_number && cache->reading) {
        cache->reading = false;
        if (job->status.code == EVENER_STATUS_OK) {
            cache->saved = job->list;
            job->list = (evener_saved_list){0};
        } else if (job->status.code == EVENER_STATUS_NOT_FOUND) {
            evener_log(EVENER_LOG_DEBUG, "channel", "%s: no cache file yet: %s", name_of(cache), job->status.message);
        } else {
            note_error(cache, &job->status);
        }
        decide(cache);
    }
    end_job(job);
}

static void is_silent(void *arg)
{
    evener_channel_cache *cache = arg;
    cache->wanted = true;
    decide(cache);
}

/* The file has not been read in time. `wanted` stays: the list is used when it comes. */
static void is_held_long_enough(void *arg)
{
    evener_channel_cache *cache = arg;
    if (cache->failure_held) {
        cache->failure_held = false;
        evener_log(EVENER_LOG_WARNING, "channel", "%s: the cache file %s could not be read within %d ms",
                   name_of(cache), cache->path, EVENER_CACHE_HOLD_MS_MAX);
        evener_channel_report_resolver_failure(cache->channel, &cache->failure);
    }
}

void evener_channel_cache_start(evener_channel_cache *cache)
{
    if (cache->path == NULL) {
        return;
    }
    stop_waiting(cache);
    evener_cache_job *job = create_job(cache, read_done);
    if (job == NULL) {
        return; /* no memory: the resolver alone, as without a file */
    }
    job->start_number = cache->start_number;
    cache->reading = true;
    evener_timer_start(loop_of(cache), &cache->silence_timer, EVENER_CACHE_SILENCE_MS * EVENER_NS_PER_MS);
    start_job(cache, job);
}

void evener_channel_cache_unconfirmed(evener_channel_cache *cache)
{
    if (cache->confirmed) {
        cache->confirmed = false;
        cache->confirmed_until_ms = wall_clock_ms();
    }
}

bool evener_channel_cache_resolver_failed(evener_channel_cache *cache, const evener_status *failure)
{
    evener_channel_cache_unconfirmed(cache);
    if (!cache->reading && cache->saved.count == 0) {
        return false;
    }
    cache->wanted = true;
    cache->failure_held = true;
    cache->failure = *failure;
    if (cache->reading) {
        if (!cache->hold_timer.active) {
            evener_timer_start(loop_of(cache), &cache->hold_timer, EVENER_CACHE_HOLD_MS_MAX * EVENER_NS_PER_MS);
        }
        return true;
    }
    const bool used = use_saved(cache);
    stop_waiting(cache);
    return used;
}

/* ---- writing ---- */

static void write_done(void *arg);

static void write_later(evener_channel_cache *cache, uint64_t delay_ns)
{
    evener_timer_start(loop_of(cache), &cache->write_timer, delay_ns);
}

static uint64_t renewal_ns(const evener_channel_cache *cache)
{
    const uint64_t ms = cache->age_ms_max / RENEWALS_PER_AGE;
    return (ms < RENEWAL_MS_MIN ? RENEWAL_MS_MIN : ms < RENEWAL_MS_MAX ? ms : RENEWAL_MS_MAX) * EVENER_NS_PER_MS;
}

/* Take a snapshot of the list in force. Return NULL if out of memory. */
static evener_cache_job *take_snapshot(evener_channel_cache *cache)
{
    const evener_channel_control *control = &cache->channel->control;
    evener_cache_job *job = create_job(cache, write_done);
    if (job == NULL) {
        return NULL;
    }
    const char *config = control->resolver_config != NULL ? evener_service_config_text(control->resolver_config) : NULL;
    job->writes = true;
    job->list.time_ms =
        cache->confirmed || cache->confirmed_until_ms == 0 ? wall_clock_ms() : cache->confirmed_until_ms;
    job->list.target = strdup(name_of(cache));
    job->list.service_config = config != NULL ? strdup(config) : NULL;
    job->list.addresses = malloc(control->list.count * sizeof *job->list.addresses);
    if (job->list.target == NULL || (config != NULL && job->list.service_config == NULL) ||
        job->list.addresses == NULL) {
        free_job(job);
        return NULL;
    }
    for (size_t i = 0; i < control->list.count; i++) {
        job->list.addresses[i] = evener_address_ref(control->list.addresses[i]);
    }
    job->list.count = control->list.count;
    job->known_content = cache->written_content;
    job->may_skip =
        cache->written_ns != 0 && evener_loop_now_ns(loop_of(cache)) - cache->written_ns < renewal_ns(cache);
    return job;
}

static void write_now(evener_channel_cache *cache)
{
    evener_timer_stop(loop_of(cache), &cache->write_timer);
    if (cache->channel->control.list.count == 0) {
        cache->dirty = false; /* an empty list is not a good one: the file keeps the last */
        return;
    }
    evener_cache_job *job = take_snapshot(cache);
    cache->dirty = job == NULL;
    if (job == NULL) {
        write_later(cache, RETRY_MS * EVENER_NS_PER_MS);
    } else if (cache->writing) {
        free_job(cache->waiting);
        cache->waiting = job; /* one after the other, so that the last one wins */
    } else {
        start_job(cache, job);
    }
}

static void write_when_due(evener_channel_cache *cache)
{
    const uint64_t now_ns = evener_loop_now_ns(loop_of(cache));
    if (cache->writing) {
        return; /* write_done() looks at `dirty` */
    }
    if (now_ns >= cache->next_write_ns) {
        write_now(cache);
    } else {
        write_later(cache, cache->next_write_ns - now_ns);
    }
}

static void write_is_due(void *arg)
{
    evener_channel_cache *cache = arg;
    if (cache->dirty || cache->confirmed) {
        write_when_due(cache);
    } else {
        write_later(cache, renewal_ns(cache)); /* the resolver fails: the list's time stays */
    }
}

static void write_done(void *arg)
{
    evener_cache_job *job = arg;
    evener_channel_cache *cache = job->cache;
    const uint64_t now_ns = evener_loop_now_ns(loop_of(cache));
    const uint64_t pause_ns = EVENER_CACHE_WRITE_INTERVAL_MS * EVENER_NS_PER_MS;
    cache->next_write_ns = now_ns + (job->took_ns * BUSY_FACTOR > pause_ns ? job->took_ns * BUSY_FACTOR : pause_ns);
    const bool same_file = cache->path != NULL && strcmp(cache->path, job->path) == 0;
    if (job->status.code != EVENER_STATUS_OK) {
        cache->write_errors++;
        note_error(cache, &job->status);
        cache->dirty = true;
        cache->next_write_ns = now_ns + RETRY_MS * EVENER_NS_PER_MS;
    } else if (job->list.time_ms != 0 && same_file) {
        cache->writes++;
        cache->written_content = job->content;
        cache->written_ns = now_ns;
    }
    evener_cache_job *next = cache->waiting;
    cache->waiting = NULL;
    cache->writing = false;
    if (next != NULL) {
        start_job(cache, next);
    } else if (cache->path != NULL && evener_channel_has_list(cache->channel)) {
        write_later(cache, cache->dirty ? cache->next_write_ns - now_ns : renewal_ns(cache));
    }
    end_job(job);
}

void evener_channel_cache_answered(evener_channel_cache *cache)
{
    if (cache->path == NULL) {
        return;
    }
    if (cache->in_force_time_ms != 0) {
        evener_log(EVENER_LOG_INFO, "channel", "%s: the resolver's list replaces that of the cache file %s",
                   name_of(cache), cache->path);
    }
    stop_waiting(cache);
    cache->in_force_time_ms = 0;
}

void evener_channel_cache_accepted(evener_channel_cache *cache)
{
    cache->confirmed = true; /* also without a file: one may be set while the channel lives */
    if (cache->path != NULL) {
        cache->dirty = true;
        write_when_due(cache);
    }
}

void evener_channel_cache_list_is_empty(evener_channel_cache *cache)
{
    cache->in_force_time_ms = 0;
    if (cache->channel->settings.empty_update == EVENER_EMPTY_UPDATE_FAIL) {
        stop_waiting(cache);
    } else if (cache->reading || cache->saved.count > 0) {
        cache->wanted = true; /* an empty list would not replace the saved one, so it does not keep it out either */
        decide(cache);
    }
}

void evener_channel_cache_stop(evener_channel_cache *cache)
{
    if (cache->path == NULL) {
        return;
    }
    const bool is_saved = cache->in_force_time_ms != 0;
    stop_waiting(cache);
    cache->in_force_time_ms = 0;
    if (!is_saved && (cache->dirty || cache->confirmed)) {
        write_now(cache); /* also to renew the time: the channel may be away for long */
    }
    evener_timer_stop(loop_of(cache), &cache->write_timer);
    evener_channel_cache_unconfirmed(cache);
    cache->dirty = false;
}

/* ---- life ---- */

evener_status_code evener_channel_cache_init(evener_channel *channel, const evener_channel_options *options,
                                             evener_status *status)
{
    evener_channel_cache *cache = &channel->control.cache;
    cache->channel = channel;
    cache->silence_timer = (evener_timer)EVENER_TIMER_INIT(is_silent, cache);
    cache->hold_timer = (evener_timer)EVENER_TIMER_INIT(is_held_long_enough, cache);
    cache->write_timer = (evener_timer)EVENER_TIMER_INIT(write_is_due, cache);
    cache->age_ms_max = options->cache_max_age_ms != 0 ? options->cache_max_age_ms : DEFAULT_AGE_MS_MAX;
    if (options->cache_file == NULL) {
        return EVENER_STATUS_OK;
    }
    const size_t bytes = strlen(options->cache_file);
    if (bytes == 0 || options->cache_file[bytes - 1] == '/') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: cache_file is \"%.200s\": the name of a file is needed",
                                 options->cache_file);
    }
    cache->path = strdup(options->cache_file);
    if (cache->path == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "channel: out of memory");
    }
    if (!evener_runtime_is_driven_by_caller(channel->settings.runtime)) {
        evener_status reason;
        cache->threads = evener_work_threads_get_disk(channel->settings.runtime, &reason);
        if (cache->threads == NULL) {
            return evener_status_set(status, reason.code, "cache_file: %s", reason.message);
        }
    }
    return EVENER_STATUS_OK;
}

void evener_channel_cache_clear(evener_channel_cache *cache)
{
    free_job(cache->waiting);
    evener_saved_list_clear(&cache->saved);
    free(cache->path);
    cache->path = NULL;
}

void evener_channel_cache_exchange_settings(evener_channel_cache *cache, evener_channel_cache *prepared)
{
    char *path = cache->path;
    const bool same =
        path == prepared->path || (path != NULL && prepared->path != NULL && strcmp(path, prepared->path) == 0);
    cache->age_ms_max = prepared->age_ms_max;
    if (same) {
        return;
    }
    cache->path = prepared->path;
    prepared->path = path;
    cache->threads = prepared->threads != NULL ? prepared->threads : cache->threads;
    const bool was_held = cache->failure_held; /* until the file was read, which nobody waits for any more */
    const evener_status failure = cache->failure;
    stop_waiting(cache);
    evener_timer_stop(loop_of(cache), &cache->write_timer);
    cache->written_ns = cache->written_content = cache->next_write_ns = 0;
    if (cache->path != NULL && cache->in_force_time_ms == 0 && cache->channel->control.list.count > 0) {
        cache->dirty = true;
        write_when_due(cache);
    }
    if (was_held) {
        evener_channel_report_resolver_failure(cache->channel, &failure);
    }
}

uint64_t evener_channel_cache_age_ms(const evener_channel_cache *cache)
{
    if (cache->in_force_time_ms == 0) {
        return 0;
    }
    const uint64_t now_ms = wall_clock_ms();
    return now_ms > cache->in_force_time_ms ? now_ms - cache->in_force_time_ms : 1;
}
