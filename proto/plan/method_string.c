/* STRING, An et al., 2024 (docs/methods.md, STRING). */
#include "proto/plan/band_list.h"
#include "proto/plan/method_rows.h"

enum { SHIFT, LOCAL, LOGIT_SCALE };

enum { DEFAULT_LOCAL = 128 };

/* The published code's: (0.1 ln 2 + 1) squared. */
#define PUBLISHED_LOGIT_SCALE 1.143434

static union parameter_number default_shift(const union parameter_number *numbers,
                                            int64_t trained_tokens)
{
    (void)numbers;
    return (union parameter_number){.tokens = trained_tokens / 3};
}

static union parameter_number default_local(const union parameter_number *numbers,
                                            int64_t trained_tokens)
{
    (void)trained_tokens;
    const int64_t shift = numbers[SHIFT].tokens;
    return (union parameter_number){.tokens = shift < DEFAULT_LOCAL ? shift : DEFAULT_LOCAL};
}

static enum status string_check(const struct method *method)
{
    const int64_t shift = method->numbers[SHIFT].tokens, local = method->numbers[LOCAL].tokens;
    if (local <= shift)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "method string: local=%lld must be between 0 and shift, which is %lld",
                (long long)local, (long long)shift);
}

static void string_bands(const struct method *method, struct bands *bands)
{
    const int64_t shift = method->numbers[SHIFT].tokens, local = method->numbers[LOCAL].tokens;
    band_list_begin(bands, band_list_index);
    band_list_see(bands, BAND_ORDINARY, (struct span){0, shift}, band_list_index);
    band_list_see(bands, BAND_ORDINARY, (struct span){shift, BANDS_OPEN},
                  (struct bands_frame)BANDS_FRAME(1, (double)(local - shift)));
}

static double string_logit_scale(const struct method *method)
{
    return method->numbers[LOGIT_SCALE].real;
}

const struct method_row method_string = {
    .name = "string",
    .parameters = {[SHIFT] = {.name = "shift",
                              .type = PARAMETER_TRAINED_SHARE,
                              .least.tokens = 1,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .follows = default_shift},
                   [LOCAL] = {.name = "local",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 0,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .follows = default_local},
                   [LOGIT_SCALE] = {.name = "logit_scale",
                                    .type = PARAMETER_REAL,
                                    .least.real = 0,
                                    .above = true,
                                    .most.real = 100,
                                    .absent.real = 1,
                                    .word = "published",
                                    .word_real = PUBLISHED_LOGIT_SCALE}},
    .check = string_check,
    .bands = string_bands,
    .logit_scale = string_logit_scale,
};
