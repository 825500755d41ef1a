/* What a process of bench_scale measures and reports, and how the two find the connections. */
#ifndef BENCH_SCALE_MEASURED_H
#define BENCH_SCALE_MEASURED_H

#include <stdbool.h>
#include <stdint.h>

typedef struct scale_result {
    bool complete;
    double wall_us, cpu_us, close_us;
    double kib; /* growth of the resident memory */
    unsigned connections;
} scale_result;

/* Return the number of connections that the server on `port` has accepted and that neither side has closed. */
unsigned scale_connections(uint16_t port);

void scale_pause_ms(long ms);

#endif
