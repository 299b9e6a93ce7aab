/* Owns the order of elements within a record. Promises that what was put is what is taken. */
#include "kernels/attention_rows.h"

#include <string.h>

#include "kernels/attention_int8.h"

/* Two bfloat16 that lie side by side. */
typedef uint32_t pair;

/* keys [head_dim / 2][PANEL_TOKENS] pairs; rows [PANEL_TOKENS][head_dim / 2]. */
static void take_keys(pair *restrict rows, const pair *restrict keys, int head_dim)
{
    const int pairs = head_dim / 2;
    for (int token = 0; token < PANEL_TOKENS; token++)
        for (int p = 0; p < pairs; p++)
            rows[token * pairs + p] = keys[p * PANEL_TOKENS + token];
}

static void put_keys(pair *restrict keys, const pair *restrict rows, int head_dim)
{
    const int pairs = head_dim / 2;
    for (int p = 0; p < pairs; p++)
        for (int token = 0; token < PANEL_TOKENS; token++)
            keys[p * PANEL_TOKENS + token] = rows[token * pairs + p];
}

/* values [PANEL_TOKENS / 2][head_dim][2]; rows [PANEL_TOKENS / 2][2][head_dim]. */
static void take_values(uint16_t *restrict rows, const uint16_t *restrict values, int head_dim)
{
    for (int t = 0; t < PANEL_TOKENS; t++)
        for (int d = 0; d < head_dim; d++)
            rows[t * head_dim + d] = values[(t / 2 * head_dim + d) * 2 + t % 2];
}

static void put_values(uint16_t *restrict values, const uint16_t *restrict rows, int head_dim)
{
    for (int t = 0; t < PANEL_TOKENS; t++)
        for (int d = 0; d < head_dim; d++)
            values[(t / 2 * head_dim + d) * 2 + t % 2] = rows[t * head_dim + d];
}

/* rows [PANEL_TOKENS][head_dim + 2] of what attention_int8.h says. */
static void take_bytes(char *restrict rows, const char *restrict head, int head_dim, bool values)
{
    const uint16_t *scales = attention_int8_scales(head, head_dim);
    for (int t = 0; t < PANEL_TOKENS; t++, rows += attention_row_bytes(DTYPE_INT8, head_dim)) {
        for (int d = 0; d < head_dim; d++)
            rows[d] =
                head[values ? attention_int8_value(t, d, head_dim) : attention_int8_key(t, d)];
        memcpy(rows + head_dim, &scales[t], sizeof scales[t]);
    }
}

static void put_bytes(char *restrict head, const char *restrict rows, int head_dim, bool values)
{
    uint16_t *scales = attention_int8_scales(head, head_dim);
    for (int t = 0; t < PANEL_TOKENS; t++, rows += attention_row_bytes(DTYPE_INT8, head_dim)) {
        for (int d = 0; d < head_dim; d++)
            head[values ? attention_int8_value(t, d, head_dim) : attention_int8_key(t, d)] =
                rows[d];
        memcpy(&scales[t], rows + head_dim, sizeof scales[t]);
    }
}

void attention_rows_take(void *rows, const void *record, const struct attention_rows_args *args)
{
    const size_t head_bytes = attention_head_bytes(args->cache, args->head_dim);
    for (int head = 0; head < args->kv_heads; head++) {
        char *to = (char *)rows + (size_t)head * head_bytes;
        const char *from = (const char *)record + (size_t)head * head_bytes;
        if (args->cache == DTYPE_F32)
            memcpy(to, from, head_bytes);
        else if (args->cache == DTYPE_INT8)
            take_bytes(to, from, args->head_dim, args->values);
        else if (args->values)
            take_values((void *)to, (const void *)from, args->head_dim);
        else
            take_keys((void *)to, (const void *)from, args->head_dim);
    }
}

void attention_rows_put(void *record, const void *rows, const struct attention_rows_args *args)
{
    const size_t head_bytes = attention_head_bytes(args->cache, args->head_dim);
    for (int head = 0; head < args->kv_heads; head++) {
        char *to = (char *)record + (size_t)head * head_bytes;
        const char *from = (const char *)rows + (size_t)head * head_bytes;
        if (args->cache == DTYPE_F32)
            memcpy(to, from, head_bytes);
        else if (args->cache == DTYPE_INT8)
            put_bytes(to, from, args->head_dim, args->values);
        else if (args->values)
            put_values((void *)to, (const void *)from, args->head_dim);
        else
            put_keys((void *)to, (const void *)from, args->head_dim);
    }
}
