#include "lb/policy/glance.h"

evener_glance evener_glances[EVENER_LANES];
