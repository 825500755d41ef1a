/* Link: a place in a circular list, embedded in its owner. One thread at a time. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_LINK_H
#define EVENER_LB_TRANSPORT_HTTP2_LINK_H

#include <stdbool.h>

typedef struct evener_http2_link {
    struct evener_http2_link *previous, *next;
} evener_http2_link;

static inline void evener_http2_link_init(evener_http2_link *head)
{
    head->previous = head;
    head->next = head;
}

static inline bool evener_http2_link_is_empty(const evener_http2_link *head)
{
    return head->next == head;
}

static inline void evener_http2_link_append(evener_http2_link *head, evener_http2_link *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

static inline void evener_http2_link_remove(evener_http2_link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->previous = link;
    link->next = link;
}

#endif
