/* The base policy for policies with little memory per backend.
 *
 * The data of such a policy (subchannel_data_bytes) begins with an evener_subchannel *, which the base writes before
 * subchannel_created() and before any picker, so that a pick finds the subchannel where it reads its statistics. The
 * base keeps neither that pointer nor the address a second time, and evener_base_ready.ready_since_ns is NULL: 24 bytes
 * less per backend. An update takes a little longer, as addresses are found through the subchannel.
 *
 * The base compares an update with the subchannel's address. So a wrapping policy that changes attributes does it in
 * the update that it hands on: attributes that it gives a subchannel itself last until a later update. */
#ifndef EVENER_LB_POLICY_BASE_LEAN_H
#define EVENER_LB_POLICY_BASE_LEAN_H

#include <evener/base_policy.h>

/* As evener_base_policy_build(). */
evener_policy *evener_base_policy_build_lean(const evener_policy_builder *builder, evener_policy_helper *helper);

#endif
