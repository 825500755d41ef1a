/* Reading a policy's fields (evener/policy_config.h), with public headers only. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <evener/evener.h>

typedef struct numbers {
    bool flag;
    uint32_t count;
    double ratio;
    uint64_t window_ns;
    char name[8];
    uint32_t inner;
} numbers;

static const numbers defaults = {.count = 3, .ratio = 0.5, .window_ns = 9, .name = "old", .inner = 4};

static void read_numbers(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *config)
{
    (void)policies;
    numbers *n = config;
    evener_policy_fields_get_bool(fields, "flag", &n->flag);
    evener_policy_fields_get_u32(fields, "count", 1, 10, &n->count);
    evener_policy_fields_get_double(fields, "ratio", 0, 1, &n->ratio);
    evener_policy_fields_get_duration(fields, "window", EVENER_NS_PER_MS, 60 * EVENER_NS_PER_S, &n->window_ns);
    evener_policy_fields_get_string(fields, "name", n->name, sizeof n->name);
    if (evener_policy_fields_enter(fields, "outer")) {
        if (evener_policy_fields_enter(fields, "inner")) {
            evener_policy_fields_get_u32(fields, "count", 1, 10, &n->inner);
            if (n->inner == 9) {
                evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, "count", "%d is unlucky", 9);
            }
            evener_policy_fields_leave(fields);
        }
        evener_policy_fields_leave(fields);
    }
}

static const evener_policy_config_type strict = {.size = sizeof strict,
                                                 .config_bytes = sizeof(numbers),
                                                 .defaults = &defaults,
                                                 .read = read_numbers,
                                                 .unknown = EVENER_UNKNOWN_FIELDS_REFUSE};

static numbers read_good(const char *json)
{
    evener_status status;
    evener_policy_config *config = NULL;
    const evener_status_code code = evener_policy_config_parse(&strict, NULL, json, &config, &status);
    cr_assert_eq(code, EVENER_STATUS_OK, "%s", status.message);
    const numbers read = *(const numbers *)config;
    free(config);
    return read;
}

Test(policy_config, missing_fields_keep_their_defaults)
{
    const numbers n = read_good("{\"outer\":{}}");
    cr_assert(!n.flag && n.count == 3 && n.window_ns == 9 && n.inner == 4);
    cr_assert_str_eq(n.name, "old");
}

/* ProtoJSON: null is allowed for every field. */
Test(policy_config, a_field_that_is_null_is_missing)
{
    const numbers n = read_good("{\"flag\":null,\"count\":null,\"ratio\":null,\"window\":null,\"name\":null,"
                                "\"outer\":{\"inner\":null}}");
    cr_assert(!n.flag && n.count == 3 && n.window_ns == 9 && n.inner == 4);
    cr_assert_float_eq(n.ratio, 0.5, 0);
    cr_assert_str_eq(n.name, "old");
    cr_assert_eq(read_good("{\"count\":5,\"outer\":null}").count, 5);
}

Test(policy_config, fields_of_every_type_are_read)
{
    const numbers n = read_good("{\"flag\":true,\"count\":10,\"ratio\":1,\"window\":\"1.5s\",\"name\":\"seven77\","
                                "\"outer\":{\"inner\":{\"count\":1}}}");
    cr_assert(n.flag && n.count == 10 && n.inner == 1);
    cr_assert_float_eq(n.ratio, 1, 0);
    cr_assert_eq(n.window_ns, 1500 * EVENER_NS_PER_MS);
    cr_assert_str_eq(n.name, "seven77");
}

Test(policy_config, an_error_names_the_place)
{
    static const struct {
        const char *json, *message;
    } bad[] = {
        {"[]", "a JSON object is needed"},
        {"{\"flag\":1}", "flag: true or false is needed"},
        {"{\"count\":11}", "count: a whole number from 1 to 10 is needed"},
        {"{\"count\":1.5}", "count: a whole number from 1 to 10 is needed"},
        {"{\"ratio\":\"1\"}", "ratio: a number from 0 to 1 is needed"},
        {"{\"window\":\"5m\"}", "window: a duration like \"1.5s\" is needed"},
        {"{\"window\":\"61s\"}", "window: a duration from 0.001s to 60s is needed"},
        {"{\"name\":\"eight888\"}", "name: at most 7 bytes are allowed"},
        {"{\"outer\":3}", "outer: a JSON object is needed"},
        {"{\"outer\":{\"inner\":{\"count\":0}}}", "outer.inner.count: a whole number from 1 to 10 is needed"},
        {"{\"outer\":{\"inner\":{\"count\":9}}}", "outer.inner.count: 9 is unlucky"},
        {"{\"flag\":1,\"count\":11}", "flag: true or false is needed"}, /* the first one */
        {"{\"cuont\":1}", "cuont: there is no such field: remove it"},
        {"{\"outer\":{\"inner\":{\"x\":1}}}", "outer.inner.x: there is no such field: remove it"},
        {"{\"outer\":{\"x\":1}}", "outer.x: there is no such field: remove it"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        evener_status status;
        evener_policy_config *config = NULL;
        cr_assert_eq(evener_policy_config_parse(&strict, NULL, bad[i].json, &config, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%s", bad[i].json);
        cr_assert_str_eq(status.message, bad[i].message);
        cr_assert_null(config);
    }
    evener_policy_config *config = NULL;
    evener_status status;
    cr_assert_eq(evener_policy_config_parse(&strict, NULL, "{", &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "line 1"), "%s", status.message);
    cr_assert_eq(evener_policy_config_parse(&strict, NULL, "{", &config, NULL), EVENER_STATUS_INVALID_ARGUMENT);
}

/* google.protobuf.Duration in JSON: digits, perhaps a point and digits, and "s". */
Test(policy_config, a_duration_is_a_decimal_number_of_seconds)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0.001s", 1}, {"9s", 9000}, {"60s", 60000}, {"1.5s", 1500}, {"007s", 7000}, {"2.s", 2000}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char json[64];
        (void)snprintf(json, sizeof json, "{\"window\":\"%s\"}", good[i].text);
        cr_expect_eq(read_good(json).window_ns, good[i].ms * EVENER_NS_PER_MS, "%s", json);
    }
    static const char *const bad[] = {"",    "s",    "5",    "5m",     "-1s",  "+1s",  " 1s", "1s ",  "1 s",
                                      ".5s", "1e1s", "0x9s", "1.2.3s", "infs", "nans", "1ss", "1,5s", "315576000001s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[64];
        evener_status status;
        evener_policy_config *config = NULL;
        (void)snprintf(json, sizeof json, "{\"window\":\"%s\"}", bad[i]);
        cr_expect_eq(evener_policy_config_parse(&strict, NULL, json, &config, &status), EVENER_STATUS_INVALID_ARGUMENT,
                     "%s", json);
        cr_expect_str_eq(status.message, "window: a duration like \"1.5s\" is needed", "%s", json);
    }
    static const char *const outside[] = {"0.0009s", "60.1s", "315576000000s"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char json[64];
        evener_status status;
        evener_policy_config *config = NULL;
        (void)snprintf(json, sizeof json, "{\"window\":\"%s\"}", outside[i]);
        cr_expect_eq(evener_policy_config_parse(&strict, NULL, json, &config, &status), EVENER_STATUS_INVALID_ARGUMENT,
                     "%s", json);
        cr_expect_str_eq(status.message, "window: a duration from 0.001s to 60s is needed", "%s", json);
    }
}

/* A21 */
Test(policy_config, unknown_fields_may_be_ignored)
{
    evener_policy_config_type lenient = strict;
    lenient.unknown = EVENER_UNKNOWN_FIELDS_IGNORE;
    evener_policy_config *config = NULL;
    cr_assert_eq(evener_policy_config_parse(&lenient, NULL, "{\"cuont\":1}", &config, NULL), EVENER_STATUS_OK);
    free(config);
}

Test(policy_config, out_of_memory_is_an_error_that_close_reports)
{
    bool flag = false;
    evener_status status;
    cr_assert(!evener_policy_fields_get_bool(NULL, "flag", &flag));
    cr_assert(!evener_policy_fields_enter(NULL, "outer"));
    evener_policy_fields_leave(NULL);
    evener_policy_fields_fail(NULL, EVENER_STATUS_INTERNAL, "flag", "nobody listens");
    cr_assert_eq(evener_policy_fields_close(NULL, EVENER_UNKNOWN_FIELDS_IGNORE, &status),
                 EVENER_STATUS_RESOURCE_EXHAUSTED);
}

Test(policy_config, objects_are_entered_to_a_depth)
{
    evener_policy_fields *fields =
        evener_policy_fields_open("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}}");
    size_t depth = 1;
    while (evener_policy_fields_enter(fields, "a")) {
        depth++;
    }
    cr_assert_eq(depth, EVENER_POLICY_FIELDS_DEPTH_MAX);
    evener_status status;
    cr_assert_eq(evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_IGNORE, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, "a.a.a.a.a.a.a.a: objects nested deeper than 8");
}

Test(policy_config, a_type_without_a_size_is_refused)
{
    const evener_policy_config_type none = {.size = 0, .read = read_numbers};
    evener_policy_config *config = NULL;
    evener_status status;
    cr_assert_eq(evener_policy_config_parse(&none, NULL, "{}", &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "sizeof(evener_policy_config_type)"));
}

Test(policy_config, a_type_without_a_read_is_refused)
{
    const evener_policy_config_type none = {.size = sizeof none, .config_bytes = sizeof(numbers)};
    evener_policy_config *config = NULL;
    evener_status status;
    cr_assert_eq(evener_policy_config_parse(&none, NULL, "{}", &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, "policy configuration: `read` is NULL");
    cr_expect_null(config);
}

Test(policy_config, a_result_without_a_place_is_refused)
{
    const evener_policy_config_type type = {.size = sizeof type, .config_bytes = 1, .read = read_numbers};
    evener_status status;
    cr_assert_eq(evener_policy_config_parse(&type, NULL, "{}", NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, "policy configuration: where to store it is NULL");
}

/* What a reader may rely on: true if and only if the field was stored. */
Test(policy_config, a_getter_says_whether_it_stored_the_field)
{
    static const struct {
        const char *value;
        bool good[7]; /* as bool, u32, double, duration, string, strings, codes */
    } cases[] = {
        {"true", {true, false, false, false, false, false, false}},
        {"7", {false, true, true, false, false, false, false}},
        {"0.5", {false, false, true, false, false, false, false}},
        {"\"2s\"", {false, false, false, true, true, false, false}},
        {"\"longer than allowed\"", {false, false, false, false, false, false, false}},
        {"[\"UNKNOWN\"]", {false, false, false, false, false, true, true}},
        {"[\"longer\",\"than\",\"allowed\"]", {false, false, false, false, false, false, false}},
        {"[]", {false, false, false, false, false, true, true}},
        {"[16]", {false, false, false, false, false, false, true}},
        {"[0]", {false, false, false, false, false, false, false}},
        {"[17]", {false, false, false, false, false, false, false}},
        {"[\"\"]", {false, false, false, false, false, false, false}},
        {"{}", {false, false, false, false, false, false, false}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t type = 0; type < 7; type++) {
            char json[64], text[12] = "", list[12] = "";
            (void)snprintf(json, sizeof json, "{\"field\":%s}", cases[i].value);
            bool flag = false;
            uint32_t number = 0, codes = 0;
            double ratio = 0;
            uint64_t duration_ns = 0;
            size_t count = 0;
            evener_policy_fields *fields = evener_policy_fields_open(json);
            const bool stored =
                type == 0   ? evener_policy_fields_get_bool(fields, "field", &flag)
                : type == 1 ? evener_policy_fields_get_u32(fields, "field", 0, 9, &number)
                : type == 2 ? evener_policy_fields_get_double(fields, "field", 0, 9, &ratio)
                : type == 3 ? evener_policy_fields_get_duration(fields, "field", 0, 9 * EVENER_NS_PER_S, &duration_ns)
                : type == 4 ? evener_policy_fields_get_string(fields, "field", text, sizeof text)
                : type == 5 ? evener_policy_fields_get_strings(fields, "field", list, sizeof list, &count)
                            : evener_policy_fields_get_status_codes(fields, "field", &codes);
            cr_expect_eq(stored, cases[i].good[type], "%s, %zu", json, type);
            evener_status status;
            cr_expect_eq(evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_IGNORE, &status),
                         stored ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT, "%s, %zu", json, type);
        }
    }
    /* A missing field stores nothing. */
    evener_policy_fields *fields = evener_policy_fields_open("{}");
    bool flag = true;
    uint32_t number = 5, codes = 6;
    double ratio = 0.5;
    uint64_t duration_ns = 7;
    size_t count = 8;
    char text[] = "old";
    cr_expect_not(evener_policy_fields_get_bool(fields, "field", &flag));
    cr_expect_not(evener_policy_fields_get_u32(fields, "field", 0, 9, &number));
    cr_expect_not(evener_policy_fields_get_double(fields, "field", 0, 9, &ratio));
    cr_expect_not(evener_policy_fields_get_duration(fields, "field", 0, 9, &duration_ns));
    cr_expect_not(evener_policy_fields_get_string(fields, "field", text, sizeof text));
    cr_expect_not(evener_policy_fields_get_strings(fields, "field", text, sizeof text, &count));
    cr_expect_not(evener_policy_fields_get_status_codes(fields, "field", &codes));
    cr_expect_not(evener_policy_fields_enter(fields, "field"));
    cr_expect(flag && number == 5 && codes == 6 && ratio == 0.5 && duration_ns == 7 && count == 8);
    cr_expect_str_eq(text, "old");
    cr_expect_eq(evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_IGNORE, NULL), EVENER_STATUS_OK);
}

/* The limits of texts: all bytes with their NUL. */
Test(policy_config, texts_fill_their_room)
{
    char text[4] = "", list[8] = "", codes_list[8] = "";
    size_t count = 0;
    evener_status status;
    evener_policy_fields *fields = evener_policy_fields_open(
        "{\"text\":\"abc\",\"list\":[\"abc\",\"def\"],\"more\":[\"abc\",\"defg\"],\"long\":\"abcd\"}");
    cr_expect(evener_policy_fields_get_string(fields, "text", text, sizeof text));
    cr_expect_str_eq(text, "abc");
    cr_expect(evener_policy_fields_get_strings(fields, "list", list, sizeof list, &count));
    cr_expect_eq(count, 2);
    cr_expect_arr_eq(list, "abc\0def", 8);
    cr_expect_not(evener_policy_fields_get_strings(fields, "more", codes_list, sizeof codes_list, &count));
    cr_expect_str_eq(codes_list, "");
    cr_expect_eq(evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_IGNORE, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, "more: at most 8 bytes in all are allowed, with one more per string");
}

/* A missing child, and one that is not there, are errors with the place. */
Test(policy_config, a_child_policy_is_needed)
{
    static const struct {
        const char *json, *message;
    } bad[] = {
        {"{}", "child: a list like [{\"round_robin\": {}}] is needed"},
        {"{\"child\":{}}", "child: a list like [{\"round_robin\": {}}] is needed"},
        {"{\"child\":[{\"a\":{},\"b\":{}}]}",
         "child[0]: an object with exactly one member, the policy's name, is needed"},
        {"{\"child\":[{\"a\":{}},7]}", "child[1]: an object with exactly one member, the policy's name, is needed"},
        {"{\"child\":[]}", "child: no known policy in an empty list; register it first"},
        {"{\"child\":[{\"a\":{}},{\"b\":{}}]}", "child: no known policy among \"a\", \"b\"; register it first"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        evener_policy_choice choice = {0};
        evener_status status;
        evener_policy_fields *fields = evener_policy_fields_open(bad[i].json);
        cr_expect_not(evener_policy_fields_get_child_policy(fields, "child", NULL, &choice), "%s", bad[i].json);
        cr_expect_eq(evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_IGNORE, &status),
                     EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(status.message, bad[i].message);
    }
    evener_policy_choice choice = {0};
    evener_policy_fields *fields = evener_policy_fields_open("{\"child\":[{\"a\":{}},{\"random\":{}}]}");
    cr_expect(evener_policy_fields_get_child_policy(fields, "child", NULL, &choice));
    cr_expect_str_eq(choice.builder->name, "random");
    cr_expect_eq(evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_IGNORE, NULL), EVENER_STATUS_OK);
    evener_policy_choice_clear(&choice);
}
