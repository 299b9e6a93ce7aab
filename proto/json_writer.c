/* Owns nothing but the comma. Promises valid JSON in valid UTF-8 for any bytes. */
#include "proto/json_writer.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "proto/utf8.h"

static void put_ascii(FILE *file, unsigned char c)
{
    static const char escaped[] = "\"\\\n\r\t";
    static const char letters[] = "\"\\nrt";
    const char *found = c ? strchr(escaped, c) : NULL;
    if (found)
        fprintf(file, "\\%c", letters[found - escaped]);
    else if (c < 0x20 || c == 0x7f)
        fprintf(file, "\\u%04x", c);
    else
        fputc(c, file);
}

static void put_string(FILE *file, const char *text, size_t bytes)
{
    fputc('"', file);
    for (size_t i = 0; i < bytes;) {
        int length = utf8_sequence(text + i, bytes - i);
        bool is_control = length == 2 && (unsigned char)text[i] == 0xC2 &&
                          (unsigned char)text[i + 1] < 0xA0; /* U+0080 to U+009F */
        if (length == 1)
            put_ascii(file, (unsigned char)text[i]);
        else if (is_control)
            fprintf(file, "\\u%04x", (unsigned char)text[i + 1]);
        else if (length > 1)
            fwrite(text + i, 1, (size_t)length, file);
        else
            fputs(UTF8_REPLACEMENT, file);
        i += length > 1 ? (size_t)length : 1;
    }
    fputc('"', file);
}

/* The comma and the key that go before a value. */
static void lead_in(struct json_writer *writer, const char *key)
{
    if (writer->comma)
        fputs(", ", writer->file);
    writer->comma = true;
    if (key) {
        put_string(writer->file, key, strlen(key));
        fputs(": ", writer->file);
    }
}

void json_writer_begin_object(struct json_writer *writer, const char *key)
{
    lead_in(writer, key);
    fputc('{', writer->file);
    writer->comma = false;
}

void json_writer_end_object(struct json_writer *writer)
{
    fputc('}', writer->file);
    writer->comma = true;
}

void json_writer_begin_array(struct json_writer *writer, const char *key)
{
    lead_in(writer, key);
    fputc('[', writer->file);
    writer->comma = false;
}

void json_writer_end_array(struct json_writer *writer)
{
    fputc(']', writer->file);
    writer->comma = true;
}

void json_writer_bytes(struct json_writer *writer, const char *key, const char *text, size_t bytes)
{
    lead_in(writer, key);
    put_string(writer->file, text, bytes);
}

void json_writer_text(struct json_writer *writer, const char *key, const char *text)
{
    json_writer_bytes(writer, key, text, strlen(text));
}

void json_writer_integer(struct json_writer *writer, const char *key, int64_t value)
{
    lead_in(writer, key);
    fprintf(writer->file, "%lld", (long long)value);
}

void json_writer_unsigned(struct json_writer *writer, const char *key, uint64_t value)
{
    lead_in(writer, key);
    fprintf(writer->file, "%llu", (unsigned long long)value);
}

static void put_number(struct json_writer *writer, const char *key, double value, int digits)
{
    if (!isfinite(value)) {
        json_writer_null(writer, key);
        return;
    }
    lead_in(writer, key);
    fprintf(writer->file, "%.*g", digits, value);
}

void json_writer_real(struct json_writer *writer, const char *key, double value)
{
    put_number(writer, key, value, 17);
}

void json_writer_float(struct json_writer *writer, const char *key, float value)
{
    put_number(writer, key, value, 9);
}

void json_writer_boolean(struct json_writer *writer, const char *key, bool value)
{
    lead_in(writer, key);
    fputs(value ? "true" : "false", writer->file);
}

void json_writer_null(struct json_writer *writer, const char *key)
{
    lead_in(writer, key);
    fputs("null", writer->file);
}

void json_writer_raw(struct json_writer *writer, const char *key, const char *json, size_t bytes)
{
    lead_in(writer, key);
    fwrite(json, 1, bytes, writer->file);
}
