/* Bytes to JSON: values that are not set. proto2 may declare them; a declaration holds a text (protobuf:
 * descriptor.proto, FieldDescriptorProto.default_value). A text that is no value of its kind counts as zero. */
#include <math.h>
#include <string.h>

#include "lb/protobuf/json_values.h"
#include "lb/protobuf/json_write.h"

/* Return an integer as it is encoded. */
static uint64_t integer_of(evener_field_kind kind, const char *text)
{
    bool negative;
    uint64_t magnitude;
    if (text[0] == '\0' || !evener_integer_read(text, strlen(text), &negative, &magnitude)) {
        return 0;
    }
    const uint64_t value = negative ? 0 - magnitude : magnitude;
    return kind == EVENER_FIELD_SINT32 || kind == EVENER_FIELD_SINT64 ? evener_wire_zigzag((int64_t)value) : value;
}

static double real_of(const char *text)
{
    static const struct {
        const char *text;
        double value;
    } words[] = {{"inf", INFINITY}, {"-inf", -INFINITY}, {"nan", NAN}, {"", 0}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i].text) == 0) {
            return words[i].value;
        }
    }
    double value;
    return evener_double_read(text, strlen(text), false, &value) ? value : 0;
}

/* Return a value that is no text, as evener_json_write_scalar() takes it. */
static uint64_t value_of(const evener_field *field, const char *text)
{
    uint64_t value = 0;
    switch (field->kind) {
    case EVENER_FIELD_DOUBLE: {
        const double real = real_of(text);
        memcpy(&value, &real, sizeof real);
        return value;
    }
    case EVENER_FIELD_FLOAT: {
        const float real = (float)real_of(text);
        uint32_t bits;
        memcpy(&bits, &real, sizeof real);
        return bits;
    }
    case EVENER_FIELD_BOOL:
        return strcmp(text, "true") == 0;
    case EVENER_FIELD_ENUM: {
        const evener_enum_type *type = field->enumeration;
        const evener_enum_value *declared = evener_enum_type_value_by_name(type, text, strlen(text));
        declared = declared == NULL && type->value_count > 0 ? type->values[0] : declared;
        return declared != NULL ? (uint64_t)(int64_t)declared->number : 0;
    }
    default:
        return integer_of(field->kind, text);
    }
}

/* Append the bytes that a text means in which some are escaped as protoc does: \n, \r, \t, \", \', \\ and octal. */
static void unescape(const char *text, evener_wire_buffer *to)
{
    static const char letters[] = "nrt", meanings[] = "\n\r\t";
    while (*text != '\0') {
        if (*text != '\\' || text[1] == '\0') {
            evener_wire_put_byte(to, (uint8_t)*text++);
            continue;
        }
        text++;
        unsigned value = 0;
        if (*text >= '0' && *text <= '7') {
            for (int i = 0; i < 3 && *text >= '0' && *text <= '7'; i++) {
                value = 8 * value + (unsigned)(*text++ - '0');
            }
        } else {
            const char *letter = strchr(letters, *text);
            value = (unsigned char)(letter != NULL ? meanings[letter - letters] : *text);
            text++;
        }
        evener_wire_put_byte(to, (uint8_t)value);
    }
}

bool evener_json_write_default(evener_json_output *out, const evener_json_path *path, const evener_field *field)
{
    const char *text = field->default_text != NULL ? field->default_text : "";
    if (field->kind != EVENER_FIELD_BYTES) {
        const bool is_text = field->kind == EVENER_FIELD_STRING;
        const evener_json_span bytes = {(const uint8_t *)text, is_text ? strlen(text) : 0};
        return evener_json_write_scalar(out, path, field, is_text ? 0 : value_of(field, text), bytes);
    }
    evener_wire_buffer bytes = {0};
    unescape(text, &bytes);
    const bool ok = !bytes.failed;
    if (ok) {
        evener_json_put_base64(&out->writer, bytes.data, bytes.length);
    } else {
        evener_json_no_room(false, &out->options, out->status);
    }
    evener_wire_clear(&bytes);
    return ok;
}
