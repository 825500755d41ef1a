/* protoc-gen-evener: protoc's plugin that writes typed calls.
 *
 *     protoc-c --c_out=FOLDER FILE.proto         // messages: FILE.pb-c.h, FILE.pb-c.c
 *     protoc --evener_out=FOLDER FILE.proto      // calls: FILE.evener.h, FILE.evener.c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/plugin/generator.h"

static int usage(FILE *to, int result)
{
    fputs("usage: protoc --evener_out=FOLDER FILE.proto\n"
          "protoc runs protoc-gen-evener, if that is in PATH, and passes a request on standard input.\n",
          to);
    return result;
}

static uint8_t *read_all(FILE *from, size_t *length)
{
    uint8_t *data = NULL;
    size_t room = 0;
    *length = 0;
    do {
        if (*length == room) {
            room = 2 * room + 65536;
            uint8_t *larger = realloc(data, room);
            if (larger == NULL) {
                free(data);
                return NULL;
            }
            data = larger;
        }
        *length += fread(data + *length, 1, room - *length, from);
    } while (!feof(from) && !ferror(from));
    if (ferror(from)) {
        free(data);
        return NULL;
    }
    return data;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        const int is_help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
        return is_help ? usage(stdout, 0) : usage(stderr, 2);
    }
    size_t request_bytes;
    uint8_t *request = read_all(stdin, &request_bytes);
    if (request == NULL) {
        fputs("protoc-gen-evener: standard input cannot be read\n", stderr);
        return 1;
    }
    uint8_t *response;
    size_t response_bytes;
    const char *error;
    int result = 0;
    if (!generator_run(request, request_bytes, &response, &response_bytes, &error)) {
        fprintf(stderr, "protoc-gen-evener: %s\n", error);
        result = 1;
    } else {
        if (fwrite(response, 1, response_bytes, stdout) != response_bytes || fflush(stdout) != 0) {
            perror("protoc-gen-evener: standard output");
            result = 1;
        }
        free(response);
    }
    free(request);
    return result;
}
