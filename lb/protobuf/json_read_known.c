/* JSON to bytes: the messages of google/protobuf/ with forms of their own. Their fields' numbers are given here; that a
 * type has these fields was checked when it was added to its pool (message_type.c). */
#include <stdio.h>
#include <string.h>

#include "lb/protobuf/json_read.h"
#include "lb/protobuf/json_values.h"

static void put_varint_field(evener_json_input *in, uint32_t number, int64_t value)
{
    if (value != 0 || in->write_defaults) {
        evener_wire_put_tag(&in->out, number, EVENER_WIRE_VARINT);
        evener_wire_put_varint(&in->out, (uint64_t)value);
    }
}

static bool read_time(evener_json_input *in, const evener_json_path *path, bool timestamp)
{
    int64_t seconds;
    int32_t nanos;
    const char *needed = timestamp ? "a time such as \"2006-01-02T15:04:05.5Z\" is needed"
                                   : "a duration in seconds such as \"1.5s\" is needed";
    if (!evener_json_read_text(in, path, needed)) {
        return false;
    }
    const char *text = (const char *)in->text.data;
    if (in->text.length == 0 || !(timestamp ? evener_timestamp_read(text, in->text.length, &seconds, &nanos)
                                            : evener_duration_read(text, in->text.length, &seconds, &nanos))) {
        return evener_json_read_wrong(in, path, needed);
    }
    put_varint_field(in, 1, seconds);
    put_varint_field(in, 2, nanos);
    return true;
}

static bool read_mask(evener_json_input *in, const evener_json_path *path)
{
    static const char needed[] = "field names in lowerCamelCase, joined by commas, are needed";
    if (!evener_json_read_text(in, path, needed)) {
        return false;
    }
    const char *at = (const char *)in->text.data, *end = at + in->text.length;
    while (in->text.length > 0) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *path_end = comma != NULL ? comma : end;
        evener_wire_put_tag(&in->out, 1, EVENER_WIRE_BYTES);
        const size_t start = in->out.length;
        if (!evener_mask_path_read(at, (size_t)(path_end - at), &in->out)) {
            return evener_json_read_wrong(in, path, needed);
        }
        evener_wire_close(&in->out, start);
        if (comma == NULL) {
            break;
        }
        at = comma + 1;
    }
    return true;
}

/* ---- Struct, Value, ListValue ---- */

static bool read_value(evener_json_input *in, const evener_json_path *path);

/* Read a value into field `number`. */
static bool read_value_field(evener_json_input *in, const evener_json_path *path, uint32_t number)
{
    evener_wire_put_tag(&in->out, number, EVENER_WIRE_BYTES);
    const size_t start = in->out.length;
    if (!evener_json_read_enter(in, path) || !read_value(in, path)) {
        return false;
    }
    in->depth--;
    evener_wire_close(&in->out, start);
    return true;
}

static bool read_list_value(evener_json_input *in, const evener_json_path *path)
{
    bool first = true;
    if (!evener_json_take(&in->reader, '[')) {
        return evener_json_read_other(in, path, "a list is needed");
    }
    evener_json_path element = {.up = path};
    for (; evener_json_next_element(&in->reader, ']', &first); element.length++) {
        if (!read_value_field(in, &element, 1)) { /* values */
            return false;
        }
    }
    return in->reader.problem == NULL || evener_json_read_wrong(in, path, "");
}

static bool read_struct(evener_json_input *in, const evener_json_path *path)
{
    bool first = true;
    if (!evener_json_take(&in->reader, '{')) {
        return evener_json_read_other(in, path, "an object is needed");
    }
    while (evener_json_next_element(&in->reader, '}', &first)) {
        evener_json_slice raw;
        if (!evener_json_key(&in->reader, &raw)) {
            return evener_json_read_wrong(in, path, "");
        }
        const evener_json_path member = {path, raw.text, raw.length};
        in->text.length = 0;
        evener_json_unescape(raw, &in->text);
        evener_wire_put_tag(&in->out, 1, EVENER_WIRE_BYTES); /* fields */
        const size_t start = in->out.length;
        evener_wire_put_bytes(&in->out, 1, in->text.data, in->text.length);
        if (!read_value_field(in, &member, 2)) {
            return false;
        }
        evener_wire_close(&in->out, start);
    }
    return in->reader.problem == NULL || evener_json_read_wrong(in, path, "");
}

static bool read_value(evener_json_input *in, const evener_json_path *path)
{
    const char c = evener_json_peek(&in->reader);
    if (c == '{' || c == '[') {
        evener_wire_put_tag(&in->out, c == '{' ? 5 : 6, EVENER_WIRE_BYTES); /* struct_value, list_value */
        const size_t start = in->out.length;
        if (!(c == '{' ? read_struct(in, path) : read_list_value(in, path))) {
            return false;
        }
        evener_wire_close(&in->out, start);
        return true;
    }
    if (c == '"') {
        if (!evener_json_read_text(in, path, "")) {
            return false;
        }
        evener_wire_put_bytes(&in->out, 3, in->text.data, in->text.length); /* string_value */
        return true;
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        evener_json_slice number;
        double value;
        uint64_t bits;
        if (!evener_json_number(&in->reader, &number)) {
            return evener_json_read_wrong(in, path, "");
        }
        if (!evener_double_read(number.text, number.length, false, &value)) {
            return evener_json_read_wrong(in, path, "the number is too large");
        }
        memcpy(&bits, &value, sizeof bits);
        evener_wire_put_tag(&in->out, 2, EVENER_WIRE_FIXED64); /* number_value */
        evener_wire_put_fixed(&in->out, bits, 8);
        return true;
    }
    if (!evener_json_word(&in->reader, c == 't' ? "true" : c == 'f' ? "false" : "null")) {
        return evener_json_read_wrong(in, path, "");
    }
    evener_wire_put_tag(&in->out, c == 'n' ? 1 : 4, EVENER_WIRE_VARINT); /* null_value, bool_value */
    evener_wire_put_varint(&in->out, c == 't');
    return true;
}

/* ---- Any ---- */

/* What an Any's object has, wherever in it. */
typedef struct any_members {
    bool has_type, empty;
    evener_json_slice type;    /* raw */
    evener_json_reader opaque; /* at the value of "@value"; begin NULL: there is none */
} any_members;

/* Look for an Any's type without consuming anything. */
static bool look_ahead(evener_json_input *in, const evener_json_path *path, any_members *members)
{
    evener_json_reader ahead = in->reader;
    bool first = true;
    *members = (any_members){.empty = true};
    if (!evener_json_take(&ahead, '{')) {
        return evener_json_read_other(in, path, "an object is needed");
    }
    while (evener_json_next_element(&ahead, '}', &first)) {
        evener_json_slice raw;
        bool deep = false;
        members->empty = false;
        if (!evener_json_key(&ahead, &raw)) {
            break;
        }
        if (evener_json_equals(raw, "@type")) {
            if (members->has_type || evener_json_peek(&ahead) != '"') {
                in->reader = ahead;
                return evener_json_read_other(in, path, "one @type, a string, is needed");
            }
            members->has_type = true;
            if (!evener_json_string(&ahead, &members->type)) {
                break;
            }
            continue;
        }
        if (evener_json_equals(raw, "@value")) {
            members->opaque = ahead;
        }
        if (!evener_json_skip(&ahead, in->options.depth_max - in->depth, &deep)) {
            if (deep) {
                return evener_json_wrong(path, EVENER_STATUS_RESOURCE_EXHAUSTED, "too many levels", in->status);
            }
            break;
        }
    }
    if (ahead.problem != NULL) {
        in->reader = ahead;
        return evener_json_read_wrong(in, path, "");
    }
    return true;
}

/* Read {"@type": ..., "value": FORM}. */
static bool read_any_value(evener_json_input *in, const evener_json_path *path, const evener_message_type *type)
{
    bool first = true, found = false;
    (void)evener_json_take(&in->reader, '{');
    while (evener_json_next_element(&in->reader, '}', &first)) {
        evener_json_slice raw;
        bool deep = false;
        if (!evener_json_key(&in->reader, &raw)) {
            break;
        }
        const evener_json_path member = {path, raw.text, raw.length};
        if (evener_json_equals(raw, "value") && !found) {
            found = true;
            if (!evener_json_read_message(in, &member, type)) {
                return false;
            }
        } else if (!evener_json_equals(raw, "@type") && !in->options.ignore_unknown) {
            return evener_json_read_wrong(in, &member, "only \"@type\" and one \"value\" may be here");
        } else if (!evener_json_skip(&in->reader, in->options.depth_max, &deep)) {
            break;
        }
    }
    return (in->reader.problem == NULL && (found || evener_message_node_of(type)->known == EVENER_KNOWN_EMPTY)) ||
           evener_json_read_wrong(in, path, "\"value\" is needed");
}

/* Whether the object has the member `name` beside @type. The look-ahead found it well-formed. */
static bool has_member(const evener_json_input *in, const char *name)
{
    evener_json_reader ahead = in->reader;
    bool first = true, deep = false, found = false;
    (void)evener_json_take(&ahead, '{');
    while (!found && evener_json_next_element(&ahead, '}', &first)) {
        evener_json_slice raw;
        if (!evener_json_key(&ahead, &raw)) {
            break;
        }
        found = evener_json_equals(raw, name);
        if (!evener_json_skip(&ahead, in->options.depth_max, &deep)) {
            break;
        }
    }
    return found;
}

/* Read an Any whose type is unknown: its bytes are in "@value". */
static bool read_opaque(evener_json_input *in, const evener_json_path *path, const any_members *members)
{
    const evener_json_reader start = in->reader;
    bool deep = false;
    in->reader = members->opaque;
    if (!evener_json_read_text(in, path, "@value is needed in base64")) {
        return false;
    }
    if (in->text.length > 0 && !evener_base64_read((const char *)in->text.data, in->text.length, &in->out)) {
        return evener_json_read_wrong(in, path, "@value is needed in base64");
    }
    in->reader = start;
    return evener_json_skip(&in->reader, in->options.depth_max, &deep);
}

static bool read_any_content(evener_json_input *in, const evener_json_path *path, const evener_message_type *type,
                             const any_members *members)
{
    const evener_known_type known = type != NULL ? evener_message_node_of(type)->known : EVENER_KNOWN_NONE;
    if (type == NULL) {
        return read_opaque(in, path, members);
    }
    if (known == EVENER_KNOWN_NONE || (known == EVENER_KNOWN_EMPTY && !has_member(in, "value"))) {
        return evener_json_read_object(in, path, type, "@type");
    }
    return read_any_value(in, path, type);
}

static bool read_any(evener_json_input *in, const evener_json_path *path, const evener_message_type *any)
{
    any_members members;
    if (!look_ahead(in, path, &members)) {
        return false;
    }
    if (members.empty) {
        return evener_json_read_object(in, path, any, NULL);
    }
    if (!members.has_type) {
        return evener_json_read_wrong(in, path, "@type is needed");
    }
    in->text.length = 0;
    evener_json_unescape(members.type, &in->text);
    evener_wire_put_byte(&in->text, 0);
    if (in->text.failed) {
        evener_json_no_room(false, &in->options, in->status);
        return false;
    }
    const char *url = (const char *)in->text.data;
    const char *slash = strrchr(url, '/');
    const bool opaque = in->options.opaque_any && members.opaque.begin != NULL;
    if (strlen(url) + 1 != in->text.length || (!opaque && (slash == NULL || slash[1] == '\0'))) {
        return evener_json_read_wrong(in, path, "a @type such as \"type.googleapis.com/package.Message\" is needed");
    }
    const evener_descriptors *types = evener_message_node_of(any)->descriptors;
    const evener_message_type *type = slash != NULL ? evener_descriptors_message(types, slash + 1) : NULL;
    if (type == NULL && !opaque) {
        char problem[256];
        snprintf(problem, sizeof problem, "the type \"%.160s\" is unknown", slash + 1);
        return evener_json_read_wrong(in, path, problem);
    }
    evener_wire_put_bytes(&in->out, 1, url, strlen(url)); /* type_url */
    const size_t before = in->out.length;
    evener_wire_put_tag(&in->out, 2, EVENER_WIRE_BYTES); /* value */
    const size_t start = in->out.length;
    if (!read_any_content(in, path, type, &members)) {
        return false;
    }
    if (in->out.length == start) {
        in->out.length = before;
    } else {
        evener_wire_close(&in->out, start);
    }
    return true;
}

bool evener_json_read_known(evener_json_input *in, const evener_json_path *path, const evener_message_type *type,
                            evener_known_type known)
{
    switch (known) {
    case EVENER_KNOWN_ANY:
        return read_any(in, path, type);
    case EVENER_KNOWN_TIMESTAMP:
    case EVENER_KNOWN_DURATION:
        return read_time(in, path, known == EVENER_KNOWN_TIMESTAMP);
    case EVENER_KNOWN_FIELD_MASK:
        return read_mask(in, path);
    case EVENER_KNOWN_STRUCT:
        return read_struct(in, path);
    case EVENER_KNOWN_LIST_VALUE:
        return read_list_value(in, path);
    case EVENER_KNOWN_VALUE:
        return read_value(in, path);
    case EVENER_KNOWN_WRAPPER:
        return evener_json_read_single(in, path, type->fields[0],
                                       in->write_defaults ? EVENER_JSON_TAGGED : EVENER_JSON_IMPLICIT);
    default:
        return evener_json_read_object(in, path, type, NULL);
    }
}
