/* Self-Extend, Jin et al., 2024 (docs/methods.md, Self-Extend). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { WINDOW, GROUP };

/* Beyond the window tokens stand in groups, and queries are moved so that the two meet there. */
static void self_extend_bands(const struct method *method, struct bands *bands)
{
    const int64_t window = method->numbers[WINDOW].tokens, group = method->numbers[GROUP].tokens;
    struct bands_frame grouped = BANDS_FRAME(1, 0);
    grouped.group = group;
    band_list_begin(bands, band_list_index);
    const int keys = band_list_keys(bands, grouped);
    grouped.offset = (double)(window - window / group);
    band_list_see(bands, BAND_ORDINARY, (struct span){0, window}, band_list_index);
    band_list_see(bands, BAND_ORDINARY, (struct span){window, BANDS_OPEN}, grouped)->key_frame =
        keys;
}

const struct method_row method_self_extend = {
    .name = "self_extend",
    .parameters = {[WINDOW] = {.name = "window",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 1,
                               .most.tokens = PARAMETER_TOKENS_MAX,
                               .absent.tokens = 1024},
                   [GROUP] = {.name = "group",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 1,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .absent.tokens = 8}},
    .bands = self_extend_bands,
};
