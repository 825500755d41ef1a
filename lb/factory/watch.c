#include "lb/factory/watch.h"

#include <sys/stat.h>
#include <time.h>

#define SETTLE_NS (50 * EVENER_NS_PER_MS) /* files unchanged for this long count as completely written */
/* File system timestamps tick every 4 to 10 ms: two changes within one tick have the same signature. */
#define YOUNG_NS (20 * EVENER_NS_PER_MS)

/* Add a number to an FNV-1a hash. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        hash = (hash ^ ((value >> shift) & 0xff)) * UINT64_C(1099511628211);
    }
    return hash;
}

static uint64_t ns_of(struct timespec time)
{
    return (uint64_t)time.tv_sec * EVENER_NS_PER_S + (uint64_t)time.tv_nsec;
}

/* Return a hash that identifies the state of the files, and store the time of the last change (system clock). */
static uint64_t signature_of(const evener_factory_watch *watch, uint64_t *newest_ns)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    *newest_ns = 0;
    for (size_t i = 0; i < watch->file_count; i++) {
        struct stat file;
        if (stat(watch->files[i], &file) != 0) {
            hash = mix(hash, 0);
            continue;
        }
        hash = mix(hash, (uint64_t)file.st_dev);
        hash = mix(hash, (uint64_t)file.st_ino);
        hash = mix(hash, (uint64_t)file.st_size);
        hash = mix(hash, ns_of(file.st_mtim));
        hash = mix(hash, ns_of(file.st_ctim));
        if (ns_of(file.st_ctim) > *newest_ns) {
            *newest_ns = ns_of(file.st_ctim);
        }
    }
    return hash;
}

static void poll_files(void *arg)
{
    evener_factory_watch *watch = arg;
    uint64_t newest_ns;
    const uint64_t now = signature_of(watch, &newest_ns);
    const bool settled = now == watch->seen_signature;
    watch->seen_signature = now;
    if (now == watch->read_signature && !watch->young && !watch->unread) {
        evener_timer_start(watch->loop, &watch->timer, watch->interval_ns);
    } else if (!settled) {
        evener_timer_start(watch->loop, &watch->timer, SETTLE_NS);
    } else {
        evener_timer_start(watch->loop, &watch->timer, watch->interval_ns);
        watch->changed(watch->arg);
    }
}

void evener_factory_watch_start(evener_factory_watch *watch)
{
    watch->timer = (evener_timer)EVENER_TIMER_INIT(poll_files, watch);
    if (watch->interval_ns != UINT64_MAX) {
        evener_timer_start(watch->loop, &watch->timer, watch->interval_ns);
    }
}

void evener_factory_watch_stop(evener_factory_watch *watch)
{
    evener_timer_stop(watch->loop, &watch->timer);
}

void evener_factory_watch_mark(evener_factory_watch *watch)
{
    struct timespec clock;
    uint64_t newest_ns;
    watch->read_signature = watch->seen_signature = signature_of(watch, &newest_ns);
    clock_gettime(CLOCK_REALTIME, &clock);
    watch->young = newest_ns + YOUNG_NS > ns_of(clock) && newest_ns <= ns_of(clock);
    watch->unread = false;
}

void evener_factory_watch_note_result(evener_factory_watch *watch, evener_status_code code)
{
    watch->unread = code == EVENER_STATUS_RESOURCE_EXHAUSTED || code == EVENER_STATUS_UNAVAILABLE;
}

void evener_factory_watch_set_files(evener_factory_watch *watch, char *const *files, size_t file_count)
{
    bool same = file_count == watch->file_count;
    watch->files = files;
    watch->file_count = file_count;
    if (!same) { /* signatures of different lists are not comparable: note the current state */
        evener_factory_watch_mark(watch);
    }
}
