#include "lb/protobuf/source_info.h"

#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/wire.h"

#define LOCATIONS_MAX 262144 /* with comments, of a file; further comments are not kept */

typedef struct evener_source_location {
    uint32_t path[EVENER_SOURCE_PATH_MAX];
    size_t path_length;
    const uint8_t *leading, *trailing;
    size_t leading_bytes, trailing_bytes;
} location;

static int compare(const void *left, const void *right)
{
    const location *l = left, *r = right;
    if (l->path_length != r->path_length) {
        return l->path_length < r->path_length ? -1 : 1;
    }
    return memcmp(l->path, r->path, l->path_length * sizeof l->path[0]);
}

/* Read the path of a location. False: malformed. A path that is too long for any declaration becomes empty. */
static bool read_path(const evener_wire_field *f, location *to)
{
    evener_wire_reader reader = evener_wire_read(f->data, f->length);
    uint64_t value = f->value;
    evener_wire_result result = EVENER_WIRE_FIELD;
    while (f->type == EVENER_WIRE_VARINT ||
           (result = evener_wire_next_packed(&reader, EVENER_WIRE_VARINT, &value)) == EVENER_WIRE_FIELD) {
        if (to->path_length == EVENER_SOURCE_PATH_MAX) {
            to->path_length = 0;
            return true;
        }
        to->path[to->path_length++] = (uint32_t)value;
        if (f->type == EVENER_WIRE_VARINT) {
            break;
        }
    }
    return result != EVENER_WIRE_MALFORMED;
}

static bool is_text(const evener_wire_field *f)
{
    return f->type == EVENER_WIRE_BYTES && evener_utf8_is_valid(f->data, f->length) &&
           (f->length == 0 || memchr(f->data, '\0', f->length) == NULL);
}

/* Read a location. False: malformed. */
static bool read_location(const evener_wire_field *from, location *to)
{
    evener_wire_reader reader = evener_wire_read(from->data, from->length);
    evener_wire_field f;
    evener_wire_result result;
    *to = (location){0};
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == 1) { /* path */
            if ((f.type != EVENER_WIRE_BYTES && f.type != EVENER_WIRE_VARINT) || !read_path(&f, to)) {
                return false;
            }
        } else if (f.number == 3 && is_text(&f)) { /* leading_comments */
            to->leading = f.data;
            to->leading_bytes = f.length;
        } else if (f.number == 4 && is_text(&f)) { /* trailing_comments */
            to->trailing = f.data;
            to->trailing_bytes = f.length;
        }
    }
    return result == EVENER_WIRE_END;
}

evener_status_code evener_source_info_read(evener_source_info *info, const uint8_t *data, size_t length)
{
    evener_wire_reader reader = evener_wire_read(data, length);
    evener_wire_field f;
    evener_wire_result result;
    size_t room = info->count;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        location read;
        if (f.number != 1) {
            continue;
        }
        if (f.type != EVENER_WIRE_BYTES || !read_location(&f, &read)) {
            return EVENER_STATUS_INVALID_ARGUMENT;
        }
        if ((read.leading_bytes == 0 && read.trailing_bytes == 0) || info->count == LOCATIONS_MAX) {
            continue; /* most locations */
        }
        if (info->count == room) {
            room = room < 16 ? 16 : 2 * room;
            location *grown = realloc(info->locations, room * sizeof *grown);
            if (grown == NULL) {
                return EVENER_STATUS_RESOURCE_EXHAUSTED;
            }
            info->locations = grown;
        }
        info->locations[info->count++] = read;
    }
    if (info->count > 0) {
        qsort(info->locations, info->count, sizeof(location), compare);
    }
    return result == EVENER_WIRE_END ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT;
}

void evener_source_info_clear(evener_source_info *info)
{
    free(info->locations);
    *info = (evener_source_info){0};
}

void evener_source_info_enter(evener_source_info *info, uint32_t number, uint32_t index)
{
    if (info->path_length + 2 <= EVENER_SOURCE_PATH_MAX) {
        info->path[info->path_length] = number;
        info->path[info->path_length + 1] = index;
    }
    info->path_length += 2;
}

void evener_source_info_leave(evener_source_info *info)
{
    info->path_length -= 2;
}

bool evener_source_info_find(const evener_source_info *info, evener_arena *arena, evener_comments *comments)
{
    comments->leading = comments->trailing = "";
    if (info->count == 0 || info->path_length > EVENER_SOURCE_PATH_MAX) {
        return true;
    }
    location key = {.path_length = info->path_length};
    memcpy(key.path, info->path, info->path_length * sizeof key.path[0]);
    const location *found = bsearch(&key, info->locations, info->count, sizeof key, compare);
    if (found == NULL) {
        return true;
    }
    comments->leading = evener_arena_text(arena, found->leading, found->leading_bytes);
    comments->trailing = evener_arena_text(arena, found->trailing, found->trailing_bytes);
    return comments->leading != NULL && comments->trailing != NULL;
}
