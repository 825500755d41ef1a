#include "bench/sim/seeds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 64
#define FILE_DIGITS 1e-5 /* the recorded figures have six significant digits */

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void set_number(json_t *object, const char *key, const char *suffix, double value, bool integer)
{
    char name[KEY_BYTES];
    snprintf(name, sizeof name, "%s%s", key, suffix);
    json_object_set_new(object, name, integer ? json_integer((json_int_t)llround(value)) : json_real(value));
}

static void set_figure(json_t *result, const char *key, const json_t *rows, bool integer)
{
    const size_t count = json_array_size(rows);
    double *values = malloc(count * sizeof *values);
    if (values == NULL) {
        abort(); /* a simulation cannot run with less memory */
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = json_number_value(json_object_get(json_array_get(rows, i), key));
    }
    qsort(values, count, sizeof *values, compare_doubles);
    set_number(result, key, "", (values[(count - 1) / 2] + values[count / 2]) / 2, integer);
    set_number(result, key, "_least", values[0], integer);
    set_number(result, key, "_greatest", values[count - 1], integer);
    free(values);
}

json_t *sim_over_seeds(const json_t *rows)
{
    json_t *result = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(json_array_get(rows, 0), key, value)
    {
        if (json_is_number(value)) {
            set_figure(result, key, rows, json_is_integer(value));
        } else if (json_is_object(value)) {
            json_t *members = json_array();
            for (size_t i = 0; i < json_array_size(rows); i++) {
                json_array_append(members, json_object_get(json_array_get(rows, i), key));
            }
            json_object_set_new(result, key, sim_over_seeds(members));
            json_decref(members);
        } else {
            json_object_set(result, key, value);
        }
    }
    return result;
}

size_t sim_outside(const json_t *row, const json_t *published,
                   void (*outside)(void *arg, const char *figure, double median, double least, double greatest),
                   void *arg)
{
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)row, key, value)
    {
        char least_key[KEY_BYTES], greatest_key[KEY_BYTES];
        snprintf(least_key, sizeof least_key, "%s_least", key);
        snprintf(greatest_key, sizeof greatest_key, "%s_greatest", key);
        if (json_is_object(value)) {
            count += sim_outside(value, json_object_get(published, key), outside, arg);
        } else if (json_object_get(row, least_key) != NULL) {
            const json_t *least = json_object_get(published, least_key);
            const json_t *greatest = json_object_get(published, greatest_key);
            const double median = json_number_value(value);
            const double slack = fabs(median) * FILE_DIGITS;
            if (least == NULL || greatest == NULL || median < json_number_value(least) - slack ||
                median > json_number_value(greatest) + slack) {
                outside(arg, key, median, json_number_value(least), json_number_value(greatest));
                count++;
            }
        }
    }
    return count;
}
