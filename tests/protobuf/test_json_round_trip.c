/* Random messages: bytes to JSON to bytes gives the same bytes, and the JSON is the same again. A message's seed is its
 * number. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/json.h>

#include "tests/protobuf/random_message.h"
#include "tests/protobuf/types.h"

#define MESSAGES 100000

static void round_trip(const evener_descriptors *types, const evener_message_type *type, uint64_t seed,
                       const evener_json_options *options, size_t *bytes_of_all)
{
    random_source source = {.state = seed, .types = types};
    evener_wire_buffer buffer = {0};
    random_message(&source, type, (unsigned)(seed % 4), &buffer);
    const evener_bytes bytes = {.data = buffer.data, .length = buffer.length};
    evener_bytes back;
    evener_status status;
    char *json, *again;
    size_t length;
    cr_assert_eq(evener_json_from_bytes(type, &bytes, options, &json, &length, &status), EVENER_STATUS_OK,
                 "seed %lu: %s", seed, status.message);
    cr_assert_eq(evener_json_to_bytes(type, json, length, options, &back, &status), EVENER_STATUS_OK,
                 "seed %lu: %s\n%s", seed, status.message, json);
    cr_assert(back.length == bytes.length && (bytes.length == 0 || memcmp(back.data, bytes.data, bytes.length) == 0),
              "seed %lu: other bytes\n%s", seed, json);
    cr_assert_eq(evener_json_from_bytes(type, &back, options, &again, NULL, &status), EVENER_STATUS_OK);
    cr_assert_str_eq(again, json);
    *bytes_of_all += bytes.length;
    free(json);
    free(again);
    evener_bytes_clear(&back);
    evener_wire_clear(&buffer);
}

Test(json_round_trip, random_messages_come_back_as_the_same_bytes, .timeout = 280)
{
    evener_descriptors *types = types_read();
    const evener_message_type *everything = evener_descriptors_message(types, "evener.test.Everything");
    const evener_message_type *legacy = evener_descriptors_message(types, "evener.legacy.Legacy");
    const evener_json_options others = {
        .size = sizeof others, .indent = 1, .original_names = true, .enums_as_numbers = true};
    size_t bytes = 0;
    for (uint64_t seed = 0; seed < MESSAGES; seed++) {
        round_trip(types, seed % 16 == 0 ? legacy : everything, seed, seed % 3 == 0 ? &others : NULL, &bytes);
    }
    cr_assert_gt(bytes, (size_t)MESSAGES * 50); /* the messages are not empty */
    evener_descriptors_destroy(types);
}
