/* Queue: bounds the queries in flight, fairly. 1,000 names of one channel must not use up the process's descriptors,
 * nor keep another channel's one name waiting. Control thread. */
#ifndef EVENER_RESOLVER_DNS_QUEUE_H
#define EVENER_RESOLVER_DNS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>

#define EVENER_DNS_QUEUE_LINES 64

typedef struct evener_dns_ticket {
    void (*begin)(void *arg); /* it is this one's turn; may leave, must not enter */
    void *arg;
    /* Used by the queue. */
    enum { EVENER_DNS_TICKET_NONE, EVENER_DNS_TICKET_WAITING, EVENER_DNS_TICKET_RUNNING } state;
    size_t line;
    size_t limit;
    struct evener_dns_ticket *next, *previous;
} evener_dns_ticket;

typedef struct evener_dns_queue {
    evener_loop *loop;
    evener_timer next; /* begins what may begin; active only while some wait */
    size_t running;
    size_t waiting;
    size_t turn; /* the line to serve next */
    struct {
        evener_dns_ticket *first, *last;
    } lines[EVENER_DNS_QUEUE_LINES]; /* owners are spread over lines; the lines take turns */
} evener_dns_queue;

/* Make the queue empty. An empty queue needs no clean-up. */
void evener_dns_queue_init(evener_dns_queue *queue, evener_loop *loop);

/* Call begin() at once if fewer than `limit` are running and none waits, otherwise when it is the ticket's turn.
 * `owner` identifies who takes turns with others: a channel. */
void evener_dns_queue_enter(evener_dns_queue *queue, evener_dns_ticket *ticket, const void *owner, size_t limit);

/* Give the place back, or stop waiting. Others begin by timer, never from inside: whoever leaves may be about to take
 * them away as well. A ticket that is not in the queue is allowed. */
void evener_dns_queue_leave(evener_dns_queue *queue, evener_dns_ticket *ticket);

#endif
