/* Owns what there is to say of each method: its parameters, and the bands that it stands for. */
#include "proto/plan/method_rows.h"

enum { DEFAULT_LOCAL = 128, DEFAULT_SINKS = 10 };

/* A table without bands, keys kept at their index. */
static void begin(struct bands *bands)
{
    *bands = (struct bands){.key_frames = 1, .panel_frames = 1, .key_frame = {BANDS_FRAME(1, 0)}};
}

/* Appends a band that applies to every query, seen at scale * i + offset, and the query frame that
 * it needs where there is none yet. */
static struct band *add_band(struct bands *bands, int64_t first, int64_t end, double scale,
                             int64_t offset)
{
    int frame = 0;
    while (frame < bands->query_frames && (bands->query_frame[frame].scale != scale ||
                                           bands->query_frame[frame].offset != (double)offset))
        frame++;
    bands->query_frame[frame] = (struct bands_frame)BANDS_FRAME(scale, (double)offset);
    if (frame == bands->query_frames)
        bands->query_frames++;
    bands->list[bands->count] = (struct band){.query_end = BANDS_OPEN,
                                              .unit = 1,
                                              .distance_first = first,
                                              .distance_end = end,
                                              .query_frame = frame};
    return &bands->list[bands->count++];
}

/* ---- rope ---- */

static void rope_bands(const struct method *method, struct bands *bands)
{
    (void)method;
    begin(bands);
    add_band(bands, 0, BANDS_OPEN, 1, 0);
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
    begin(bands);
    add_band(bands, 0, method->shift, 1, 0);
    add_band(bands, method->shift, BANDS_OPEN, 1, method->local - method->shift);
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

/* Sinks that are far stand at 0 and their query at the ceiling. */
static void lm_infinite_bands(const struct method *method, struct bands *bands)
{
    begin(bands);
    add_band(bands, 0, method->window, 1, 0);
    bands->list[bands->count++] = (struct band){.query_end = BANDS_OPEN,
                                                .unit = 1,
                                                .distance_first = method->window,
                                                .distance_end = BANDS_OPEN,
                                                .masked = true};
    if (method->sinks == 0)
        return;
    bands->sinks = method->sinks;
    bands->key_frame[bands->key_frames++] = (struct bands_frame)BANDS_FRAME(0, 0);
    add_band(bands, 0, method->window, 1, 0)->key_class = BAND_SINK;
    struct band *far = add_band(bands, method->window, BANDS_OPEN, 0, method->ceiling);
    far->key_class = BAND_SINK;
    far->key_frame = 1;
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
