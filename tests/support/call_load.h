/* Load: a number of calls always in flight on a client, each followed by the next.
 *
 *     call_load *load = call_load_start(client, 16);
 *     call_load_let_pass(load, 1000);
 *     ... kill a server ...
 *     call_load_settle(load);
 *     printf("%llu failed\n", call_load_failed(load));
 *     call_load_stop(load);
 *
 * Functions that wait abort the test program after 60 s in which nothing they wait for has happened. One thread uses a
 * load. */
#ifndef TESTS_SUPPORT_CALL_LOAD_H
#define TESTS_SUPPORT_CALL_LOAD_H

#include <stdint.h>

#include "bench/rpc/client.h"

#define CALL_LOAD_IN_FLIGHT_MAX 128

typedef struct call_load call_load;

/* Start the load. The client is borrowed until call_load_stop(). */
call_load *call_load_start(bench_client *client, unsigned in_flight);
/* Wait until no call is in flight, and free the load. NULL is allowed. */
void call_load_stop(call_load *load);

/* Wait until that many more calls have ended. */
void call_load_let_pass(call_load *load, uint64_t calls);
/* Wait until every call that is in flight now has ended. */
void call_load_settle(call_load *load);

/* Return the number of calls that have ended since the start, and of those that failed. */
uint64_t call_load_ended(call_load *load);
uint64_t call_load_failed(call_load *load);

typedef struct call_load_figures {
    double calls_per_s;
    uint64_t failed;
} call_load_figures;

/* Make a fixed number of calls and wait for them. */
call_load_figures call_load_run(bench_client *client, unsigned in_flight, uint64_t calls);

#endif
