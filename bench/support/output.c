#include "bench/support/output.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool failed;

/* Four digits are significant. */
static double rounded(double value)
{
    if (value == 0 || !isfinite(value)) {
        return 0;
    }
    double unit = pow(10, floor(log10(fabs(value))) - 3);
    return round(value / unit) * unit;
}

void bench_set_figure(json_t *row, const char *name, const bench_figure *figure)
{
    char min_name[64];
    snprintf(min_name, sizeof min_name, "%s_min", name);
    json_object_set_new(row, name, json_real(rounded(bench_figure_median(figure))));
    json_object_set_new(row, min_name, json_real(rounded(bench_figure_min(figure))));
}

void bench_set_quartiles(json_t *row, const char *name, const bench_figure *figure)
{
    static const struct {
        const char *suffix;
        double share;
    } shares[] = {{"", 0.5}, {"_quarter", 0.25}, {"_three_quarters", 0.75}};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s%s", name, shares[i].suffix);
        json_object_set_new(row, key, json_real(rounded(bench_figure_share(figure, shares[i].share))));
    }
}

void bench_progress(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void bench_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("CHECK FAILED: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    failed = true;
}

int bench_finish(json_t *object, const char *path)
{
    FILE *file = path != NULL ? fopen(path, "w") : stdout;
    if (file == NULL || json_dumpf(object, file, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0 ||
        fputc('\n', file) == EOF || (path != NULL && fclose(file) != 0)) {
        bench_complain("cannot write %s", path != NULL ? path : "stdout");
    }
    json_decref(object);
    return failed ? 1 : 0;
}

const char *bench_option(const char *argument, const char *name)
{
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

bool bench_arguments(int argc, char **argv, const char *bench, bool *quick, const char **output)
{
    *quick = false;
    *output = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = bench_option(argv[i], "--output");
        if (value != NULL) {
            *output = value;
        } else if (strcmp(argv[i], "--quick") == 0) {
            *quick = true;
        } else {
            fprintf(stderr, "%s: unknown argument %s\n", bench, argv[i]);
            return false;
        }
    }
    return true;
}
