/* Whether the system permits the threads that the core starts when it is initialised. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CORE_THREADS_H
#define EVENER_LB_TRANSPORT_GRPC_CORE_THREADS_H

#include <evener/status.h>

/* Check, before the core is initialised, that it will get its threads: a core that does not get one waits for it for
 * ever in grpc_shutdown() (seen in 1.51). Nothing is checked while the core is initialised. Errors: INTERNAL. Any
 * thread. */
evener_status_code evener_grpc_check_core_threads(evener_status *status);

#endif
