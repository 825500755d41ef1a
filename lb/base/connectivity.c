#include <evener/connectivity.h>

const char *evener_connectivity_state_name(evener_connectivity_state state)
{
    switch (state) {
    case EVENER_IDLE:
        return "IDLE";
    case EVENER_CONNECTING:
        return "CONNECTING";
    case EVENER_READY:
        return "READY";
    case EVENER_TRANSIENT_FAILURE:
        return "TRANSIENT_FAILURE";
    case EVENER_SHUTDOWN:
        return "SHUTDOWN";
    }
    return "?";
}
