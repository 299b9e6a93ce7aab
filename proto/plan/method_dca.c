/* Dual chunk attention, An et al., ICML 2024 (docs/methods.md, Dual chunk attention). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { CHUNK, LOCAL };

static union parameter_number default_chunk(const union parameter_number *numbers,
                                            int64_t trained_tokens)
{
    (void)numbers;
    return (union parameter_number){.tokens = trained_tokens / 4 * 3};
}

static union parameter_number default_local(const union parameter_number *numbers,
                                            int64_t trained_tokens)
{
    const int64_t chunk = numbers[CHUNK].tokens;
    const int64_t local = trained_tokens > 0 ? trained_tokens / 16 : chunk / 12;
    return (union parameter_number){.tokens = local < chunk ? local : chunk - 1};
}

static enum status dca_check(const struct method *method)
{
    const int64_t chunk = method->numbers[CHUNK].tokens, local = method->numbers[LOCAL].tokens;
    if (local < chunk)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "method dca: local=%lld must be below chunk, which is %lld", (long long)local,
                (long long)chunk);
}

/* Chunks of s = chunk - local tokens; keys stand at their place in their chunk. Distances count
 * chunks: within one, to the one before, to any older. */
static void dca_bands(const struct method *method, struct bands *bands)
{
    const int64_t chunk = method->numbers[CHUNK].tokens;
    const int64_t s = chunk - method->numbers[LOCAL].tokens;
    struct bands_frame place = BANDS_FRAME(1, 0);
    place.modulo = s;
    struct bands_frame previous = place;
    previous.offset = (double)s;
    previous.cap = (double)chunk;
    band_list_begin(bands, place);
    band_list_see(bands, BAND_ORDINARY, (struct span){0, 1}, place)->unit = s;
    band_list_see(bands, BAND_ORDINARY, (struct span){1, 2}, previous)->unit = s;
    band_list_see(bands, BAND_ORDINARY, (struct span){2, BANDS_OPEN},
                  (struct bands_frame)BANDS_FRAME(0, (double)chunk))
        ->unit = s;
}

const struct method_row method_dca = {
    .name = "dca",
    .parameters = {[CHUNK] = {.name = "chunk",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 1,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .follows = default_chunk},
                   [LOCAL] = {.name = "local",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 0,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .follows = default_local}},
    .check = dca_check,
    .bands = dca_bands,
};
