/* RoPE as the model was trained (docs/methods.md, Rotary positions). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

static void rope_bands(const struct method *method, struct bands *bands)
{
    (void)method;
    band_list_begin(bands, band_list_index);
    band_list_see(bands, BAND_ORDINARY, (struct span){0, BANDS_OPEN}, band_list_index);
}

const struct method_row method_rope = {.name = "rope", .bands = rope_bands};
