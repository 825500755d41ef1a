#include <evener/load_report.h>

#include <stdint.h>
#include <string.h>

/* Field numbers of OrcaLoadReport, all of type double. */
enum { CPU_UTILIZATION = 1, RPS_FRACTIONAL = 6, EPS = 7, APPLICATION_UTILIZATION = 9 };
/* Wire types (protobuf: encoding). */
enum { VARINT = 0, FIXED64 = 1, LENGTH_DELIMITED = 2, FIXED32 = 5 };

typedef struct reader {
    const uint8_t *at, *end;
} reader;

static bool read_varint(reader *r, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        const uint8_t byte = *r->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

static bool skip(reader *r, uint64_t size)
{
    if (size > (uint64_t)(r->end - r->at)) {
        return false;
    }
    r->at += size;
    return true;
}

static bool read_double(reader *r, double *value)
{
    uint64_t bits = 0;
    if (r->end - r->at < 8) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        bits |= (uint64_t)r->at[i] << (8 * i);
    }
    r->at += 8;
    memcpy(value, &bits, sizeof *value);
    return *value >= 0 && *value < 1e300;
}

static bool skip_field(reader *r, unsigned wire_type)
{
    uint64_t value;
    switch (wire_type) {
    case VARINT:
        return read_varint(r, &value);
    case FIXED64:
        return skip(r, 8);
    case LENGTH_DELIMITED:
        return read_varint(r, &value) && skip(r, value);
    case FIXED32:
        return skip(r, 4);
    default:
        return false;
    }
}

static double *field_of(evener_load_report *report, uint64_t number)
{
    switch (number) {
    case CPU_UTILIZATION:
        return &report->cpu_utilization;
    case RPS_FRACTIONAL:
        return &report->requests_per_second;
    case EPS:
        return &report->errors_per_second;
    case APPLICATION_UTILIZATION:
        return &report->application_utilization;
    default:
        return NULL;
    }
}

bool evener_load_report_parse(const void *bytes, size_t byte_count, evener_load_report *report)
{
    reader r = {.at = bytes};
    r.end = r.at + byte_count;
    evener_load_report parsed = {.size = report->size};
    if (report->size < sizeof parsed) { /* of the first version */
        return false;
    }
    while (r.at < r.end) {
        uint64_t tag;
        if (!read_varint(&r, &tag)) {
            return false;
        }
        double *field = (tag & 7) == FIXED64 ? field_of(&parsed, tag >> 3) : NULL;
        if (!(field != NULL ? read_double(&r, field) : skip_field(&r, (unsigned)(tag & 7)))) {
            return false;
        }
    }
    *report = parsed;
    return true;
}
