/* Load reports: any bytes of a backend give four valid numbers or nothing. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include <evener/load_report.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_number(double number)
{
    assert(number >= 0 && number < 1e301);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    evener_load_report report = {.size = sizeof report};
    if (evener_load_report_parse(data, size, &report)) {
        check_number(report.cpu_utilization);
        check_number(report.application_utilization);
        check_number(report.requests_per_second);
        check_number(report.errors_per_second);
    }
    return 0;
}
