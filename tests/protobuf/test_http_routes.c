/* HTTP routes: from a request to its method and message, and back. Messages are compared in their JSON form. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/http_routes.h>
#include <evener/json.h>

typedef struct scene {
    evener_descriptors *types;
    evener_http_routes *routes;
} scene;

static void open_set(scene *self, const char *set, const evener_http_routes_options *options)
{
    evener_status status;
    cr_assert_eq(evener_descriptors_create(&self->types, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_add_set_file(self->types, set, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_http_routes_create(self->types, options, &self->routes, &status), EVENER_STATUS_OK, "%s",
                 status.message);
}

static void open_scene(scene *self, const evener_http_routes_options *options)
{
    open_set(self, SHELF_PROTOSET, options);
}

static void close_scene(scene *self)
{
    evener_http_routes_destroy(self->routes);
    evener_descriptors_destroy(self->types);
}

/* Find a route and make its request. Return the code; on OK with "Method JSON" in `result`, else with the message. */
static evener_status_code request(const scene *self, const char *verb, const char *path, const char *query,
                                  const char *body, char result[1024])
{
    evener_status status;
    evener_http_match *match;
    evener_status_code code = evener_http_routes_find(self->routes, verb, path, &match, &status);
    if (code == EVENER_STATUS_OK) {
        const evener_method *method = evener_http_match_route(match)->method;
        evener_bytes message;
        code = evener_http_match_request(match, query, body, strlen(body), &message, &status);
        if (code == EVENER_STATUS_OK) {
            char *json;
            cr_assert_eq(evener_json_from_bytes(method->input, &message, NULL, &json, NULL, &status), EVENER_STATUS_OK,
                         "%s", status.message);
            snprintf(result, 1024, "%s %s", method->name, json);
            free(json);
            evener_bytes_clear(&message);
        }
        evener_http_match_destroy(match);
    }
    if (code != EVENER_STATUS_OK) {
        snprintf(result, 1024, "%s", status.message);
    }
    return code;
}

static void expect_request(const scene *self, const char *verb, const char *path, const char *query, const char *body,
                           const char *expected)
{
    char result[1024];
    cr_expect_eq(request(self, verb, path, query, body, result), EVENER_STATUS_OK, "%s %s: %s", verb, path, result);
    cr_expect_str_eq(result, expected, "%s %s?%s %s gives %s", verb, path, query != NULL ? query : "", body, result);
}

static void expect_error(const scene *self, const char *verb, const char *path, const char *query, const char *body,
                         evener_status_code code, const char *reason)
{
    char result[1024];
    cr_expect_eq(request(self, verb, path, query, body, result), code, "%s %s: %s", verb, path, result);
    cr_expect(strstr(result, reason) != NULL, "\"%s\" is not in \"%s\"", reason, result);
}

Test(http_routes, path_query_and_body_become_the_request)
{
    scene s;
    open_scene(&s, NULL);
    expect_request(&s, "GET", "/v1/shelves/1/books/2", NULL, "", "GetBook {\"name\":\"shelves/1/books/2\"}");
    expect_request(&s, "GET", "/v1/revisions/7/shelves/1/x", NULL, "",
                   "GetBook {\"name\":\"shelves/1/x\",\"revision\":7}");
    expect_request(&s, "GET", "/v1/shelves/1/books/2", "revision=3&fields=a&fields=b%26c&like.title=x+y&full=true", "",
                   "GetBook {\"name\":\"shelves/1/books/2\",\"revision\":3,\"fields\":[\"a\",\"b&c\"],"
                   "\"like\":{\"title\":\"x y\"},\"full\":true}");
    expect_request(&s, "GET", "/v1/shelves/1/books/2", "labels[a.b]=c&labels%5Bd%5D=e&kind=NOVEL&like.kind=1", "",
                   "GetBook {\"name\":\"shelves/1/books/2\",\"like\":{\"kind\":\"NOVEL\"},"
                   "\"labels\":{\"a.b\":\"c\",\"d\":\"e\"},\"kind\":\"NOVEL\"}");
    expect_request(&s, "PATCH", "/v1/shelves/1/books/2", "reason=new", "{\"title\":\"T\",\"name\":\"of the body\"}",
                   "UpdateBook {\"book\":{\"name\":\"shelves/1/books/2\",\"title\":\"T\"},\"reason\":\"new\"}");
    expect_request(&s, "POST", "/v1/shelves/1/books/2:lend", "revision=9", "{\"revision\":4}",
                   "Lend {\"name\":\"shelves/1/books/2\",\"revision\":4}");
    expect_request(&s, "POST", "/v1/shelves/1/books/2:lend", NULL, "", "Lend {\"name\":\"shelves/1/books/2\"}");
    expect_request(&s, "SEARCH", "/v1/books", NULL, "{\"pages\":\"12\"}", "Search {\"like\":{\"pages\":\"12\"}}");
    expect_request(&s, "POST", "/shelf.Shelf/Unbound", NULL, "{\"price\":1.5}", "Unbound {\"price\":1.5}");
    expect_request(&s, "GET", "/v1/shelves/%31/books/a%20b", NULL, "", "GetBook {\"name\":\"shelves/1/books/a b\"}");
    close_scene(&s);
}

Test(http_routes, a_query_has_at_most_1000_parameters)
{
    scene s;
    char query[16384] = "";
    size_t used = 0;
    open_scene(&s, NULL);
    for (int i = 0; i < 1000; i++) { /* empty ones do not count */
        used += (size_t)snprintf(query + used, sizeof query - used, "%sfields=a", i > 0 ? "&&" : "&");
    }
    char result[1024];
    cr_expect_eq(request(&s, "GET", "/v1/shelves/1/books/2", query, "", result), EVENER_STATUS_OK, "%s", result);
    (void)snprintf(query + used, sizeof query - used, "&fields=a");
    expect_error(&s, "GET", "/v1/shelves/1/books/2", query, "", EVENER_STATUS_INVALID_ARGUMENT,
                 "more than 1000 query parameters");
    close_scene(&s);
}

Test(http_routes, the_path_wins_also_with_a_default)
{
    scene s;
    open_scene(&s, NULL);
    expect_request(&s, "GET", "/v1/revisions/0/shelves/1", "revision=5", "", "GetBook {\"name\":\"shelves/1\"}");
    expect_request(&s, "GET", "/v1/revisions/1/shelves/1", "revision=five", "",
                   "GetBook {\"name\":\"shelves/1\",\"revision\":1}");
    expect_request(&s, "POST", "/v1/lend/0/false/UNKNOWN", NULL, "{\"revision\":5,\"full\":true,\"kind\":\"NOVEL\"}",
                   "Lend {}");
    expect_request(&s, "PATCH", "/v1/shelves/1/books/2", "book.pages=0", "{\"pages\":\"7\"}",
                   "UpdateBook {\"book\":{\"name\":\"shelves/1/books/2\"}}");
    close_scene(&s);
}

Test(http_routes, a_message_in_the_path_replaces_the_one_of_the_body)
{
    scene s;
    open_scene(&s, NULL);
    expect_request(&s, "POST", "/v1/lend/price,title/1970-01-01T00:00:00Z/0/all", NULL,
                   "{\"full\":true,\"lending\":{\"mask\":\"pages\",\"until\":\"2026-01-01T00:00:00.5Z\",\"limit\":3,"
                   "\"to\":\"me\"}}",
                   "Lend {\"full\":true,\"lending\":{\"mask\":\"price,title\",\"until\":\"1970-01-01T00:00:00Z\","
                   "\"limit\":0,\"to\":\"me\"}}");
    expect_request(&s, "GET", "/v1/lend/price/1970-01-01T00:00:00Z/0",
                   "lending.mask=pages&lending.until.seconds=5&lending.to=me&lending.limit=4", "",
                   "Lend {\"lending\":{\"mask\":\"price\",\"until\":\"1970-01-01T00:00:00Z\",\"limit\":0,"
                   "\"to\":\"me\"}}");
    close_scene(&s);
}

Test(http_routes, the_more_specific_route_wins)
{
    scene s;
    open_scene(&s, NULL);
    expect_request(&s, "GET", "/v1/books/latest", NULL, "", "Authors {}");
    /* Any verb: of the same path a route with that verb wins, and of other paths the more specific one. */
    expect_request(&s, "SEARCH", "/v1/books", NULL, "", "Search {}");
    expect_request(&s, "GET", "/v1/books", NULL, "", "Anything {}");
    expect_request(&s, "DELETE", "/v1/books", NULL, "", "Anything {}");
    expect_request(&s, "BREW", "/v1/books", NULL, "{\"revision\":1}", "Anything {\"revision\":1}");
    expect_request(&s, "GET", "/v1/shelves/5/books", NULL, "", "ListBooks {\"name\":\"shelves/5\"}");
    expect_request(&s, "DELETE", "/v1/anything/at/all", NULL, "", "DeleteBook {\"name\":\"anything/at/all\"}");
    close_scene(&s);
}

Test(http_routes, what_is_not_there)
{
    scene s;
    open_scene(&s, NULL);
    char verbs[64];
    expect_error(&s, "GET", "/v2", NULL, "", EVENER_STATUS_NOT_FOUND, "no method has this path");
    expect_error(&s, "GET", "/v1/%zz", NULL, "", EVENER_STATUS_NOT_FOUND, "no method has this path");
    expect_error(&s, "PUT", "/v1/shelves/1/books/2", NULL, "", EVENER_STATUS_UNIMPLEMENTED, "PUT is not possible here");
    evener_http_routes_allowed(s.routes, "/v1/shelves/1/books/2", verbs, sizeof verbs);
    cr_expect_str_eq(verbs, "GET, PATCH, DELETE");
    evener_http_routes_allowed(s.routes, "/v2", verbs, sizeof verbs);
    cr_expect_str_eq(verbs, "");
    expect_error(&s, "GET", "/shelf.Shelf/Unbound", NULL, "", EVENER_STATUS_UNIMPLEMENTED, "GET is not possible here");
    /* A method with a rule is at its rule's paths only. */
    expect_error(&s, "POST", "/shelf.Shelf/GetBook", NULL, "{}", EVENER_STATUS_NOT_FOUND, "no method has this path");
    close_scene(&s);
    const evener_http_routes_options options = {.size = sizeof options, .only_bound = true};
    open_scene(&s, &options);
    expect_error(&s, "POST", "/shelf.Shelf/Unbound", NULL, "{}", EVENER_STATUS_NOT_FOUND, "no method has this path");
    close_scene(&s);
    static const char *const hidden[] = {"she", NULL};
    const evener_http_routes_options without = {.size = sizeof without, .hidden_prefixes = hidden};
    open_scene(&s, &without);
    size_t count;
    evener_http_routes_list(s.routes, &count);
    cr_expect_eq(count, 0);
    close_scene(&s);
}

Test(http_routes, errors_name_the_place)
{
    scene s;
    open_scene(&s, NULL);
    const evener_status_code bad = EVENER_STATUS_INVALID_ARGUMENT;
    expect_error(&s, "POST", "/shelf.Shelf/Unbound", NULL, "{\"title\":\n \"x\",}", bad, "line 2");
    expect_error(&s, "POST", "/shelf.Shelf/Unbound", NULL, "{\"title\":1}", bad, "title: ");
    expect_error(&s, "POST", "/shelf.Shelf/Unbound", NULL, "{\"sequel\":{\"pages\":true}}", bad, "sequel.pages: ");
    expect_error(&s, "POST", "/shelf.Shelf/Unbound", NULL, "{} {}", bad, "");
    expect_error(&s, "PATCH", "/v1/shelves/1/books/2", NULL, "{\"title\":\"x\"},\"reason\":\"smuggled\"", bad, "");
    expect_error(&s, "PATCH", "/v1/shelves/1/books/2", NULL, "{\"pages\":\"x\"}", bad, "pages");
    const char *book = "/v1/shelves/1/books/2";
    expect_error(&s, "GET", book, "nothing=1", "", bad, "query parameter nothing: shelf.GetBookRequest has no field");
    expect_error(&s, "GET", book, "like.x=1", "", bad, "query parameter like.x: shelf.Book has no field x");
    expect_error(&s, "GET", book, "revision.x=1", "", bad, "has no field x");
    expect_error(&s, "GET", book, "revision=two", "", bad, "revision: ");
    expect_error(&s, "GET", book, "full=yes", "", bad, "full: ");
    expect_error(&s, "GET", book, "kind=DRAMA", "", bad, "kind: ");
    expect_error(&s, "GET", book, "like=1", "", bad, "like: ");
    expect_error(&s, "GET", book, "labels=1", "", bad, "labels is a map, whose key stands in brackets");
    expect_error(&s, "GET", book, "revision[1]=1", "", bad, "revision is no map");
    expect_error(&s, "GET", book, "like.authors.x=1", "", bad, "is a list");
    expect_error(&s, "GET", book, "fields=%zz", "", bad, "two hexadecimal digits");
    expect_error(&s, "GET", book, "fields=%ff", "", bad, "not UTF-8");
    expect_error(&s, "GET", book, "=1", "", bad, "has no field");
    expect_error(&s, "GET", "/v1/revisions/x/shelves/1", NULL, "", bad, "revision: ");
    close_scene(&s);
}

static char *response(const scene *self, const char *method, const char *json, evener_status *status)
{
    const evener_method *found = evener_descriptors_method(self->types, method);
    size_t count;
    const evener_http_route *const *list = evener_http_routes_list(self->routes, &count);
    for (size_t i = 0; i < count; i++) {
        if (list[i]->method == found) {
            evener_bytes bytes;
            char *answer = NULL;
            cr_assert_eq(evener_json_to_bytes(found->output, json, strlen(json), NULL, &bytes, status),
                         EVENER_STATUS_OK, "%s", status->message);
            evener_http_routes_response(self->routes, list[i], &bytes, &answer, status);
            evener_bytes_clear(&bytes);
            return answer;
        }
    }
    cr_assert_fail("%s has no route", method);
    return NULL;
}

static void expect_response(const scene *self, const char *method, const char *json, const char *expected)
{
    evener_status status;
    char *answer = response(self, method, json, &status);
    cr_assert_not_null(answer, "%s", status.message);
    cr_expect_str_eq(answer, expected);
    free(answer);
}

Test(http_routes, answers_have_all_fields_or_the_one_of_response_body)
{
    scene s;
    open_scene(&s, NULL);
    expect_response(&s, "shelf.Shelf/DeleteBook", "{}", "{}");
    expect_response(&s, "shelf.Shelf/ListBooks", "{\"total\":1}", "[]");
    expect_response(&s, "shelf.Shelf/Authors", "{\"title\":\"T\",\"pages\":\"3\"}", "\"T\"");
    expect_response(&s, "shelf.Shelf/Authors", "{}", "\"\"");
    evener_status status;
    char *answer = response(&s, "shelf.Shelf/Unbound", "{\"title\":\"T\"}", &status);
    cr_expect(strstr(answer, "\"pages\":\"0\"") != NULL && strstr(answer, "\"title\":\"T\"") != NULL, "%s", answer);
    free(answer);
    close_scene(&s);
}

Test(http_routes, an_answer_that_is_no_message_is_an_internal_error)
{
    scene s;
    open_scene(&s, NULL);
    size_t count;
    const evener_http_route *const *list = evener_http_routes_list(s.routes, &count);
    const evener_bytes bytes = {.data = (const uint8_t *)"\xff", .length = 1};
    char *json = NULL;
    evener_status status;
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(evener_http_routes_response(s.routes, list[i], &bytes, &json, &status), EVENER_STATUS_INTERNAL);
        cr_expect(strstr(status.message, list[i]->method->path) != NULL, "%s", status.message);
        cr_expect_null(json);
    }
    close_scene(&s);
}

Test(http_routes, errors_in_json)
{
    scene s;
    open_scene(&s, NULL);
    char *json = evener_http_routes_error(s.routes, EVENER_STATUS_NOT_FOUND, "not \"found\"\n\xff", 13, NULL, 0);
    cr_expect_str_eq(json, "{\"code\":5,\"message\":\"not \\\"found\\\"\\u000a\\ufffd\",\"details\":[]}");
    free(json);
    /* google.rpc.Status with a malformed detail and one of a known type. */
    evener_bytes any;
    evener_status status;
    const evener_message_type *type = evener_descriptors_message(s.types, "google.protobuf.Any");
    cr_assert_not_null(type);
    {
        static const char text[] = "{\"@type\":\"type.googleapis.com/shelf.Book\",\"title\":\"T\"}";
        cr_assert_eq(evener_json_to_bytes(type, text, strlen(text), NULL, &any, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        uint8_t packed[256] = {0x1a, 2, 0xff, 0xff, 0x1a, (uint8_t)any.length};
        memcpy(packed + 6, any.data, any.length);
        json = evener_http_routes_error(s.routes, EVENER_STATUS_ABORTED, "", 0, packed, 6 + any.length);
        cr_expect_str_eq(json,
                         "{\"code\":10,\"message\":\"\",\"details\":[{\"@type\":\"type.googleapis.com/shelf.Book\","
                         "\"title\":\"T\"}]}");
        free(json);
        evener_bytes_clear(&any);
    }
    close_scene(&s);
}

Test(http_routes, statuses)
{
    static const unsigned expected[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                        400, 409, 400, 501, 500, 503, 500, 401};
    for (unsigned code = 0; code < sizeof expected / sizeof *expected; code++) {
        cr_expect_eq(evener_http_status((evener_status_code)code), expected[code], "%u", code);
    }
    cr_expect_eq(evener_http_status((evener_status_code)99), 500);
}

/* ---- rules that are wrong ---- */

static size_t read_set(char set[65536])
{
    FILE *file = fopen(SHELF_PROTOSET, "rb");
    cr_assert_not_null(file);
    const size_t bytes = fread(set, 1, 65536, file);
    fclose(file);
    cr_assert_lt(bytes, 65536);
    return bytes;
}

/* Replace all places of `old` by `new`, of the same length. */
static void patch(char *set, size_t bytes, const char *old, const char *new)
{
    unsigned places = 0;
    cr_assert_eq(strlen(old), strlen(new));
    for (char *at = set; (at = memmem(at, bytes - (size_t)(at - set), old, strlen(old))) != NULL; places++) {
        memcpy(at, new, strlen(new));
    }
    cr_assert_gt(places, 0, "%s", old);
}

/* Read the set with all places of `old` replaced by `new`, and create routes. */
static evener_status_code create_patched(const char *old, const char *new, evener_status *status)
{
    static char set[65536];
    const size_t bytes = read_set(set);
    patch(set, bytes, old, new);
    evener_descriptors *types;
    evener_http_routes *routes = NULL;
    cr_assert_eq(evener_descriptors_create(&types, status), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_add_set(types, set, bytes, status), EVENER_STATUS_OK, "%s", status->message);
    const evener_status_code code = evener_http_routes_create(types, NULL, &routes, status);
    cr_expect((code == EVENER_STATUS_OK) == (routes != NULL));
    evener_http_routes_destroy(routes);
    evener_descriptors_destroy(types);
    return code;
}

static void expect_wrong(const char *old, const char *new, evener_status_code code, const char *reason)
{
    evener_status status;
    cr_expect_eq(create_patched(old, new, &status), code, "%s: %s", new, status.message);
    cr_expect(strstr(status.message, reason) != NULL, "\"%s\" is not in \"%s\"", reason, status.message);
}

Test(http_routes, wrong_rules_are_refused_with_the_methods_name)
{
    const evener_status_code bad = EVENER_STATUS_INVALID_ARGUMENT;
    expect_wrong("/v1/books/latest", "/v1/books/{none}", bad,
                 "shelf.Shelf.Authors: path variable none: shelf.UpdateBookRequest has no field none");
    expect_wrong("/v1/books/latest", "/v1/books/{book}", bad,
                 "shelf.Shelf.Authors: path variable book: a message or a list cannot be in a path");
    expect_wrong("/v1/books/latest", "/v1//books/lates", bad, "shelf.Shelf.Authors: path template");
    expect_wrong("\x3a\x04"
                 "book",
                 "\x3a\x04"
                 "boot",
                 bad, "shelf.Shelf.UpdateBook: body: \"boot\": shelf.UpdateBookRequest has no such field");
    expect_wrong("\x62\x05"
                 "title",
                 "\x62\x05"
                 "titel",
                 bad, "shelf.Shelf.Authors: response_body: \"titel\": shelf.Book has no such field");
    expect_wrong("/v1/books/oldest", "/v1/books/latest", EVENER_STATUS_ALREADY_EXISTS,
                 "have the same route, GET /v1/books/latest");
    /* The rule without its pattern, and one that is cut off. */
    expect_wrong("\x12\x10/v1/books/oldest", "\x7a\x10/v1/books/oldest", bad,
                 "shelf.Shelf.Other: its option google.api.http has no path");
    expect_wrong("\x12\x10/v1/books/oldest", "\x12\x7f/v1/books/oldest", bad,
                 "shelf.Shelf.Other: its option google.api.http is malformed");
}

/* ---- OpenAPI ---- */

Test(http_routes, openapi_is_the_recorded_document)
{
    scene s;
    open_scene(&s, NULL);
    char *yaml = NULL;
    evener_status status;
    cr_assert_eq(evener_http_routes_openapi(s.routes, "shelf", &yaml, &status), EVENER_STATUS_OK);
    const char *update = getenv("EVENER_UPDATE");
    FILE *file = fopen(TEST_DATA "/shelf.openapi.yaml", update != NULL ? "w+" : "r");
    cr_assert_not_null(file);
    if (update != NULL) {
        fputs(yaml, file);
        rewind(file);
    }
    static char expected[65536];
    expected[fread(expected, 1, sizeof expected - 1, file)] = '\0';
    fclose(file);
    size_t same = 0;
    while (yaml[same] != '\0' && yaml[same] == expected[same]) {
        same++;
    }
    cr_expect_str_eq(yaml, expected, "at byte %zu: %.80s", same, yaml + same);
    free(yaml);
    close_scene(&s);
}

Test(http_routes, openapi_has_a_bounded_number_of_parameters)
{
    scene s;
    open_set(&s, WIDE_PROTOSET, NULL);
    char *yaml = NULL;
    evener_status status;
    cr_assert_eq(evener_http_routes_openapi(s.routes, "wide", &yaml, &status), EVENER_STATUS_OK);
    unsigned parameters = 0;
    for (const char *at = yaml; (at = strstr(at, "in: \"query\"")) != NULL; at++) {
        parameters++;
    }
    cr_expect_leq(parameters, 1000, "%u", parameters);
    cr_expect_lt(strlen(yaml), 1000000, "%zu", strlen(yaml));
    free(yaml);
    close_scene(&s);
}

/* Return how often `part` is in the text. */
static unsigned places_of(const char *text, const char *part)
{
    unsigned places = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        places++;
    }
    return places;
}

Test(http_routes, openapi_knows_of_two_routes_with_one_path_and_verb_the_more_specific_one)
{
    static char set[65536];
    const size_t bytes = read_set(set);
    patch(set, bytes, "/v1/books/latest", "/v1/{reason=b/*}");
    patch(set, bytes, "/v1/books/oldest", "/v1/{reason=a/*}");
    scene s;
    evener_status status;
    char *yaml = NULL;
    cr_assert_eq(evener_descriptors_create(&s.types, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_add_set(s.types, set, bytes, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_http_routes_create(s.types, NULL, &s.routes, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_http_routes_openapi(s.routes, NULL, &yaml, &status), EVENER_STATUS_OK);
    cr_expect_eq(places_of(yaml, "  \"/v1/{reason}\":\n    get:\n"), 1);
    cr_expect_eq(places_of(yaml, "operationId: \"Shelf_Other\""), 1);
    cr_expect_eq(places_of(yaml, "operationId: \"Shelf_Authors\""), 0);
    cr_expect_eq(places_of(yaml, "  title: \"gateway\"\n"), 1);
    /* Other verbs of one path are all there. */
    cr_expect_eq(places_of(yaml, "operationId: \"Shelf_GetBook\""), 1);
    cr_expect_eq(places_of(yaml, "operationId: \"Shelf_DeleteBook\""), 1);
    cr_expect_eq(places_of(yaml, "\n  \"/v1/{name}\":\n"), 1);
    free(yaml);
    close_scene(&s);
}
