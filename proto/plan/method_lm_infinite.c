/* LM-Infinite, Han et al., NAACL 2024 (docs/methods.md, LM-Infinite). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { WINDOW, SINKS, CEILING };

static union parameter_number default_window(const union parameter_number *numbers,
                                             int64_t trained_tokens)
{
    (void)numbers;
    return (union parameter_number){.tokens = trained_tokens};
}

static union parameter_number default_ceiling(const union parameter_number *numbers,
                                              int64_t trained_tokens)
{
    (void)trained_tokens;
    return numbers[WINDOW];
}

/* Far sinks stand at 0 and their query at the ceiling. */
static void lm_infinite_bands(const struct method *method, struct bands *bands)
{
    const struct span near = {0, method->numbers[WINDOW].tokens};
    const struct span far = {near.end, BANDS_OPEN};
    const int64_t sinks = method->numbers[SINKS].tokens;
    const double ceiling = (double)method->numbers[CEILING].tokens;
    band_list_begin(bands, band_list_index);
    band_list_see(bands, BAND_ORDINARY, near, band_list_index);
    band_list_hide(bands, BAND_ORDINARY, far);
    if (sinks == 0)
        return;
    const int unrotated = band_list_sinks(bands, (struct bands_frame)BANDS_FRAME(0, 0), sinks);
    band_list_see(bands, BAND_SINK, near, band_list_index);
    band_list_see(bands, BAND_SINK, far, (struct bands_frame)BANDS_FRAME(0, ceiling))->key_frame =
        unrotated;
}

const struct method_row method_lm_infinite = {
    .name = "lm_infinite",
    .parameters = {[WINDOW] = {.name = "window",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 1,
                               .most.tokens = PARAMETER_TOKENS_MAX,
                               .follows = default_window},
                   [SINKS] = {.name = "sinks",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 0,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .absent.tokens = 10},
                   [CEILING] = {.name = "ceiling",
                                .type = PARAMETER_TOKENS,
                                .least.tokens = 0,
                                .most.tokens = PARAMETER_TOKENS_MAX,
                                .follows = default_ceiling}},
    .bands = lm_infinite_bands,
};
