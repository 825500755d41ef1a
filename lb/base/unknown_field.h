/* Unknown fields of a configuration: ignored, as other versions and other clients may know them, but not in silence, as
 * most are mistyped. */
#ifndef EVENER_LB_BASE_UNKNOWN_FIELD_H
#define EVENER_LB_BASE_UNKNOWN_FIELD_H

/* Warn, once per process, that `what` ("service config") has a field that evener does not know, at `place`
 * ("methodConfig[0].timeOut"). Any thread; no lock. */
void evener_warn_of_unknown_field(const char *what, const char *place);

#endif
