/* EVENER_SIBLING: marks an inner function that libevener exports for libevener-grpc and libevener-protobuf-c, which are
 * always of the same version. Not for programs: no public header declares these, and any version may change them. tests/check_symbols.sh
 * lists them as expected exports. */
#ifndef EVENER_LB_BASE_SIBLING_H
#define EVENER_LB_BASE_SIBLING_H

#include <evener/export.h>

#define EVENER_SIBLING EVENER_API

#endif
