/* Fork: bring evener to rest around a fork().
 *
 *     if (evener_prefork(5000, &status) != EVENER_STATUS_OK) { ... fork anyway, or later ... }
 *     pid = fork();
 *     if (pid == 0) { evener_postfork_child(); ... } else { evener_postfork_parent(); ... }
 *
 * fork() is safe without these functions (docs/in-your-process.md). They are for programs whose plug-ins, callbacks or
 * other libraries hold locks or keep state of their own: at rest no call is in flight, and no function of a resolver,
 * a policy or a timer runs, so nothing of the kind is cut off half-way in the child. */
#ifndef EVENER_FORK_H
#define EVENER_FORK_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/export.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* Bring all channels and runtimes of the process to rest. From now on picks wait, as if there were no backend; calls in
 * flight end; then every control thread stops between two functions. Return OK when all of this holds, until
 * evener_postfork_parent(). Waiting calls keep their deadlines, but one that passes at rest is reported afterwards.
 * Functions that wait for a control thread (evener_channel_get_stats() and the like) wait until then, too.
 *
 * Not included: channels on a loop of the caller's, which stops when the caller does not run it; channels that are
 * created at rest; connections, which stay open and answer keepalive.
 *
 * On an error everything goes on as before. Errors: DEADLINE_EXCEEDED (calls in flight did not end, or a function on a
 * control thread did not return, within `timeout_ms`); FAILED_PRECONDITION (called twice, or on a thread of evener's);
 * RESOURCE_EXHAUSTED. Any thread but evener's own. */
EVENER_API evener_status_code evener_prefork(uint64_t timeout_ms, evener_status *status);

/* End the rest: waiting picks go on. Nothing happens without a successful evener_prefork(). Any thread. */
EVENER_API void evener_postfork_parent(void);

/* Likewise in the child, where the parent's channels answer FAILED_PRECONDITION and new ones work. Calling it is
 * optional, as the child begins without the parent's rest. */
EVENER_API void evener_postfork_child(void);

/* Leave liburcu-bp's part of a fork to the program, or, with false, take it back. evener calls urcu_bp_before_fork()
 * and its two counterparts in each fork(), and liburcu does not permit a second call: a program that has registered
 * them with pthread_atfork() itself calls this function before its first fork(), otherwise that fork() never returns. It
 * must then call them in every fork() whose child uses evener. Not needed for several copies of evener in one process:
 * they agree among themselves. Not during a fork(). Any thread. */
EVENER_API void evener_fork_leave_rcu(bool leave);

EVENER_END_DECLS

#endif
