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
    EVENER_LOG_DEBUG = 0,   /* every connectivity transition, resolver update and pick failure */
    EVENER_LOG_INFO = 1,    /* what an operator wants to know once: policy changed, list changed */
    EVENER_LOG_WARNING = 2, /* something is wrong and the last good state serves on */
    EVENER_LOG_ERROR = 3,   /* something is wrong and calls suffer */
    EVENER_LOG_NONE = 4     /* as a minimum level: nothing is logged */
} evener_log_level;

/* Receives one line, without a newline: control characters, which servers, name servers and files may have put into it,
 * are escaped as C strings spell them; UTF-8 text is as it was. `component` names the part ("channel", "resolver", "subchannel", ...).
 * Called on whatever thread logs, several at once: must be thread-safe, must not block for long and must not call
 * evener. The strings are valid during the call only. */
typedef void (*evener_log_sink)(void *arg, evener_log_level level, const char *component, const char *message);

/* Sets the process's sink and its lowest level. A NULL sink goes back to what EVENER_LOG says. A line under way on
 * another thread may still reach the old sink shortly after this returns. Any thread. */
EVENER_API void evener_log_set_sink(evener_log_sink sink, void *arg, evener_log_level minimum_level);

/* True when a line of this level would go anywhere: asks before an expensive message is made. Any thread. */
EVENER_API bool evener_log_enabled(evener_log_level level);

/* Logs one line; for plug-ins too. Any thread. */
EVENER_API void evener_log(evener_log_level level, const char *component, const char *format, ...) EVENER_PRINTF(3, 4);

EVENER_END_DECLS

#endif
