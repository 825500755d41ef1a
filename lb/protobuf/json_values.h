/* JSON values: the text forms of numbers, bytes, times and field masks, both ways. Knows nothing of messages. */
#ifndef EVENER_LB_PROTOBUF_JSON_VALUES_H
#define EVENER_LB_PROTOBUF_JSON_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb/protobuf/wire.h"

/* ---- numbers: JSON's syntax ---- */

/* Read an integer, also as 7.0 or 7e2: `negative` and the magnitude. False: not an integer, or more than 64 bits. */
bool evener_integer_read(const char *text, size_t length, bool *negative, uint64_t *magnitude);

/* Read a number; also NaN, Infinity, -Infinity if `words`. False: not a number, or too large for a double. */
bool evener_double_read(const char *text, size_t length, bool words, double *value);

/* Write the fewest digits that give the same value, or "NaN", "Infinity", "-Infinity" in quotes. */
#define EVENER_NUMBER_BYTES 40
void evener_double_write(double value, char text[EVENER_NUMBER_BYTES]);
void evener_float_write(float value, char text[EVENER_NUMBER_BYTES]);

/* ---- base64: RFC 4648 sections 4 and 5, padding optional ---- */

/* Append the decoded bytes. False: not base64. */
bool evener_base64_read(const char *text, size_t length, evener_wire_buffer *to);

/* ---- google.protobuf.Timestamp, Duration, FieldMask ---- */

#define EVENER_TIME_BYTES 48

/* Read "1970-01-01T00:00:00.000000001Z" or with an offset, "+01:00". False: malformed or out of range. */
bool evener_timestamp_read(const char *text, size_t length, int64_t *seconds, int32_t *nanos);
/* Write it in UTC with 0, 3, 6 or 9 digits of a fraction. False: out of range. */
bool evener_timestamp_write(int64_t seconds, int32_t nanos, char text[EVENER_TIME_BYTES]);

/* Read "-1.5s". False: malformed or out of range. */
bool evener_duration_read(const char *text, size_t length, int64_t *seconds, int32_t *nanos);
bool evener_duration_write(int64_t seconds, int32_t nanos, char text[EVENER_TIME_BYTES]);

/* Append the snake_case form of one path of a mask in lowerCamelCase. False: it has none. */
bool evener_mask_path_read(const char *text, size_t length, evener_wire_buffer *to);
/* Append the lowerCamelCase form of a path. False: it could not be read back. */
bool evener_mask_path_write(const char *text, size_t length, evener_wire_buffer *to);

#endif
