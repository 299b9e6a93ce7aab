/* JSON as it is written: no tree is built, commas and escapes are seen to, and the output is always
 * valid UTF-8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* {.file = stdout} begins a document; the member `comma` is the writer's own. */
struct json_writer {
    FILE *file;
    bool comma;
};

/* `key` is NULL in an array and at the top. */
void json_writer_begin_object(struct json_writer *writer, const char *key);
void json_writer_end_object(struct json_writer *writer);
void json_writer_begin_array(struct json_writer *writer, const char *key);
void json_writer_end_array(struct json_writer *writer);

/* Bytes that are no UTF-8 become U+FFFD, one each. */
void json_writer_text(struct json_writer *writer, const char *key, const char *text);
void json_writer_bytes(struct json_writer *writer, const char *key, const char *text, size_t bytes);
void json_writer_integer(struct json_writer *writer, const char *key, int64_t value);
void json_writer_unsigned(struct json_writer *writer, const char *key, uint64_t value);
/* With the digits that give the same float64, or float32, back; NaN and infinities, which JSON
 * lacks, become null. */
void json_writer_real(struct json_writer *writer, const char *key, double value);
void json_writer_float(struct json_writer *writer, const char *key, float value);
void json_writer_boolean(struct json_writer *writer, const char *key, bool value);
void json_writer_null(struct json_writer *writer, const char *key);

/* A value that is JSON already, as it is. */
void json_writer_raw(struct json_writer *writer, const char *key, const char *json, size_t bytes);
