/* Owns the bytes of sums over a tensor axis. */
#include "proto/plan/tensor_sums.h"

#include "proto/plan/partition.h"

enum { F32_BYTES = 4 };

struct span tensor_sums_share(int64_t count, int places, int place)
{
    return partition_rows(count, TENSOR_SUMS_ALIGN, places, place);
}

int64_t tensor_sums_scratch(int places)
{
    return (int64_t)(places - 1) * TENSOR_SUMS_PIECE;
}

static void add_piece(struct cost *cost, int64_t count, int places, int place, bool of_stage,
                      int64_t times)
{
    const int64_t others = places - 1;
    int64_t floats = count * others; /* sent, and received as well */
    int64_t messages = others;
    if (!tensor_sums_whole(places, of_stage)) {
        const struct span share = tensor_sums_share(count, places, place);
        const int64_t own = share.end - share.first;
        floats = count - own + own * others;
        messages = own > 0 ? others : 0;
        for (int other = 0; other < places; other++) {
            const struct span theirs = tensor_sums_share(count, places, other);
            messages += other != place && theirs.end > theirs.first;
        }
    }
    cost->sent_bytes += times * floats * F32_BYTES;
    cost->received_bytes += times * floats * F32_BYTES;
    cost->sent_messages += times * messages;
}

void tensor_sums_cost(struct cost *cost, const struct group_choice *group,
                      const struct model_shape *shape, int64_t rows, bool of_stage, int rank)
{
    const int places = group_choice_tensor(group);
    const int64_t count = rows * shape->hidden;
    const int64_t sums = TENSOR_SUMS_OF_LAYER * shape->layers;
    if (places == 1)
        return;
    add_piece(cost, TENSOR_SUMS_PIECE, places, rank % places, of_stage,
              sums * (count / TENSOR_SUMS_PIECE));
    if (count % TENSOR_SUMS_PIECE > 0)
        add_piece(cost, count % TENSOR_SUMS_PIECE, places, rank % places, of_stage, sums);
}

double tensor_sums_seconds(const struct group_choice *group, const struct model_shape *shape,
                           const struct cost_link *link, int64_t rows, bool of_stage, int rank)
{
    const int places = group_choice_tensor(group);
    const int64_t count = rows * shape->hidden;
    const int64_t pieces = (count + TENSOR_SUMS_PIECE - 1) / TENSOR_SUMS_PIECE;
    const int64_t exchanges = tensor_sums_whole(places, of_stage) ? 1 : 2;
    struct cost cost = {0};
    if (places == 1)
        return 0;
    tensor_sums_cost(&cost, group, shape, rows, of_stage, rank);
    return (double)cost.sent_bytes / link->bytes_per_second +
           (double)(TENSOR_SUMS_OF_LAYER * shape->layers * pieces * exchanges) *
               (link->latency_s + (places - 1) * link->message_s);
}

int tensor_sums_logit_places(const struct choice *choice)
{
    const int places = group_choice_tensor(&choice->group);
    const bool all =
        (choice->request.decode_split & DECODE_SPLIT_LOGITS) && !choice_is_home(choice);
    return all ? places * choice->group.workers : places;
}
