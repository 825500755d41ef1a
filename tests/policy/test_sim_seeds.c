/* Figures over several seeds: median and range, and the check of further seeds against a published range. */
#include <criterion/criterion.h>
#include <string.h>

#include "bench/sim/seeds.h"

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    cr_assert_not_null(value, "%s", error.text);
    return value;
}

static double number(const json_t *object, const char *key)
{
    cr_assert(json_is_number(json_object_get(object, key)), "%s", key);
    return json_number_value(json_object_get(object, key));
}

Test(sim_seeds, a_figure_is_the_median_with_its_range)
{
    json_t *rows = parse("[{\"p99\":3.0,\"failed\":5,\"name\":\"a\",\"shares\":{\"x\":0.5}},"
                         "{\"p99\":1.0,\"failed\":2,\"name\":\"b\",\"shares\":{\"x\":0.25}},"
                         "{\"p99\":10.0,\"failed\":9,\"name\":\"c\",\"shares\":{\"x\":0.75}}]");
    json_t *result = sim_over_seeds(rows);
    cr_expect_eq(number(result, "p99"), 3);
    cr_expect_eq(number(result, "p99_least"), 1);
    cr_expect_eq(number(result, "p99_greatest"), 10);
    cr_expect(json_is_integer(json_object_get(result, "failed")));
    cr_expect_eq(number(result, "failed"), 5);
    cr_expect_eq(number(result, "failed_least"), 2);
    cr_expect_eq(number(result, "failed_greatest"), 9);
    cr_expect_str_eq(json_string_value(json_object_get(result, "name")), "a");
    cr_expect_eq(number(json_object_get(result, "shares"), "x"), 0.5);
    cr_expect_eq(number(json_object_get(result, "shares"), "x_greatest"), 0.75);
    json_decref(result);
    json_decref(rows);
}

Test(sim_seeds, the_median_of_an_even_count_is_between_the_two_in_the_middle)
{
    json_t *rows = parse("[{\"a\":4.0,\"n\":4},{\"a\":1.0,\"n\":1},{\"a\":2.0,\"n\":2},{\"a\":9.0,\"n\":9}]");
    json_t *result = sim_over_seeds(rows);
    cr_expect_eq(number(result, "a"), 3);
    cr_expect_eq(number(result, "n"), 3);
    json_decref(result);
    json_decref(rows);
}

static void note(void *arg, const char *figure, double median, double least, double greatest)
{
    (void)median;
    (void)least;
    (void)greatest;
    strcat(arg, figure);
    strcat(arg, " ");
}

Test(sim_seeds, a_median_outside_of_the_published_range_is_reported)
{
    json_t *published = parse("{\"a\":5.0,\"a_least\":4.0,\"a_greatest\":6.0,\"b\":5.0,\"b_least\":4.0,"
                              "\"b_greatest\":6.0,\"c\":5.0,\"c_least\":4.0,\"c_greatest\":6.0,"
                              "\"shares\":{\"x\":0.5,\"x_least\":0.5,\"x_greatest\":0.5}}");
    json_t *row = parse("{\"a\":6.0,\"a_least\":0.0,\"a_greatest\":9.0,\"b\":6.1,\"b_least\":0.0,\"b_greatest\":9.0,"
                        "\"c\":3.9,\"c_least\":0.0,\"c_greatest\":9.0,\"d\":1.0,\"d_least\":1.0,\"d_greatest\":1.0,"
                        "\"shares\":{\"x\":0.6,\"x_least\":0.5,\"x_greatest\":0.7}}");
    char names[64] = "";
    cr_expect_eq(sim_outside(row, published, note, names), 4);
    cr_expect_str_eq(names, "b c d x ");
    names[0] = '\0';
    cr_expect_eq(sim_outside(published, published, note, names), 0);
    cr_expect_eq(sim_outside(published, NULL, note, names), 4);
    json_decref(published);
    json_decref(row);
}
