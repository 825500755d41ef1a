#include "bench/sim/kept.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(17)) /* exact */

/* A scenario that --scale shortens has another duration. */
static void key_of(char *key, size_t bytes, const sim_scenario *scenario, const sim_policy *policy, uint64_t seed)
{
    snprintf(key, bytes, "%s, %s, %.17g s, seed %llu", scenario->name, policy->label, scenario->duration_s,
             (unsigned long long)seed);
}

json_t *sim_kept_read(const char *path)
{
    json_t *kept = json_object();
    char *line = NULL;
    size_t bytes = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && getline(&line, &bytes, file) > 0) {
        json_t *object = json_loads(line, 0, NULL);
        json_object_update(kept, object);
        json_decref(object);
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return kept;
}

json_t *sim_kept_find(const json_t *kept, const sim_scenario *scenario, const sim_policy *policy, uint64_t seed)
{
    char key[256];
    key_of(key, sizeof key, scenario, policy, seed);
    return json_object_get(kept, key);
}

bool sim_kept_add(const char *path, const sim_scenario *scenario, const sim_policy *policy, uint64_t seed,
                  json_t *figures)
{
    char key[256];
    key_of(key, sizeof key, scenario, policy, seed);
    json_t *object = json_pack("{s:O}", key, figures);
    char *text = json_dumps(object, LINE_FLAGS);
    json_decref(object);
    FILE *file = text != NULL ? fopen(path, "a") : NULL;
    bool written = file != NULL && fprintf(file, "%s\n", text) > 0;
    written = (file == NULL || fclose(file) == 0) && written;
    free(text);
    return written;
}
