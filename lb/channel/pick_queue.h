/* Pick queue: picks that wait for a backend, in order of arrival.
 *
 * No wake-up is lost between two pickers: a pick enters the queue only while the generation is the one that it read
 * before it tried. A change of what a pick could find (a new picker, a backend that became READY) advances the
 * generation and posts the task that retries all waiting picks.
 *
 * The task works in batches: the mutex is held only to choose a batch and to store its results, never during picks or
 * callbacks, and after some hundred picks the task posts itself again, so that other work of the control thread runs in
 * between. A pass goes from the oldest pick to the newest. If the generation advances during a pass, the pass starts
 * again at the oldest one, but only once: otherwise frequent changes would starve the newest. */
#ifndef EVENER_LB_CHANNEL_PICK_QUEUE_H
#define EVENER_LB_CHANNEL_PICK_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <evener/channel.h>

typedef struct evener_pick_queue {
    evener_channel *channel;
    pthread_mutex_t mutex;
    pthread_cond_t state_changed;  /* used with `mutex` */
    evener_pick_request requests;  /* head of the ring of waiting requests; this and the next three: guarded by mutex */
    evener_pick_request cancelled; /* head of the ring of asynchronous ones whose callback is due */
    evener_pick_request *to_try;   /* the next one that this pass retries; the head: none */
    evener_pick_request *untimed;  /* the first one whose timer was not started yet; the head: none */
    bool in_pass, restarted;       /* belong to the task */
    bool pass_is_full;             /* likewise: a limit has stopped a request of this pass */
    bool expires_in_order; /* requests that wait because of a limit began to in the order of the ring; with the mutex */
    uint32_t count;        /* atomic; changed with the mutex held */
    uint32_t count_max;
    uint32_t generation;       /* atomic; advanced with the mutex held */
    uint32_t tried_generation; /* belongs to the task */
    evener_status last_error;  /* reason of the channel's last failure; guarded by mutex */
    size_t ready_backends;     /* when the picker in force was published; guarded by mutex */
    const char *connecting_to; /* address of the longest-running attempt, or ""; guarded by mutex */
    evener_task task;
    evener_timer limit_timer; /* of requests that wait because of a limit; the control thread's */
} evener_pick_queue;

/* Initialise. Any thread, before any other use. */
evener_status_code evener_pick_queue_init(evener_pick_queue *queue, evener_channel *channel, uint32_t count_max,
                                          evener_status *status);
/* Free. No pick waits and the task is not pending. */
void evener_pick_queue_clear(evener_pick_queue *queue);

/* Retry all waiting picks, as the result may have changed; end them when the channel is closed. Control thread. */
void evener_pick_queue_wake(evener_pick_queue *queue);

/* The same after a change of the channel's limits, of which the time of a wait is one. Control thread, or before any
 * other use. */
void evener_pick_queue_limits_changed(evener_pick_queue *queue);

/* Publish a new state and the number of READY backends to threads that wait for one, with the reason in `status`
 * unless NULL. Control thread. */
void evener_pick_queue_set_state(evener_pick_queue *queue, evener_connectivity_state state, size_t ready_backends,
                                 const evener_status *status);

/* Set the address of the longest-running attempt to connect ("": none), for the messages of picks whose deadline
 * passes. Borrowed until the next call. Control thread. */
void evener_pick_queue_set_connecting(evener_pick_queue *queue, const char *address);

#endif
