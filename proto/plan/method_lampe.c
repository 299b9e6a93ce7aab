/* LaMPE, Zhang et al., 2025 (docs/methods.md, LaMPE). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { NEAR, FAR, MAPPED, LENGTH, LOGIT_SCALE };

/* The published code's: (0.1 ln 2 + 1) squared. */
#define PUBLISHED_LOGIT_SCALE 1.143434

static enum status lampe_check(const struct method *method)
{
    const int64_t near = method->numbers[NEAR].tokens, far = method->numbers[FAR].tokens;
    if (far <= near)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "method lampe: far=%lld must be between 0 and near, which is %lld", (long long)far,
                (long long)near);
}

/* Where the map of a text of `length` tokens puts index x: its last one at `mapped`. */
static int64_t place_of(int64_t x, int64_t mapped, int64_t length)
{
    return x * mapped / (length - 1);
}

/* The last index that the map puts where it puts `far`. */
static int64_t last_like(int64_t far, int64_t mapped, int64_t length)
{
    const int64_t place = place_of(far, mapped, length);
    const int64_t last = ((place + 1) * (length - 1) - 1) / mapped;
    return last < length - 1 ? last : length - 1;
}

/* Between near and far, queries and keys stand where the map puts them, the queries moved so that
 * the two meet at `near`; from `far` tokens before the text's end on distances grow by ones again,
 * from where the map has brought them. */
static void lampe_bands(const struct method *method, struct bands *bands)
{
    const int64_t near = method->numbers[NEAR].tokens, far = method->numbers[FAR].tokens;
    const int64_t mapped = method->numbers[MAPPED].tokens, length = method->numbers[LENGTH].tokens;
    band_list_begin(bands, band_list_index);
    if (length < 2 * near || length - 1 <= mapped) {
        band_list_see(bands, BAND_ORDINARY, (struct span){0, BANDS_OPEN}, band_list_index);
        return;
    }
    const int64_t last = far > 0 ? last_like(far, mapped, length) : 0;
    const int64_t moved = near - place_of(near, mapped, length) - 1;
    const int64_t back = length - 1 - last - place_of(length - 1 - last, mapped, length) - moved;
    const int64_t far_first = length - last > near ? length - last : near;
    const int64_t mapped_end = far > 0 ? far_first : BANDS_OPEN;
    struct bands_frame keys = BANDS_FRAME(1, 0);
    keys.parts = mapped;
    keys.group = length - 1;
    struct bands_frame queries = keys;
    queries.offset = (double)moved;
    band_list_see(bands, BAND_ORDINARY, (struct span){0, near}, band_list_index);
    if (near < mapped_end) {
        const int place = band_list_keys(bands, keys);
        band_list_see(bands, BAND_ORDINARY, (struct span){near, mapped_end}, queries)->key_frame =
            place;
    }
    if (far > 0)
        band_list_see(bands, BAND_ORDINARY, (struct span){far_first, BANDS_OPEN},
                      (struct bands_frame)BANDS_FRAME(1, (double)-back));
}

static double lampe_logit_scale(const struct method *method)
{
    return method->numbers[LOGIT_SCALE].real;
}

const struct method_row method_lampe = {
    .name = "lampe",
    .parameters = {[NEAR] = {.name = "near",
                             .type = PARAMETER_TOKENS,
                             .least.tokens = 1,
                             .most.tokens = PARAMETER_TOKENS_MAX / 4,
                             .absent.tokens = 512},
                   [FAR] = {.name = "far",
                            .type = PARAMETER_TOKENS,
                            .least.tokens = 0,
                            .most.tokens = PARAMETER_TOKENS_MAX / 4,
                            .absent.tokens = 200},
                   [MAPPED] = {.name = "mapped",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 1,
                               .most.tokens = BANDS_PARTS_MAX,
                               .absent.tokens = 1536},
                   [LENGTH] = {.name = "length",
                               .type = PARAMETER_TOKENS,
                               .least.tokens = 2,
                               .most.tokens = PARAMETER_TOKENS_MAX,
                               .zero_is_none = true,
                               .of_request = true},
                   [LOGIT_SCALE] = {.name = "logit_scale",
                                    .type = PARAMETER_REAL,
                                    .least.real = 0,
                                    .above = true,
                                    .most.real = 100,
                                    .absent.real = 1,
                                    .word = "published",
                                    .word_real = PUBLISHED_LOGIT_SCALE}},
    .check = lampe_check,
    .bands = lampe_bands,
    .logit_scale = lampe_logit_scale,
};
