/* Tables that compare: evener with the core in one run, and with published systems. */
#ifndef BENCH_REPORT_COMPARE_H
#define BENCH_REPORT_COMPARE_H

#include <jansson.h>

/* Print one line per case: evener's figures, the core's, and their ratio. */
void compare_print_rpc(const json_t *rpc);

/* Print the peers of published.json, then the policies of this run, as minimum/median. */
void compare_print_peers(const json_t *peers, const json_t *picker);

#endif
