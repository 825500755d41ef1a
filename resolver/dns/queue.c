#include "resolver/dns/queue.h"

static size_t line_of(const void *owner)
{
    const uint64_t mixed = (uint64_t)(uintptr_t)owner * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(mixed >> 32) % EVENER_DNS_QUEUE_LINES;
}

static void run(evener_dns_queue *queue, evener_dns_ticket *ticket)
{
    queue->running++;
    ticket->state = EVENER_DNS_TICKET_RUNNING;
    ticket->begin(ticket->arg);
}

static void unlink_ticket(evener_dns_queue *queue, evener_dns_ticket *ticket)
{
    *(ticket->previous != NULL ? &ticket->previous->next : &queue->lines[ticket->line].first) = ticket->next;
    *(ticket->next != NULL ? &ticket->next->previous : &queue->lines[ticket->line].last) = ticket->previous;
    ticket->next = ticket->previous = NULL;
    ticket->state = EVENER_DNS_TICKET_NONE;
    queue->waiting--;
}

/* Begin what may begin. */
static void serve(void *arg)
{
    evener_dns_queue *queue = arg;
    size_t looked = 0; /* lines in a row without a ticket that may begin */
    while (queue->waiting > 0 && looked < EVENER_DNS_QUEUE_LINES) {
        evener_dns_ticket *first = queue->lines[queue->turn].first;
        queue->turn = (queue->turn + 1) % EVENER_DNS_QUEUE_LINES;
        looked++;
        if (first != NULL && queue->running < first->limit) {
            unlink_ticket(queue, first);
            run(queue, first);
            looked = 0;
        }
    }
    evener_timer_stop(queue->loop, &queue->next); /* started by those that left at once */
}

void evener_dns_queue_init(evener_dns_queue *queue, evener_loop *loop)
{
    *queue = (evener_dns_queue){.loop = loop, .next = EVENER_TIMER_INIT(serve, queue)};
}

void evener_dns_queue_enter(evener_dns_queue *queue, evener_dns_ticket *ticket, const void *owner, size_t limit)
{
    ticket->limit = limit;
    if (queue->waiting == 0 && queue->running < limit) {
        run(queue, ticket);
        return;
    }
    ticket->line = line_of(owner);
    ticket->state = EVENER_DNS_TICKET_WAITING;
    ticket->next = NULL;
    ticket->previous = queue->lines[ticket->line].last;
    *(ticket->previous != NULL ? &ticket->previous->next : &queue->lines[ticket->line].first) = ticket;
    queue->lines[ticket->line].last = ticket;
    queue->waiting++;
    if (queue->running < limit && !queue->next.active) { /* those that wait may have lower limits */
        evener_timer_start(queue->loop, &queue->next, 0);
    }
}

void evener_dns_queue_leave(evener_dns_queue *queue, evener_dns_ticket *ticket)
{
    if (ticket->state == EVENER_DNS_TICKET_WAITING) {
        unlink_ticket(queue, ticket);
    } else if (ticket->state == EVENER_DNS_TICKET_RUNNING) {
        ticket->state = EVENER_DNS_TICKET_NONE;
        queue->running--;
    } else {
        return;
    }
    if (queue->waiting == 0) {
        evener_timer_stop(queue->loop, &queue->next);
    } else if (!queue->next.active) {
        evener_timer_start(queue->loop, &queue->next, 0);
    }
}
