/* Owns the cutting of a model along the tensor axis. Promises that the slices of all places cover
 * every query head and feed-forward column once. */
#include "proto/plan/tensor_slice.h"

#include <math.h>
#include <stddef.h>

#include "proto/plan/choice.h"

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ---- heads ---- */

static struct span dealt(int64_t count, int places, int place)
{
    return (struct span){count * place / places, count * (place + 1) / places};
}

static void deal_heads(struct tensor_slice *slice, const struct model_shape *shape)
{
    const int64_t group = shape->heads / shape->kv_heads;
    const int places = slice->places;
    if (places <= shape->kv_heads) {
        slice->kv_heads = dealt(shape->kv_heads, places, slice->place);
        slice->heads = (struct span){slice->kv_heads.first * group, slice->kv_heads.end * group};
        return;
    }
    const int64_t kv = slice->place * shape->kv_heads / places;
    const int64_t first = ceil_div(kv * places, shape->kv_heads); /* of the places that have it */
    const int64_t end = ceil_div((kv + 1) * places, shape->kv_heads);
    const struct span own = dealt(group, (int)(end - first), (int)(slice->place - first));
    slice->kv_heads = (struct span){kv, kv + 1};
    slice->heads = (struct span){kv * group + own.first, kv * group + own.end};
}

/* ---- the feed-forward part ---- */

/* Columns of one width that the whole part is made of, and never less than one for each place. */
static int64_t unit_of(const struct model_shape *shape, int places)
{
    const int64_t block = shape->ffn_block > 1 ? shape->ffn_block : 1;
    const int64_t units[] = {block > 32 ? block : 32, block > 16 ? block : 16, 32, 16, 1};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++)
        if (shape->ffn % units[u] == 0 && shape->ffn / units[u] >= places)
            return units[u];
    return 1;
}

/* Columns of the feed-forward part that are as much work for a row as a slice's heads. */
static double columns_of_heads(const struct model_shape *shape, const struct tensor_slice *slice)
{
    const int64_t heads = slice->heads.end - slice->heads.first;
    const int64_t kv_heads = slice->kv_heads.end - slice->kv_heads.first;
    return (double)(2 * (heads + kv_heads) * shape->head_dim) / 3;
}

/* Columns that a place would have if they could be cut anywhere. */
static double share_of(const struct model_shape *shape, int places, int place)
{
    double all = 0, own = 0;
    for (int p = 0; p < places; p++) {
        struct tensor_slice slice = {.place = p, .places = places};
        deal_heads(&slice, shape);
        const double columns = columns_of_heads(shape, &slice);
        all += columns;
        own = p == place ? columns : own;
    }
    const double share = (all + (double)shape->ffn) / places - own;
    return share > 0 ? share : 0;
}

static void deal_ffn(struct tensor_slice *slice, const struct model_shape *shape)
{
    const int64_t unit = unit_of(shape, slice->places);
    const int64_t units = shape->ffn / unit;
    double all = 0, before = 0;
    int64_t first = 0;
    for (int p = 0; p < slice->places; p++)
        all += share_of(shape, slice->places, p);
    for (int p = 0; p <= slice->place; p++) {
        before += share_of(shape, slice->places, p);
        int64_t end =
            p + 1 == slice->places ? units : (int64_t)floor(before / all * (double)units + 0.5);
        if (end < first + 1)
            end = first + 1;
        if (end > units - (slice->places - 1 - p))
            end = units - (slice->places - 1 - p);
        slice->ffn = (struct span){first * unit, end * unit};
        first = end;
    }
}

enum status tensor_slice_make(struct tensor_slice *slice, const struct model_shape *shape,
                              int places, int place)
{
    struct tensor_slice made = {.place = place, .places = places};
    if (places < 1 || place < 0 || place >= places)
        return fail(STATUS_INVALID_ARGUMENT,
                    "mesh: place %d of a tensor axis of %d is none of its places", place, places);
    if (places > CHOICE_TENSOR_MAX)
        return fail(STATUS_INVALID_ARGUMENT,
                    "mesh: a tensor axis has up to %d places, not %d: use a shorter one",
                    CHOICE_TENSOR_MAX, places);
    if (places > shape->heads || places > shape->ffn)
        return fail(STATUS_INVALID_ARGUMENT,
                    "mesh: a tensor axis of %d places is longer than the model's %lld query heads "
                    "or %lld feed-forward columns: use a shorter one",
                    places, (long long)shape->heads, (long long)shape->ffn);
    deal_heads(&made, shape);
    deal_ffn(&made, shape);
    *slice = made;
    return STATUS_OK;
}

struct model_shape tensor_slice_shape(const struct model_shape *shape,
                                      const struct tensor_slice *slice)
{
    struct model_shape part = *shape;
    part.heads = slice->heads.end - slice->heads.first;
    part.kv_heads = slice->kv_heads.end - slice->kv_heads.first;
    part.kv_first = slice->kv_heads.first;
    part.kv_all = shape->kv_heads;
    part.ffn = slice->ffn.end - slice->ffn.first;
    return part;
}
