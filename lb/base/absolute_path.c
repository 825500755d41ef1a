#include "lb/base/absolute_path.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *evener_absolute_path(const char *path)
{
    char folder[PATH_MAX];
    char *absolute = NULL;
    if (path[0] == '/') {
        return strdup(path);
    }
    if (getcwd(folder, sizeof folder) == NULL || asprintf(&absolute, "%s/%s", folder, path) < 0) {
        return NULL;
    }
    return absolute;
}
