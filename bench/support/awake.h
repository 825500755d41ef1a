/* Keeps the processors from idling while waiting times are measured.
 *
 * An idle processor is halted and needs time to resume: up to about 100 us on bare metal; on a virtual machine until
 * the host schedules it, which may take milliseconds. Measured on such a machine, otherwise idle, with a 1 ms timer:
 * one wake-up in a hundred was 0.2 to 6 ms late; with this module 0.1 to 0.7 ms in seven runs of eight. With
 * privileges one would write to /dev/cpu_dma_latency, as cyclictest does. A bench has none, so one thread per
 * processor runs in SCHED_IDLE, which yields at once to all other work. */
#ifndef BENCH_SUPPORT_AWAKE_H
#define BENCH_SUPPORT_AWAKE_H

/* Keep the processors awake until bench_awake_end(). Best effort: a thread that does not start is skipped. */
void bench_awake_begin(void);
void bench_awake_end(void);

#endif
