/* Tables that put figures side by side: evener and the core in one run, and what others reach. */
#ifndef BENCH_REPORT_COMPARE_H
#define BENCH_REPORT_COMPARE_H

#include <jansson.h>

/* A line for each case of calls, evener's figures beside the core's and their ratio. */
void compare_print_rpc(const json_t *rpc);

/* The peers of published.json, and below them the policies of this run, as minimum/median. */
void compare_print_peers(const json_t *peers, const json_t *picker);

#endif
