/* Keeps the processors from falling asleep while waiting is measured.
 *
 * A processor with nothing to do is halted, and takes its time to come back: on bare metal up to some 100 us, on a
 * virtual machine until the host gets round to it, which may be milliseconds. Measured on such a machine, otherwise
 * idle, with a timer of 1 ms: one wake-up in a hundred was 0.2 to 6 ms late, with this 0.1 to 0.7 ms in seven runs of
 * eight. Where one may configure the machine that is done otherwise (cyclictest writes to /dev/cpu_dma_latency), but a
 * bench asks for no rights: a thread for each processor runs in SCHED_IDLE, which gives way at once to whatever else
 * wants to run. */
#ifndef BENCH_SUPPORT_AWAKE_H
#define BENCH_SUPPORT_AWAKE_H

/* From now on until bench_awake_end(). A thread that cannot be started is done without. */
void bench_awake_begin(void);
void bench_awake_end(void);

#endif
