/* A wrapping policy of one's own: "limit". */
#ifndef EVENER_EXAMPLES_LIMIT_POLICY_H
#define EVENER_EXAMPLES_LIMIT_POLICY_H

#include <evener/evener.h>

extern const evener_policy_builder limit_builder;

#endif
