/* JSON against another implementation: data/vectors.tsv has what python3-protobuf made of each input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <jansson.h>

#include <evener/json.h>

#include "tests/protobuf/types.h"

/* Where evener departs from the recorded implementation, and why. `ours`: the result, or "error". */
static const struct {
    const char *kind, *name, *ours, *reason;
} departures[] = {
    {"parse", "anInt32=\"1e3\"", "28e807", "a string may hold any form of a number that is an integer"},
    {"parse", "anInt32=\"1.0\"", "2801", "the same"},
    {"parse", "aFloat=3.4028235e38", "15ffff7f7f", "this is FLT_MAX"},
    {"parse", "someBytes=\"*\"", "error", "base64 is read strictly"},
    {"parse", "someBytes=\"AQ=I\"", "error", "the same"},
    {"parse", "someBytes=\"AQI==\"", "error", "the same"},
    {"parse", "light=true", "error", "true is neither a name nor a number"},
    {"parse", "names twice", "error", "two names of one field set it twice"},
    {"parse", "nested list", "error", "a list is no message"},
    {"parse", "map",
     "ea03060a0161120131ea03060a0162120132f2030d08ffffffffffffffffff011005f2030408021006fa030408011001fa030408001002820"
     "4070a017812022801",
     "entries are written in the order of the text"},
    {"parse", "map uint64", "8a041408ffffffffffffffffff0111000000000000e03f8a040b0800110000000000000000", "the same"},
    {"parse", "timestamp=0001-01-01T00:00:00+00:01", "error", "in UTC this is before the year 1"},
    {"parse", "timestamp=9999-12-31T23:59:59-00:01", "error", "in UTC this is after the year 9999"},
    {"parse", "duration=1.1234567890s", "error", "a fraction has at most 9 digits"},
    {"parse", "duration=1.s", "error", "a duration is digits, and a fraction of at least one digit"},
    {"parse", "duration=1 s", "error", "the same"},
    {"parse", "duration=+1s", "error", "the same"},
    {"parse", "value=1e400", "error", "no double is that large"},
    {"print", "value=1e400", "error", "a Value is no infinity (struct.proto)"},
    {"parse", "text: a list", "error", "a list is no message"},
    {"print", "group end alone", "error", "the bytes are malformed"},
    {"print", "field zero", "error", "the bytes are malformed"},
    {"print", "nanos too large", "error", "nanos are below 1,000,000,000 (timestamp.proto)"},
    {"print", "value NaN", "error", "a Value is no NaN (struct.proto)"},
    {"print", "value infinite", "error", "a Value is no infinity (struct.proto)"},
};

typedef struct vector {
    char *kind, *name, *type, *input, *output;
} vector;

static size_t unhex(const char *text, uint8_t *to)
{
    size_t length = 0;
    for (; text[0] != '\0' && text[0] != '-'; text += 2) {
        unsigned byte;
        cr_assert_eq(sscanf(text, "%2x", &byte), 1);
        to[length++] = (uint8_t)byte;
    }
    return length;
}

static char *hex(const evener_bytes *bytes)
{
    char *text = malloc(2 * bytes->length + 2);
    strcpy(text, bytes->length == 0 ? "-" : "");
    for (size_t i = 0; i < bytes->length; i++) {
        sprintf(text + 2 * i, "%02x", bytes->data[i]);
    }
    return text;
}

/* Whether two JSON values are equal; 1 and 1.0 are. */
static bool equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        return json_number_value(a) == json_number_value(b);
    }
    if (json_typeof(a) != json_typeof(b)) {
        return false;
    }
    if (json_is_array(a)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; same && i < json_array_size(a); i++) {
            same = equal(json_array_get(a, i), json_array_get(b, i));
        }
        return same;
    }
    if (json_is_object(a)) {
        bool same = json_object_size(a) == json_object_size(b);
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)a, key, value)
        {
            const json_t *other = json_object_get(b, key);
            same = same && other != NULL && equal(value, other);
        }
        return same;
    }
    return json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b);
}

static bool equal_texts(const char *ours, const char *theirs)
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *a = json_loads(ours, flags, NULL), *b = json_loads(theirs, flags, NULL);
    const bool same = a != NULL && b != NULL && equal(a, b);
    json_decref(a);
    json_decref(b);
    return same;
}

/* Return our result for a vector, to be freed, and whether it is the recorded one. */
static char *result_of(const evener_descriptors *types, const vector *v, bool *same)
{
    const evener_message_type *type = evener_descriptors_message(types, v->type);
    cr_assert_not_null(type);
    evener_status status;
    if (strcmp(v->kind, "parse") == 0) {
        evener_bytes bytes;
        if (evener_json_to_bytes(type, v->input, strlen(v->input), NULL, &bytes, &status) != EVENER_STATUS_OK) {
            cr_assert_neq(status.message[0], '\0');
            *same = strcmp(v->output, "error") == 0;
            return strdup("error");
        }
        char *ours = hex(&bytes);
        evener_bytes_clear(&bytes);
        *same = strcmp(ours, v->output) == 0;
        return ours;
    }
    const evener_json_options options = {
        .size = sizeof options,
        .emit_defaults = strcmp(v->kind, "defaults") == 0,
        .original_names = strcmp(v->kind, "names") == 0,
        .enums_as_numbers = strcmp(v->kind, "numbers") == 0,
    };
    uint8_t *data = malloc(strlen(v->input) + 1);
    const evener_bytes bytes = {.data = data, .length = unhex(v->input, data)};
    char *json = NULL;
    if (evener_json_from_bytes(type, &bytes, &options, &json, NULL, &status) != EVENER_STATUS_OK) {
        cr_assert_neq(status.message[0], '\0');
        json = strdup("error");
    }
    free(data);
    *same = strcmp(json, v->output) == 0 || equal_texts(json, v->output);
    return json;
}

static bool is_departure(const vector *v, const char *ours)
{
    for (size_t i = 0; i < sizeof departures / sizeof departures[0]; i++) {
        if (strcmp(departures[i].kind, v->kind) == 0 && strcmp(departures[i].name, v->name) == 0) {
            return strcmp(departures[i].ours, ours) == 0;
        }
    }
    return false;
}

Test(json_vectors, every_recorded_vector_gives_the_same_result_or_is_listed)
{
    evener_descriptors *types = types_read();
    FILE *file = fopen(TEST_DATA "/vectors.tsv", "r");
    cr_assert_not_null(file);
    char *line = NULL;
    size_t room = 0, count = 0, different = 0;
    while (getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = line;
        vector v = {strsep(&rest, "\t"), strsep(&rest, "\t"), strsep(&rest, "\t"), strsep(&rest, "\t"), rest};
        bool same;
        char *ours = result_of(types, &v, &same);
        const bool listed = is_departure(&v, ours);
        if (same == listed) {
            different++;
            fprintf(stderr, "%s \"%s\": %s\n  recorded: %s\n  ours:     %s%s\n", v.kind, v.name, v.input, v.output,
                    ours, listed ? " (listed as a departure)" : "");
        }
        free(ours);
        count++;
    }
    free(line);
    fclose(file);
    evener_descriptors_destroy(types);
    cr_assert_gt(count, 500);
    cr_assert_eq(different, 0, "%zu of %zu differ", different, count);
}
