/* StreamingLLM, Xiao et al., ICLR 2024 (docs/methods.md, StreamingLLM). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { WINDOW, SINKS };

/* The published script's --recent_size; less where the model was trained for less. */
enum { DEFAULT_WINDOW = 2000, DEFAULT_SINKS = 4 };

static union parameter_number default_window(const union parameter_number *numbers,
                                             int64_t trained_tokens)
{
    (void)numbers;
    const int64_t most = trained_tokens - DEFAULT_SINKS;
    const bool fits = trained_tokens == 0 || most > DEFAULT_WINDOW;
    return (union parameter_number){.tokens = fits ? DEFAULT_WINDOW : most};
}

static enum status streaming_llm_check(const struct method *method)
{
    const int64_t window = method->numbers[WINDOW].tokens, sinks = method->numbers[SINKS].tokens;
    if (window + sinks <= PARAMETER_TOKENS_MAX)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "method streaming_llm: sinks=%lld and window=%lld are together more than %lld",
                (long long)sinks, (long long)window, (long long)PARAMETER_TOKENS_MAX);
}

/* Positions are places in a cache of sinks and window. It is full with query sinks + window: up to
 * there all stand at their index, from there on sinks stay and the query is at the cache's end. */
static void streaming_llm_bands(const struct method *method, struct bands *bands)
{
    const int64_t sinks = method->numbers[SINKS].tokens;
    const int64_t full = sinks + method->numbers[WINDOW].tokens;
    const struct span near = {0, method->numbers[WINDOW].tokens + 1};
    const struct span far = {near.end, BANDS_OPEN};
    band_list_begin(bands, band_list_index);
    band_list_see(bands, BAND_ORDINARY, near, band_list_index);
    band_list_hide(bands, BAND_ORDINARY, far);
    if (sinks == 0)
        return;
    const int kept = band_list_sinks(bands, band_list_index, sinks);
    band_list_see(bands, BAND_SINK, near, band_list_index)->query_end = full + 1;
    struct band *filling = band_list_see(bands, BAND_SINK, far, band_list_index);
    filling->query_end = full + 1;
    filling->key_frame = kept;
    struct band *after = band_list_see(bands, BAND_SINK, (struct span){0, BANDS_OPEN},
                                       (struct bands_frame)BANDS_FRAME(0, (double)full));
    after->query_first = full + 1;
    after->key_frame = kept;
}

const struct method_row method_streaming_llm = {
    .name = "streaming_llm",
    .parameters = {[WINDOW] = {.name = "window",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 1,
                               .most.tokens = PARAMETER_TOKENS_MAX,
                               .follows = default_window},
                   [SINKS] = {.name = "sinks",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 0,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .absent.tokens = DEFAULT_SINKS}},
    .check = streaming_llm_check,
    .bands = streaming_llm_bands,
};
