/* Generator: from protoc's request to the generated files. */
#ifndef EVENER_LB_PROTOBUF_PLUGIN_GENERATOR_H
#define EVENER_LB_PROTOBUF_PLUGIN_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Store the packed CodeGeneratorResponse to a packed CodeGeneratorRequest, to be freed. What is wrong with the
 * .proto files is in its `error`. False: the bytes are no request, or there is no memory; *error says which, a
 * static text. */
bool generator_run(const uint8_t *request, size_t request_bytes, uint8_t **response, size_t *response_bytes,
                   const char **error);

#endif
