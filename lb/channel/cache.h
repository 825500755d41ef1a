/* Cache: a channel's last good list on disk (evener_channel_options.cache_file).
 *
 * Reading: when the channel leaves IDLE, the file is read while the resolver starts. It is used as soon as the resolver
 * reports a failure, or has been silent for EVENER_CACHE_SILENCE_MS, and only while the channel has no list. The
 * resolver's first answer replaces it. A failure waits for the file, but for EVENER_CACHE_HOLD_MS_MAX at most: a file
 * system that hangs holds it no longer back, and a list that is read later is still used.
 *
 * Writing: an accepted list is written on a work thread, at most once per EVENER_CACHE_WRITE_INTERVAL_MS and for at
 * most a twentieth of the time. A list that stays the same is written again only to renew its time, which is when
 * discovery last confirmed it: at each eighth of the age limit, unless the resolver fails.
 *
 * With a loop of the caller's, which may be a virtual one, everything runs on that loop. Control thread, unless stated
 * otherwise. */
#ifndef EVENER_LB_CHANNEL_CACHE_H
#define EVENER_LB_CHANNEL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/channel.h>
#include <evener/loop.h>
#include <evener/status.h>

#include "lb/channel/saved_list.h"
#include "lb/runtime/work_threads.h"

#define EVENER_CACHE_SILENCE_MS 50
#define EVENER_CACHE_HOLD_MS_MAX 1000
#define EVENER_CACHE_WRITE_INTERVAL_MS 1000

struct evener_cache_job;

/* Embedded in the channel. Zeroed: off. */
typedef struct evener_channel_cache {
    evener_channel *channel;
    char *path;                   /* NULL: off */
    uint64_t age_ms_max;          /* UINT64_MAX: no limit */
    evener_work_threads *threads; /* NULL: the control thread */
    size_t jobs;                  /* of the disk, under way */

    uint64_t start_number; /* of start(); a read that belongs to an earlier one is dropped */
    bool reading;
    bool wanted;             /* the resolver failed, or was silent */
    bool failure_held;       /* the resolver's failure is reported when the file turns out to be of no use */
    evener_status failure;   /* the resolver's last failure while the file is waited for */
    evener_saved_list saved; /* read and not used yet */
    evener_timer silence_timer;
    evener_timer hold_timer;   /* ends failure_held */
    uint64_t in_force_time_ms; /* of the saved list that is in force; 0: none is */

    bool dirty;                  /* the list in force is not in the file */
    bool writing;                /* a job that writes is under way */
    bool confirmed;              /* the resolver has not failed since its last list */
    uint64_t confirmed_until_ms; /* wall clock: when `confirmed` was last cleared */
    struct evener_cache_job *waiting;
    evener_timer write_timer;
    uint64_t written_content, written_ns; /* of the last write that succeeded; 0: none yet */
    uint64_t next_write_ns;               /* no write before */
    uint64_t writes, write_errors;
    char last_error[EVENER_STATUS_MESSAGE_BYTES]; /* of reading or writing */
} evener_channel_cache;

/* Read the options of a channel that is being created. Fails only for reasons that the message names. Any thread that
 * may wait for the control thread. */
evener_status_code evener_channel_cache_init(evener_channel *channel, const evener_channel_options *options,
                                             evener_status *status);
/* Free what the cache owns. No job is under way. */
void evener_channel_cache_clear(evener_channel_cache *cache);

/* The resolver is about to be built: read the file. */
void evener_channel_cache_start(evener_channel_cache *cache);
/* The resolver failed: from here on the time of the list in force stays. */
void evener_channel_cache_unconfirmed(evener_channel_cache *cache);
/* The resolver failed, and there is no list. Return whether the cache deals with it: it has put its list in force, or
 * does when it has read it, or reports the failure then. */
bool evener_channel_cache_resolver_failed(evener_channel_cache *cache, const evener_status *failure);
/* The resolver's empty list is in force: either there was no other, or its time has ended. */
void evener_channel_cache_list_is_empty(evener_channel_cache *cache);
/* The resolver's list is in force, and has addresses: a saved one is not used any more. */
void evener_channel_cache_answered(evener_channel_cache *cache);
/* The same list was accepted, with its service config and by the policy: it is to be written. */
void evener_channel_cache_accepted(evener_channel_cache *cache);
/* The channel lets go of its resolver and list: write what was not written yet. Before the list goes. */
void evener_channel_cache_stop(evener_channel_cache *cache);

/* Take over path and age limit of a prepared channel; its cache gets the old ones. */
void evener_channel_cache_exchange_settings(evener_channel_cache *cache, evener_channel_cache *prepared);

/* Return the age of the saved list in force; 0: the list in force is not a saved one. */
uint64_t evener_channel_cache_age_ms(const evener_channel_cache *cache);

#endif
