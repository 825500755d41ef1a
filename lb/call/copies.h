/* Copies of what is borrowed only until a function has returned: method, authority, metadata, trace. In one block,
 * which the owner allocates; the copies are aligned to pointers. */
#ifndef EVENER_LB_CALL_COPIES_H
#define EVENER_LB_CALL_COPIES_H

#include "lb/call/rpc.h"

/* Return the bytes that the block needs. */
size_t evener_copies_bytes(const char *method, const evener_call_options *options);

/* Copy into the block, which is aligned to a pointer, and make the RPC use the copies. */
void evener_copies_make(evener_rpc *rpc, void *block);

#endif
