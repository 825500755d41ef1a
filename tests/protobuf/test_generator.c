/* The generator on requests that protoc never sends. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener_plugin/plugin.pb-c.h>

#include "lb/protobuf/nesting.h"
#include "lb/protobuf/plugin/generator.h"

/* Run the generator and return its error, to be freed; NULL: none. */
static char *error_of(const Evener__Plugin__CodeGeneratorRequest *request)
{
    const size_t bytes = evener__plugin__code_generator_request__get_packed_size(request);
    uint8_t *packed = malloc(bytes + 1);
    evener__plugin__code_generator_request__pack(request, packed);
    uint8_t *answer;
    size_t answer_bytes;
    const char *failure;
    cr_assert(generator_run(packed, bytes, &answer, &answer_bytes, &failure), "%s", failure);
    free(packed);
    Evener__Plugin__CodeGeneratorResponse *response =
        evener__plugin__code_generator_response__unpack(NULL, answer_bytes, answer);
    free(answer);
    cr_assert_not_null(response);
    char *error = response->error != NULL ? strdup(response->error) : NULL;
    cr_expect(error == NULL || response->n_file == 0);
    evener__plugin__code_generator_response__free_unpacked(response, NULL);
    return error;
}

/* A request for one file with one method. */
typedef struct scene {
    Evener__Plugin__MethodDescriptorProto method, *methods[1];
    Evener__Plugin__ServiceDescriptorProto service, *services[1];
    Evener__Plugin__DescriptorProto message, *messages[1];
    Evener__Plugin__FileDescriptorProto file, *files[1];
    Evener__Plugin__CodeGeneratorRequest request;
    char *names[1];
} scene;

static void fill(scene *self)
{
    evener__plugin__method_descriptor_proto__init(&self->method);
    evener__plugin__service_descriptor_proto__init(&self->service);
    evener__plugin__descriptor_proto__init(&self->message);
    evener__plugin__file_descriptor_proto__init(&self->file);
    evener__plugin__code_generator_request__init(&self->request);
    self->method.name = (char *)"Do";
    self->method.input_type = self->method.output_type = (char *)".p.M";
    self->methods[0] = &self->method;
    self->service.name = (char *)"S";
    self->service.n_method = 1;
    self->service.method = self->methods;
    self->services[0] = &self->service;
    self->message.name = (char *)"M";
    self->messages[0] = &self->message;
    self->file.name = self->names[0] = (char *)"a.proto";
    self->file.package = (char *)"p";
    self->file.n_service = self->file.n_message_type = 1;
    self->file.service = self->services;
    self->file.message_type = self->messages;
    self->files[0] = &self->file;
    self->request.n_file_to_generate = self->request.n_proto_file = 1;
    self->request.file_to_generate = self->names;
    self->request.proto_file = self->files;
}

static void expect_error(const scene *self, const char *expected)
{
    char *error = error_of(&self->request);
    cr_assert_not_null(error, "no error, expected: %s", expected);
    cr_expect_str_eq(error, expected);
    free(error);
}

Test(generator, a_whole_request_gives_no_error)
{
    scene s;
    fill(&s);
    cr_expect_null(error_of(&s.request));
}

Test(generator, names_that_are_none_do_not_get_into_the_code)
{
    scene s;
    fill(&s);
    s.method.name = (char *)"Do(void); int x";
    expect_error(&s, "a.proto: \"Do(void); int x\" is no name of a method");
    fill(&s);
    s.service.name = (char *)"S*/";
    expect_error(&s, "a.proto: \"S*/\" is no name of a service");
    fill(&s);
    s.method.name = NULL;
    expect_error(&s, "a.proto: \"\" is no name of a method");
    fill(&s);
    s.file.package = (char *)"p..q";
    expect_error(&s, "a.proto: \"p..q\" is no name of a package");
    fill(&s);
    s.method.input_type = (char *)"p.M";
    expect_error(&s, "a.proto: \"p.M\" is no name of a message type");
    fill(&s);
    s.method.output_type = (char *)".p.Other";
    expect_error(&s, "a.proto: the message type p.Other is in no file of the request");
    fill(&s);
    s.file.name = s.names[0] = (char *)"a\n.proto";
    expect_error(&s, "protoc-gen-evener: the name of a file is empty or has characters that C cannot include");
    fill(&s);
    s.names[0] = (char *)"b.proto";
    expect_error(&s, "protoc-gen-evener: the file b.proto is not in the request");
    fill(&s);
    s.request.parameter = (char *)"x";
    expect_error(&s, "protoc-gen-evener: unknown parameter \"x\"; there are none");
}

Test(generator, a_package_for_c_is_checked_like_a_package)
{
    scene s;
    fill(&s);
    Evener__Plugin__ProtobufCFileOptions names;
    Evener__Plugin__FileOptions options;
    evener__plugin__protobuf_cfile_options__init(&names);
    evener__plugin__file_options__init(&options);
    options.pb_c_file = &names;
    s.file.options = &options;
    cr_expect_null(error_of(&s.request));
    names.c_package = (char *)"";
    cr_expect_null(error_of(&s.request));
    names.c_package = (char *)"q.r_1";
    cr_expect_null(error_of(&s.request));
    names.c_package = (char *)"q;";
    expect_error(&s, "a.proto: \"q;\" is no name of a package");
    names.c_package = (char *)"1q";
    expect_error(&s, "a.proto: \"1q\" is no name of a package");
}

Test(generator, names_of_files_have_no_characters_that_end_a_comment_or_a_name)
{
    static const char *const plain[] = {"a.proto", " ", "a/b-c d.proto", "\xc3\xa9.proto", "a", "!.proto"};
    static const char *const refused[] = {"",         "a\".proto", "a\\.proto",   "a*.proto",
                                          "<a.proto", "a>.proto",  "a\x1f.proto", "\na.proto"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        scene s;
        fill(&s);
        s.file.name = s.names[0] = (char *)plain[i];
        cr_expect_null(error_of(&s.request), "%s", plain[i]);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        scene s;
        fill(&s);
        s.file.name = s.names[0] = (char *)refused[i];
        expect_error(&s, "protoc-gen-evener: the name of a file is empty or has characters that C cannot include");
    }
}

/* Return the header that is generated for a scene, to be freed. */
static char *header_of(const scene *self)
{
    static uint8_t packed[4096];
    const size_t bytes = evener__plugin__code_generator_request__get_packed_size(&self->request);
    cr_assert_leq(bytes, sizeof packed);
    evener__plugin__code_generator_request__pack(&self->request, packed);
    uint8_t *answer;
    size_t answer_bytes;
    const char *failure;
    cr_assert(generator_run(packed, bytes, &answer, &answer_bytes, &failure), "%s", failure);
    Evener__Plugin__CodeGeneratorResponse *response =
        evener__plugin__code_generator_response__unpack(NULL, answer_bytes, answer);
    free(answer);
    cr_assert(response != NULL && response->n_file == 2, "%s", response != NULL ? response->error : "");
    cr_assert_str_eq(response->file[0]->name, "a.evener.h");
    char *header = strdup(response->file[0]->content);
    evener__plugin__code_generator_response__free_unpacked(response, NULL);
    return header;
}

Test(generator, comments_stay_comments)
{
    static const char *const cases[][2] = {
        {" One line.\n", "\n * One line. */\n"},
        {"No space.", "\n * No space. */\n"},
        {" Ends: */ \t\r\n /* begins.\n", "\n * Ends: * /\n * / * begins. */\n"},
        {"/ at the beginning\n*/\n", "\n *  / at the beginning\n * * / */\n"},
        {" a\n\n b", "\n * a\n *\n * b */\n"},
        {" a\x01\x1f\x7f\tb", "\n * a    b */\n"},
        {" joins \\\n the next", "\n * joins \\ .\n * the next */\n"},
        {" joins ?\?/\n the next", "\n * joins ?\?/ .\n * the next */\n"},
        {"?\?/", "\n * ?\?/ . */\n"},
        {"?/", "\n * ?/ */\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene s;
        int32_t path[] = {6, 0};
        Evener__Plugin__SourceCodeInfo__Location location, *locations[] = {&location};
        Evener__Plugin__SourceCodeInfo info;
        fill(&s);
        evener__plugin__source_code_info__location__init(&location);
        evener__plugin__source_code_info__init(&info);
        location.n_path = 2;
        location.path = path;
        location.leading_comments = (char *)cases[i][0];
        info.n_location = 1;
        info.location = locations;
        s.file.source_code_info = &info;
        char *header = header_of(&s);
        char expected[256];
        (void)snprintf(expected, sizeof expected, "/* ---- S ----%s", cases[i][1]);
        cr_expect_not_null(strstr(header, expected), "%s: %s", expected, header);
        free(header);
        path[1] = 1; /* of another service */
        header = header_of(&s);
        cr_expect_not_null(strstr(header, "/* ---- S ---- */\n"));
        free(header);
    }
}

/* Wrap `depth` messages into each other, as field `number`. */
static size_t nest(uint8_t *to, size_t room, uint8_t number, unsigned depth)
{
    size_t at = room;
    for (unsigned i = 0; i < depth; i++) {
        const size_t length = room - at;
        to[--at] = (uint8_t)(length >> 14 & 0x7f);
        to[--at] = (uint8_t)(0x80 | (length >> 7 & 0x7f));
        to[--at] = (uint8_t)(0x80 | (length & 0x7f));
        to[--at] = (uint8_t)(number << 3 | 2);
    }
    memmove(to, to + at, room - at);
    return room - at;
}

Test(generator, deep_nesting_is_refused_before_it_is_unpacked)
{
    static uint8_t bytes[400000];
    const ProtobufCMessageDescriptor *type = &evener__plugin__descriptor_proto__descriptor;
    size_t length = nest(bytes, sizeof bytes, 3, 10);
    cr_expect(evener_protobuf_c_nesting_is_bounded(type, bytes, length, 10));
    cr_expect_not(evener_protobuf_c_nesting_is_bounded(type, bytes, length, 9));
    cr_expect(evener_protobuf_c_nesting_is_bounded(type, bytes, length - 1, 10), "unpacking finds what is cut off");
    length = nest(bytes, sizeof bytes, 3, 90000);
    cr_expect_not(evener_protobuf_c_nesting_is_bounded(type, bytes, length, EVENER_PROTOBUF_DEPTH_MAX));
    /* Field 2 is no message: nothing is nested. */
    length = nest(bytes, sizeof bytes, 2, 200);
    cr_expect(evener_protobuf_c_nesting_is_bounded(type, bytes, length, 0));
    uint8_t *answer;
    size_t answer_bytes;
    const char *error;
    length = nest(bytes, sizeof bytes, 15, 1); /* proto_file, inside it message_type, ... */
    cr_expect(generator_run(bytes, length, &answer, &answer_bytes, &error));
    free(answer);
    static uint8_t deep[2000];
    const size_t inside = nest(bytes, sizeof bytes, 3, 150); /* messages in a message_type of a proto_file */
    size_t at = 0;
    static const uint8_t fields[] = {4 << 3 | 2, 15 << 3 | 2};
    memcpy(deep + sizeof deep - inside, bytes, inside);
    at = sizeof deep - inside;
    for (size_t i = 0; i < 2; i++) {
        const size_t bytes_inside = sizeof deep - at;
        deep[--at] = (uint8_t)(bytes_inside >> 7);
        deep[--at] = (uint8_t)(0x80 | (bytes_inside & 0x7f));
        deep[--at] = fields[i];
    }
    cr_expect_not(generator_run(deep + at, sizeof deep - at, &answer, &answer_bytes, &error));
    cr_expect_not_null(strstr(error, "no CodeGeneratorRequest"));
    cr_expect_not(generator_run((const uint8_t *)"\xff", 1, &answer, &answer_bytes, &error));
    cr_expect(strstr(error, "no CodeGeneratorRequest") != NULL);
}
