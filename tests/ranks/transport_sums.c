/* Owns the cases about sums. What each rank gives follows from its number, so that every rank knows
 * what the sum must be, bit for bit. */
#include "tests/ranks/transport_sums.h"

#include <stdlib.h>
#include <string.h>

#include "worker/engine/transport/transport_reduce.h"

enum { MOST_RANKS = 16, FLOATS = 6000, SCRATCH = 480, GUARD = 4 };

#define UNTOUCHED (-12345.0f)

/* One rank's numbers, and how they are shared out. */
struct sums_case {
    size_t offsets[MOST_RANKS], sizes[MOST_RANKS];
    float values[FLOATS + GUARD];
    float sums[FLOATS + GUARD];
    float scratch[SCRATCH + GUARD];
    struct transport_request *requests[2 * MOST_RANKS];
    struct transport_sums how;
};

/* Of sizes so far apart that another order of addition has other bits. */
static float value_of(int rank, size_t i)
{
    const float sizes[] = {1.0f, 1e8f, -1e8f, 3e-5f, 7.25e3f};
    const size_t which = ((size_t)rank * 3 + i) % (sizeof sizes / sizeof sizes[0]);
    return sizes[which] * (1.0f + (float)((i * 37 + (size_t)rank * 11) % 101) / 128.0f);
}

static float sum_of(int size, size_t i)
{
    float sum = value_of(0, i);
    for (int rank = 1; rank < size; rank++)
        sum += value_of(rank, i);
    return sum;
}

/* Parts of all lengths, and of none; they leave a gap before each. */
static struct sums_case *make_case(const struct transport *t, int repeat)
{
    static const size_t counts[] = {0, 1, 777, 32, 1200, 3};
    struct sums_case *made = calloc(1, sizeof *made);
    size_t first = 0;
    for (int rank = 0; rank < t->size; rank++) {
        const size_t count = counts[(size_t)(rank * 5 + repeat) % 6];
        first += (size_t)repeat % 3;
        made->offsets[rank] = first * sizeof(float);
        made->sizes[rank] = count * sizeof(float);
        first += count;
    }
    for (size_t i = 0; i < FLOATS + GUARD; i++)
        made->values[i] = value_of(t->rank, i);
    for (size_t i = 0; i < FLOATS + GUARD; i++)
        made->sums[i] = UNTOUCHED;
    for (size_t i = 0; i < SCRATCH + GUARD; i++)
        made->scratch[i] = UNTOUCHED;
    made->how =
        (struct transport_sums){made->offsets, made->sizes, made->scratch, SCRATCH, made->requests};
    return made;
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static bool part_is_right(const struct sums_case *one, const struct transport *t, int rank,
                          const float *sum)
{
    const size_t first = one->offsets[rank] / sizeof(float);
    bool right = true;
    for (size_t i = 0; i < one->sizes[rank] / sizeof(float); i++)
        right = right && same_bits(sum[i], sum_of(t->size, first + i));
    return right;
}

static bool guards_hold(const struct sums_case *one)
{
    bool hold = true;
    for (size_t i = 0; i < GUARD; i++)
        hold = hold && one->scratch[SCRATCH + i] == UNTOUCHED;
    return hold;
}

enum status transport_sums_scatter(struct transport *t, void *context)
{
    (void)context;
    for (int repeat = 0; repeat < 6; repeat++) {
        struct sums_case *one = make_case(t, repeat);
        const size_t first = one->offsets[t->rank] / sizeof(float);
        const size_t count = one->sizes[t->rank] / sizeof(float);
        const bool in_place = repeat % 2;
        float *mine = in_place ? one->values + first : one->sums;
        const enum status status = transport_reduce_scatter(t, mine, one->values, &one->how);
        bool right = status == STATUS_OK && part_is_right(one, t, t->rank, mine);
        for (size_t i = 0; i < FLOATS; i++)
            right = right && (same_bits(one->values[i], value_of(t->rank, i)) ||
                              (in_place && i >= first && i < first + count));
        right = right && guards_hold(one) && (in_place || one->sums[count] == UNTOUCHED);
        free(one);
        TRY(status);
        expect_on_all_ranks(t, right);
    }
    return STATUS_OK;
}

enum status transport_sums_everywhere(struct transport *t, void *context)
{
    (void)context;
    for (int repeat = 0; repeat < 2; repeat++) {
        struct sums_case *one = make_case(t, repeat);
        const enum status status = transport_reduce(t, one->values, &one->how);
        bool right = status == STATUS_OK && guards_hold(one);
        for (int rank = 0; rank < t->size; rank++)
            right = right &&
                    part_is_right(one, t, rank, one->values + one->offsets[rank] / sizeof(float));
        free(one);
        TRY(status);
        expect_on_all_ranks(t, right);
    }
    return STATUS_OK;
}

/* Each rank sends every other its part, and gets as many times its own. */
enum status transport_sums_counters(struct transport *t, void *context)
{
    (void)context;
    struct sums_case *one = make_case(t, 2);
    const struct transport_counters before = t->counters;
    const enum status status = transport_reduce_scatter(t, one->sums, one->values, &one->how);
    size_t sent = 0;
    for (int rank = 0; rank < t->size; rank++)
        sent += rank == t->rank ? 0 : one->sizes[rank];
    const size_t received = one->sizes[t->rank] * ((size_t)t->size - 1);
    free(one);
    TRY(status);
    expect_on_all_ranks(
        t,
        t->counters.sent_bytes[TRANSPORT_TOGETHER] - before.sent_bytes[TRANSPORT_TOGETHER] == sent);
    expect_on_all_ranks(t, t->counters.received_bytes[TRANSPORT_TOGETHER] -
                                   before.received_bytes[TRANSPORT_TOGETHER] ==
                               received);
    return STATUS_OK;
}
