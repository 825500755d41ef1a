/* The first lock of the core that a thread has to wait for. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CORE_LOCKS_H
#define EVENER_LB_TRANSPORT_GRPC_CORE_LOCKS_H

/* Let a thread of its own wait for a lock of the core's, once per process, before the core connects.
 *
 * The first thread that waits for a lock of Abseil reads the processor's frequency and the number of processors from
 * files (20240722, of Debian 13), and leaves the errno ENOENT where they do not exist. The core 1.51 takes locks
 * between connect() and its look at errno, so that a connection in progress would be reported as failed: "No such file
 * or directory" (grpc/grpc#35064 mends that). Does nothing where the thread cannot be started. Any thread. */
void evener_grpc_settle_locks(void);

#endif
