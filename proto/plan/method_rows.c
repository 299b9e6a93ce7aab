/* Owns what there is to say of each method: its parameters, and the bands that it stands for. */
#include "proto/plan/method_rows.h"

enum { DEFAULT_LOCAL = 128, DEFAULT_SINKS = 10 };

/* Appends a band that applies to every query, and the query frame it needs where there is none yet.
 */
static void add_band(struct bands *bands, enum band_class key_class, int64_t first, int64_t end,
                     enum band_rule rule, int64_t value)
{
    struct band band = {.key_class = key_class,
                        .query_end = BANDS_OPEN,
                        .distance_first = first,
                        .distance_end = end,
                        .rule = rule,
                        .value = value,
                        .key_frame = rule == BAND_CLAMP};
    if (rule != BAND_MASK) {
        const struct bands_frame frame = {.scale = rule != BAND_CLAMP, .offset = value};
        while (band.query_frame < bands->query_frames &&
               (bands->frame[band.query_frame].scale != frame.scale ||
                bands->frame[band.query_frame].offset != frame.offset))
            band.query_frame++;
        bands->frame[band.query_frame] = frame;
        if (band.query_frame == bands->query_frames)
            bands->query_frames++;
    }
    bands->list[bands->count++] = band;
}

/* ---- rope ---- */

static void rope_bands(const struct method *method, struct bands *bands)
{
    (void)method;
    add_band(bands, BAND_ORDINARY, 0, BANDS_OPEN, BAND_IDENTITY, 0);
}

/* ---- string ---- */

static int64_t string_shift(const struct method *method, int64_t trained_tokens)
{
    (void)method;
    return trained_tokens / 3;
}

static int64_t string_local(const struct method *method, int64_t trained_tokens)
{
    (void)trained_tokens;
    return method->shift < DEFAULT_LOCAL ? method->shift : DEFAULT_LOCAL;
}

static enum status string_check(const struct method *method)
{
    if (method->local <= method->shift)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "method string: local=%lld must be between 0 and shift, which is %lld",
                (long long)method->local, (long long)method->shift);
}

static void string_bands(const struct method *method, struct bands *bands)
{
    add_band(bands, BAND_ORDINARY, 0, method->shift, BAND_IDENTITY, 0);
    add_band(bands, BAND_ORDINARY, method->shift, BANDS_OPEN,
             method->local == method->shift ? BAND_IDENTITY : BAND_SHIFT,
             method->local - method->shift);
}

/* ---- lm_infinite ---- */

static int64_t lm_infinite_window(const struct method *method, int64_t trained_tokens)
{
    (void)method;
    return trained_tokens;
}

static int64_t lm_infinite_sinks(const struct method *method, int64_t trained_tokens)
{
    (void)method;
    (void)trained_tokens;
    return DEFAULT_SINKS;
}

static int64_t lm_infinite_ceiling(const struct method *method, int64_t trained_tokens)
{
    (void)trained_tokens;
    return method->window;
}

static void lm_infinite_bands(const struct method *method, struct bands *bands)
{
    bands->sinks = method->sinks;
    add_band(bands, BAND_ORDINARY, 0, method->window, BAND_IDENTITY, 0);
    add_band(bands, BAND_ORDINARY, method->window, BANDS_OPEN, BAND_MASK, 0);
    if (method->sinks > 0) {
        add_band(bands, BAND_SINK, 0, method->window, BAND_IDENTITY, 0);
        add_band(bands, BAND_SINK, method->window, BANDS_OPEN, BAND_CLAMP, method->ceiling);
    }
}

/* ---- the table ---- */

const struct method_row method_rows[] = {
    [METHOD_ROPE] = {.name = "rope", .bands = rope_bands},
    [METHOD_STRING] =
        {
            .name = "string",
            .parameters =
                {
                    {.name = "shift",
                     .type = METHOD_TRAINED_SHARE,
                     .offset = offsetof(struct method, shift),
                     .least = 1,
                     .most = METHOD_TOKENS_MAX,
                     .absent = string_shift},
                    {.name = "local",
                     .type = METHOD_TOKENS,
                     .offset = offsetof(struct method, local),
                     .least = 0,
                     .most = METHOD_TOKENS_MAX,
                     .absent = string_local},
                    {.name = "logit_scale",
                     .type = METHOD_REAL,
                     .offset = offsetof(struct method, logit_scale),
                     .above = 0,
                     .at_most = 100,
                     .absent_real = 1,
                     .word = "published",
                     .word_real = METHOD_PUBLISHED_LOGIT_SCALE},
                },
            .check = string_check,
            .bands = string_bands,
        },
    [METHOD_LM_INFINITE] =
        {
            .name = "lm_infinite",
            .parameters =
                {
                    {.name = "window",
                     .type = METHOD_TOKENS,
                     .offset = offsetof(struct method, window),
                     .least = 1,
                     .most = METHOD_TOKENS_MAX,
                     .absent = lm_infinite_window},
                    {.name = "sinks",
                     .type = METHOD_TOKENS,
                     .offset = offsetof(struct method, sinks),
                     .least = 0,
                     .most = METHOD_TOKENS_MAX,
                     .absent = lm_infinite_sinks},
                    {.name = "ceiling",
                     .type = METHOD_TOKENS,
                     .offset = offsetof(struct method, ceiling),
                     .least = 0,
                     .most = METHOD_TOKENS_MAX,
                     .absent = lm_infinite_ceiling},
                },
            .bands = lm_infinite_bands,
        },
};
const int method_rows_count = sizeof method_rows / sizeof method_rows[0];
