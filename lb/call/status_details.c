/* google.rpc.Status {code = 1, message = 2, details = 3 repeated google.protobuf.Any {type_url = 1, value = 2}}. */
#include <evener/call.h>

static const char trailer[] = "grpc-status-details-bin";

/* What is left of a message. */
typedef struct reader {
    const uint8_t *at, *end;
} reader;

typedef struct field {
    uint32_t number;
    uint64_t varint; /* wire type 0 */
    reader bytes;    /* wire type 2 */
    uint32_t wire;
} field;

static bool read_varint(reader *r, uint64_t *value)
{
    *value = 0;
    for (uint32_t shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        const uint8_t byte = *r->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

static bool skip(reader *r, uint64_t bytes)
{
    if (bytes > (uint64_t)(r->end - r->at)) {
        return false;
    }
    r->at += bytes;
    return true;
}

/* Read the next field. False: the message is malformed. */
static bool read_field(reader *r, field *f)
{
    uint64_t tag;
    if (!read_varint(r, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) {
        return false;
    }
    *f = (field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    switch (f->wire) {
    case 0:
        return read_varint(r, &f->varint);
    case 1:
        return skip(r, 8);
    case 2: {
        uint64_t bytes;
        if (!read_varint(r, &bytes)) {
            return false;
        }
        f->bytes.at = r->at;
        if (!skip(r, bytes)) {
            return false;
        }
        f->bytes.end = r->at;
        return true;
    }
    case 5:
        return skip(r, 4);
    default:
        return false;
    }
}

static size_t length_of(const reader *r)
{
    return (size_t)(r->end - r->at);
}

static bool read_any(reader r, evener_status_detail *detail)
{
    *detail = (evener_status_detail){.type_url = "", .value = ""};
    while (r.at < r.end) {
        field f;
        if (!read_field(&r, &f)) {
            return false;
        }
        if (f.number == 1 && f.wire == 2) {
            detail->type_url = (const char *)f.bytes.at;
            detail->type_url_bytes = length_of(&f.bytes);
        } else if (f.number == 2 && f.wire == 2) {
            detail->value = f.bytes.at;
            detail->value_bytes = length_of(&f.bytes);
        }
    }
    return true;
}

static bool read_status(reader r, evener_status_details *details, evener_status_detail *list, size_t room)
{
    *details = (evener_status_details){.message = ""};
    while (r.at < r.end) {
        field f;
        evener_status_detail detail;
        if (!read_field(&r, &f) || (f.number == 3 && f.wire == 2 && !read_any(f.bytes, &detail))) {
            return false;
        }
        if (f.number == 1 && f.wire == 0) {
            details->code = (int32_t)f.varint;
        } else if (f.number == 2 && f.wire == 2) {
            details->message = (const char *)f.bytes.at;
            details->message_bytes = length_of(&f.bytes);
        } else if (f.number == 3 && f.wire == 2) {
            if (details->count < room) {
                list[details->count] = detail;
            }
            details->count++;
        }
    }
    return true;
}

evener_status_code evener_call_status_details(const evener_call_details *details, evener_status_details *status_details,
                                              evener_status_detail *list, size_t room, evener_status *status)
{
    const evener_metadata *entry =
        evener_metadata_find(details->trailing_metadata, details->trailing_metadata_count, trailer);
    if (entry == NULL) {
        return evener_status_set(status, EVENER_STATUS_NOT_FOUND, "the server sent no %s", trailer);
    }
    const uint8_t *bytes = (const uint8_t *)entry->value;
    evener_status_details read;
    if (!read_status((reader){bytes, bytes + entry->value_bytes}, &read, list, room)) {
        return evener_status_set(status, EVENER_STATUS_DATA_LOSS, "%s: it is no google.rpc.Status", trailer);
    }
    *status_details = read;
    return evener_status_clear(status);
}
