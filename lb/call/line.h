/* Line: one attempt as its stream sees it: how far it has written what the stream keeps (replay.h). A stream has one
 * line, a hedged stream one per attempt. Under the mutex of the stream. */
#ifndef EVENER_LB_CALL_LINE_H
#define EVENER_LB_CALL_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/bytes.h>

#include "lb/call/attempts.h"

struct evener_stream_peer_name;

typedef struct evener_line {
    evener_attempts *attempts;            /* the attempt's; of a stream that is not hedged: the stream's */
    struct evener_line *next;             /* of a hedged stream: among those that are open; the newest is first */
    struct evener_stream_peer_name *peer; /* the stream's memory; NULL: none yet */
    size_t written;                       /* messages of the replay that the attempt has written */
    evener_bytes out; /* of a hedged stream: a reference to the message under way, which other attempts may outpace */
    bool is_open;     /* of a hedged stream: the attempt is on the wire, and no other one was chosen */
    bool half_close_sent;
    bool holds_headers; /* empty ones came, which may be none: see empty_headers_are_ambiguous */
} evener_line;

#endif
