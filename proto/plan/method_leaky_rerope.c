/* Leaky ReRoPE, Su, 2023 (docs/methods.md, ReRoPE and Leaky ReRoPE). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { WINDOW, FACTOR };

/* Beyond the window w, w + (d - w) / k: queries at (i + w (k - 1)) / k, keys at j / k. */
static void leaky_rerope_bands(const struct method *method, struct bands *bands)
{
    const int64_t window = method->numbers[WINDOW].tokens;
    const double scale = 1 / method->numbers[FACTOR].real;
    const double offset = (double)window * (1 - scale);
    band_list_begin(bands, band_list_index);
    const int scaled = band_list_keys(bands, (struct bands_frame)BANDS_FRAME(scale, 0));
    band_list_see(bands, BAND_ORDINARY, (struct span){0, window}, band_list_index);
    band_list_see(bands, BAND_ORDINARY, (struct span){window, BANDS_OPEN},
                  (struct bands_frame)BANDS_FRAME(scale, offset))
        ->key_frame = scaled;
}

const struct method_row method_leaky_rerope = {
    .name = "leaky_rerope",
    .parameters = {[WINDOW] = {.name = "window",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 1,
                               .most.tokens = PARAMETER_TOKENS_MAX,
                               .absent.tokens = 512},
                   [FACTOR] = {.name = "factor",
                               .type = PARAMETER_REAL,
                               .least.real = 1,
                               .most.real = 1e6,
                               .absent.real = 16}},
    .bands = leaky_rerope_bands,
};
