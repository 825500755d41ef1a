/* Lookups inside a message type or an enum, and the messages that have a JSON form of their own. */
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/pool.h"

/* ---- lookups: binary searches, after which the first of equal keys is taken ---- */

const evener_field *evener_message_type_field(const evener_message_type *message, uint32_t number)
{
    const evener_message_node *node = evener_message_node_of(message);
    size_t low = 0, high = message->field_count;
    /* Most messages number their fields from 1 on. */
    if (number - 1 < high && node->by_number[number - 1]->number == number) {
        return node->by_number[number - 1];
    }
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (node->by_number[middle]->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < message->field_count && node->by_number[low]->number == number ? node->by_number[low] : NULL;
}

/* Compare a NUL-terminated text with one of `length` bytes, which may have NULs in it: it comes from JSON. */
static int compare(const char *text, size_t length, const char *with)
{
    const size_t with_length = strlen(with);
    const int difference = memcmp(with, text, with_length < length ? with_length : length);
    return difference != 0 ? difference : (with_length > length) - (with_length < length);
}

#define FIND(list, count, member, name, length)                                                                        \
    do {                                                                                                               \
        size_t low = 0, high = (count);                                                                                \
        while (low < high) {                                                                                           \
            const size_t middle = low + (high - low) / 2;                                                              \
            if (compare(name, length, (list)[middle]->member) < 0) {                                                   \
                low = middle + 1;                                                                                      \
            } else {                                                                                                   \
                high = middle;                                                                                         \
            }                                                                                                          \
        }                                                                                                              \
        return low < (count) && compare(name, length, (list)[low]->member) == 0 ? (list)[low] : NULL;                  \
    } while (0)

const evener_field *evener_message_type_field_by_name(const evener_message_type *message, const char *name,
                                                      size_t length)
{
    FIND(evener_message_node_of(message)->by_name, message->field_count, name, name, length);
}

static const evener_field *find_json_name(const evener_message_type *message, const char *name, size_t length)
{
    FIND(evener_message_node_of(message)->by_json_name, message->field_count, json_name, name, length);
}

const evener_field *evener_message_type_field_by_json_name(const evener_message_type *message, const char *name,
                                                           size_t length)
{
    const evener_field *field = find_json_name(message, name, length);
    return field != NULL ? field : evener_message_type_field_by_name(message, name, length);
}

const evener_enum_value *evener_enum_type_value(const evener_enum_type *enumeration, int32_t number)
{
    const evener_enum_node *node = EVENER_CONTAINER_OF(enumeration, const evener_enum_node, type);
    size_t low = 0, high = enumeration->value_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((uint32_t)node->by_number[middle]->number < (uint32_t)number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < enumeration->value_count && node->by_number[low]->number == number ? node->by_number[low] : NULL;
}

const evener_enum_value *evener_enum_type_value_by_name(const evener_enum_type *enumeration, const char *name,
                                                        size_t length)
{
    const evener_enum_node *node = EVENER_CONTAINER_OF(enumeration, const evener_enum_node, type);
    FIND(node->by_name, enumeration->value_count, name, name, length);
}

/* ---- messages with a JSON form of their own ---- */

/* The fields that such a message must have: a pool may come from anywhere. */
typedef struct shape {
    const char *name; /* after "google.protobuf." */
    evener_known_type known;
    struct {
        evener_field_kind kind; /* of the fields 1, 2, ... */
        bool repeated;
    } fields[6];
} shape;

static const shape shapes[] = {
    {"Any", EVENER_KNOWN_ANY, {{EVENER_FIELD_STRING, false}, {EVENER_FIELD_BYTES, false}}},
    {"Duration", EVENER_KNOWN_DURATION, {{EVENER_FIELD_INT64, false}, {EVENER_FIELD_INT32, false}}},
    {"Empty", EVENER_KNOWN_EMPTY, {{0}}},
    {"FieldMask", EVENER_KNOWN_FIELD_MASK, {{EVENER_FIELD_STRING, true}}},
    {"ListValue", EVENER_KNOWN_LIST_VALUE, {{EVENER_FIELD_MESSAGE, true}}},
    {"Struct", EVENER_KNOWN_STRUCT, {{EVENER_FIELD_MESSAGE, true}}},
    {"Timestamp", EVENER_KNOWN_TIMESTAMP, {{EVENER_FIELD_INT64, false}, {EVENER_FIELD_INT32, false}}},
    {"Value",
     EVENER_KNOWN_VALUE,
     {{EVENER_FIELD_ENUM, false},
      {EVENER_FIELD_DOUBLE, false},
      {EVENER_FIELD_STRING, false},
      {EVENER_FIELD_BOOL, false},
      {EVENER_FIELD_MESSAGE, false},
      {EVENER_FIELD_MESSAGE, false}}},
    {"BoolValue", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_BOOL, false}}},
    {"BytesValue", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_BYTES, false}}},
    {"DoubleValue", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_DOUBLE, false}}},
    {"FloatValue", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_FLOAT, false}}},
    {"Int32Value", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_INT32, false}}},
    {"Int64Value", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_INT64, false}}},
    {"StringValue", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_STRING, false}}},
    {"UInt32Value", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_UINT32, false}}},
    {"UInt64Value", EVENER_KNOWN_WRAPPER, {{EVENER_FIELD_UINT64, false}}},
};

/* Whether the two fields of a map entry are as a map's. */
static bool is_map_entry(const evener_message_type *type)
{
    if (type->field_count != 2) {
        return false;
    }
    const evener_field *key = type->fields[0], *value = type->fields[1];
    return key->number == 1 && value->number == 2 && !key->repeated && !value->repeated &&
           key->kind != EVENER_FIELD_DOUBLE && key->kind != EVENER_FIELD_FLOAT && key->kind != EVENER_FIELD_BYTES &&
           key->kind != EVENER_FIELD_MESSAGE && key->kind != EVENER_FIELD_GROUP && key->kind != EVENER_FIELD_ENUM &&
           value->kind != EVENER_FIELD_GROUP;
}

static bool is_value(const evener_message_type *type)
{
    return type != NULL && strcmp(type->full_name, "google.protobuf.Value") == 0;
}

static bool fits(const evener_message_type *type, const shape *expected)
{
    size_t count = 0;
    for (; count < 6 && expected->fields[count].kind != 0; count++) {
        const evener_field *field = evener_message_type_field(type, (uint32_t)count + 1);
        if (field == NULL || field->kind != expected->fields[count].kind ||
            field->repeated != expected->fields[count].repeated) {
            return false;
        }
    }
    /* Of Struct the field is a map of Values, of ListValue a list of them. */
    const evener_message_type *of_first = count > 0 ? type->fields[0]->message : NULL;
    if (expected->known == EVENER_KNOWN_STRUCT) {
        return count == type->field_count && of_first->map_entry && is_map_entry(of_first) &&
               of_first->fields[0]->kind == EVENER_FIELD_STRING && is_value(of_first->fields[1]->message);
    }
    return count == type->field_count && (expected->known != EVENER_KNOWN_LIST_VALUE || is_value(of_first));
}

void evener_message_classify(evener_message_node *node)
{
    static const char package[] = "google.protobuf.";
    evener_message_type *type = &node->type;
    type->map_entry = type->map_entry && is_map_entry(type);
    if (strncmp(type->full_name, package, sizeof package - 1) != 0) {
        return;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(type->full_name + sizeof package - 1, shapes[i].name) == 0 && fits(type, &shapes[i])) {
            node->known = shapes[i].known;
        }
    }
}

evener_wire_type evener_field_wire_type(evener_field_kind kind)
{
    switch (kind) {
    case EVENER_FIELD_DOUBLE:
    case EVENER_FIELD_FIXED64:
    case EVENER_FIELD_SFIXED64:
        return EVENER_WIRE_FIXED64;
    case EVENER_FIELD_FLOAT:
    case EVENER_FIELD_FIXED32:
    case EVENER_FIELD_SFIXED32:
        return EVENER_WIRE_FIXED32;
    case EVENER_FIELD_STRING:
    case EVENER_FIELD_BYTES:
    case EVENER_FIELD_MESSAGE:
        return EVENER_WIRE_BYTES;
    case EVENER_FIELD_GROUP:
        return EVENER_WIRE_GROUP;
    default:
        return EVENER_WIRE_VARINT;
    }
}
