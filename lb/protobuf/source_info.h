/* Source info: the comments of declarations (protobuf: SourceCodeInfo in descriptor.proto). A declaration is found by
 * its path: the numbers of fields and indexes of elements that lead to it. */
#ifndef EVENER_LB_PROTOBUF_SOURCE_INFO_H
#define EVENER_LB_PROTOBUF_SOURCE_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/descriptors.h>

#include "lb/protobuf/arena.h"

/* Messages inside each other, and a field, enum value or method; two numbers each. */
#define EVENER_SOURCE_PATH_MAX (2 * (EVENER_DESCRIPTORS_DEPTH_MAX + 3))

/* Zeroed: no comments, at the file itself. */
typedef struct evener_source_info {
    struct evener_source_location *locations; /* malloc, sorted; borrows the file's bytes */
    size_t count;
    uint32_t path[EVENER_SOURCE_PATH_MAX]; /* of the current declaration */
    size_t path_length;
} evener_source_info;

/* Read a SourceCodeInfo, whose bytes are borrowed. Errors: INVALID_ARGUMENT (malformed), RESOURCE_EXHAUSTED (memory). */
evener_status_code evener_source_info_read(evener_source_info *info, const uint8_t *data, size_t length);
void evener_source_info_clear(evener_source_info *info);

/* Go to an element of the current declaration, and back. */
void evener_source_info_enter(evener_source_info *info, uint32_t number, uint32_t index);
void evener_source_info_leave(evener_source_info *info);

/* Store the comments of the current declaration, copied to the arena. False: no memory. */
bool evener_source_info_find(const evener_source_info *info, evener_arena *arena, evener_comments *comments);

#endif
