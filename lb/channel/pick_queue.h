/* Pick queue: calls that wait for a backend, in order of arrival.
 *
 * No pick is lost between a picker and the next: a pick enters the queue only while the generation is the one it read
 * before it tried; whoever changes what a pick could find (a new picker, a backend that got READY) advances the
 * generation and posts the task that tries all again. */
#ifndef EVENER_LB_CHANNEL_PICK_QUEUE_H
#define EVENER_LB_CHANNEL_PICK_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <evener/channel.h>

typedef struct evener_pick_queue {
    evener_channel *channel;
    pthread_mutex_t mutex;
    pthread_cond_t state_changed; /* the channel's state; with `mutex` */
    evener_pick_request requests; /* head of the ring of those that wait; under the mutex */
    uint32_t count;               /* atomic, changed under the mutex */
    uint32_t count_max;
    uint32_t generation;       /* atomic; advanced under the mutex */
    uint32_t tried_generation; /* the task's */
    evener_status last_error;  /* of the channel's last failure; under the mutex */
    const char *connecting_to; /* the address of the attempt that has gone on longest, or ""; under the mutex */
    evener_task task;
} evener_pick_queue;

/* Any thread, before any other use. */
evener_status_code evener_pick_queue_init(evener_pick_queue *queue, evener_channel *channel, uint32_t count_max,
                                          evener_status *status);
/* When nothing waits and the task is not pending. */
void evener_pick_queue_clear(evener_pick_queue *queue);

/* What a pick could find has changed: all are tried again, or end when the channel is closed. Control thread. */
void evener_pick_queue_wake(evener_pick_queue *queue);

/* Publishes a new state to those who wait for one, with the reason in `status` unless NULL. Control thread. */
void evener_pick_queue_set_state(evener_pick_queue *queue, evener_connectivity_state state,
                                 const evener_status *status);

/* Names the attempt to connect that goes on longest ("": there is none), for the messages of picks whose time is up.
 * Borrowed until the next call. Control thread. */
void evener_pick_queue_set_connecting(evener_pick_queue *queue, const char *address);

#endif
