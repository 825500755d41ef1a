#include "token_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOKEN_BYTES_MAX 16384

struct token_file {
    char *path;
    pthread_mutex_t mutex; /* protects the rest */
    struct stat seen;      /* of the file that `value` was read from */
    char value[sizeof "Bearer " + TOKEN_BYTES_MAX];
};

token_file *token_file_open(const char *path)
{
    token_file *file = calloc(1, sizeof *file);
    if (file == NULL || (file->path = strdup(path)) == NULL) {
        free(file);
        return NULL;
    }
    pthread_mutex_init(&file->mutex, NULL);
    return file;
}

void token_file_close(token_file *file)
{
    if (file != NULL) {
        memset(file->value, 0, sizeof file->value);
        pthread_mutex_destroy(&file->mutex);
        free(file->path);
        free(file);
    }
}

static int is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Read the file if it has changed. On failure the last token stays, and is used on; without any it is an error. */
static evener_status_code follow(token_file *file, evener_status *status)
{
    struct stat now;
    if (stat(file->path, &now) == 0 && !is_same(&now, &file->seen)) {
        char text[TOKEN_BYTES_MAX + 1];
        FILE *from = fopen(file->path, "re");
        const size_t bytes = from != NULL ? fread(text, 1, sizeof text - 1, from) : 0;
        if (from != NULL) {
            (void)fclose(from);
        }
        text[bytes] = '\0';
        text[strcspn(text, " \t\r\n")] = '\0';
        if (text[0] != '\0') {
            (void)snprintf(file->value, sizeof file->value, "Bearer %s", text);
            file->seen = now;
        }
    }
    return file->value[0] != '\0' ? EVENER_STATUS_OK
                                  : evener_status_set(status, EVENER_STATUS_UNAUTHENTICATED,
                                                      "%s: there is no token in it: %s", file->path, strerror(errno));
}

evener_status_code token_file_add(void *arg, evener_new_call *call, const char *url, evener_status *status)
{
    token_file *file = arg;
    (void)url; /* one token for all audiences */
    pthread_mutex_lock(&file->mutex);
    evener_status_code code = follow(file, status);
    if (code == EVENER_STATUS_OK) {
        code = evener_new_call_add(call, "authorization", file->value, status);
    }
    pthread_mutex_unlock(&file->mutex);
    return code;
}
