/* Filling evener_call_details. */
#ifndef EVENER_LB_CALL_GRPC_DETAILS_H
#define EVENER_LB_CALL_GRPC_DETAILS_H

#include "lb/call/grpc/rpc.h"

/* INVALID_ARGUMENT if the details that a call names have no size, or one that no evener had; NULL is OK. */
evener_status_code evener_grpc_details_check(const evener_call_details *details, evener_status *status);

/* Copies what the attempt received; without memory the details stay empty but for the number of attempts. */
void evener_grpc_details_fill(evener_call_details *details, const evener_grpc_attempt *attempt, uint32_t attempts);

/* The details of a call that ended without a backend. */
void evener_grpc_details_fill_unsent(evener_call_details *details, uint32_t attempts);

#endif
