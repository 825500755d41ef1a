/* Logging: the library never prints on its own; it hands lines to a sink.
 *
 * With no sink set and the environment variable EVENER_LOG unset, nothing is written anywhere. EVENER_LOG=debug (or
 * info, warning, error) writes readable lines of that level and above to standard error, unless a sink is set. */
#ifndef EVENER_LOG_H
#define EVENER_LOG_H

#include <stdbool.h>

#include <evener/export.h>

EVENER_BEGIN_DECLS

typedef enum evener_log_level {
    EVENER_LOG_DEBUG = 0,   /* every change of a connectivity state, resolver update and failed pick */
    EVENER_LOG_INFO = 1,    /* events an operator is interested in: policy changed, list changed */
    EVENER_LOG_WARNING = 2, /* something is wrong; the last good state serves on */
    EVENER_LOG_ERROR = 3,   /* something is wrong, and calls are affected */
    EVENER_LOG_NONE = 4     /* as a minimum level: nothing is logged */
} evener_log_level;

/* Receive one line, without a newline. Control characters (servers, name servers and files may send some) are escaped
 * as in C strings; UTF-8 text stays as it is. `component` names the part ("channel", "resolver", "subchannel", ...).
 * Called on the thread that logs, on several at once: must be thread-safe, must not block for long and must not call
 * evener. The strings are valid during the call only. */
typedef void (*evener_log_sink)(void *arg, evener_log_level level, const char *component, const char *message);

/* Set the process's sink and its minimum level. A NULL sink restores the behaviour of EVENER_LOG. A line that another
 * thread is logging may still reach the old sink shortly after this returns. Any thread. */
EVENER_API void evener_log_set_sink(evener_log_sink sink, void *arg, evener_log_level minimum_level);

/* Return whether a line of this level would be written, before composing an expensive message. Any thread. */
EVENER_API bool evener_log_enabled(evener_log_level level);

/* Log one line. Plug-ins may use it too. Any thread. */
EVENER_API void evener_log(evener_log_level level, const char *component, const char *format, ...) EVENER_PRINTF(3, 4);

EVENER_END_DECLS

#endif
