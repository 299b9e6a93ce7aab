/* Heads that retrieve and heads that stream, after DuoAttention, Xiao et al., ICLR 2025
 * (docs/methods.md, Streaming heads). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { HEADS, WINDOW, SINKS };

static void streaming_heads_bands(const struct method *method, struct bands *bands)
{
    method_rope.bands(method, bands);
}

static int64_t streaming_heads_local_heads(const struct method *method)
{
    return method->numbers[HEADS].tokens;
}

/* All at their true distances. The sinks are read where all keys are: other heads keep these. */
static void streaming_heads_local_bands(const struct method *method, struct bands *bands)
{
    const struct span near = {0, method->numbers[WINDOW].tokens};
    const struct span far = {near.end, BANDS_OPEN};
    band_list_begin(bands, band_list_index);
    band_list_see(bands, BAND_ORDINARY, near, band_list_index);
    band_list_hide(bands, BAND_ORDINARY, far);
    bands->sinks = method->numbers[SINKS].tokens;
    if (bands->sinks > 0)
        band_list_see(bands, BAND_SINK, (struct span){0, BANDS_OPEN}, band_list_index);
}

const struct method_row method_streaming_heads = {
    .name = "streaming_heads",
    .parameters = {[HEADS] = {.name = "heads",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 1,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .required = true},
                   [WINDOW] = {.name = "window",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 1,
                               .most.tokens = PARAMETER_TOKENS_MAX,
                               .required = true},
                   [SINKS] = {.name = "sinks",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 0,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .absent.tokens = 4}},
    .bands = streaming_heads_bands,
    .local_heads = streaming_heads_local_heads,
    .local_bands = streaming_heads_local_bands,
};
