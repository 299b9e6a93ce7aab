/* ReRoPE, Su, 2023 (docs/methods.md, ReRoPE and Leaky ReRoPE). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { WINDOW };

static void rerope_bands(const struct method *method, struct bands *bands)
{
    const int64_t window = method->numbers[WINDOW].tokens;
    band_list_begin(bands, band_list_index);
    const int unrotated = band_list_keys(bands, (struct bands_frame)BANDS_FRAME(0, 0));
    band_list_see(bands, BAND_ORDINARY, (struct span){0, window}, band_list_index);
    band_list_see(bands, BAND_ORDINARY, (struct span){window, BANDS_OPEN},
                  (struct bands_frame)BANDS_FRAME(0, (double)window))
        ->key_frame = unrotated;
}

const struct method_row method_rerope = {
    .name = "rerope",
    .parameters = {[WINDOW] = {.name = "window",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 1,
                               .most.tokens = PARAMETER_TOKENS_MAX,
                               .absent.tokens = 512}},
    .bands = rerope_bands,
};
