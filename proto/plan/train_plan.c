/* Owns the count of a training step. */
#include "proto/plan/train_plan.h"

enum { FORWARD = 2, BACKWARD = 4, PAIR_FORWARD = 4, PAIR_BACKWARD = 10 };

/* Weights that a token is multiplied by in the layers, and in the product to logits. */
static double layer_weights(const struct model_shape *shape)
{
    const double hidden = (double)shape->hidden;
    const double queries = (double)(shape->heads * shape->head_dim);
    const double keys = (double)(shape->kv_heads * shape->head_dim);
    const double attention = hidden * (2 * queries + 2 * keys);
    return (double)shape->layers * (attention + 3 * hidden * (double)shape->ffn);
}

static double output_weights(const struct model_shape *shape)
{
    return (double)shape->hidden * (double)shape->vocab;
}

/* The samples that the slowest place of the data axis has. */
static double samples_most(const struct train_plan_request *request)
{
    return (double)((request->batch + request->mesh.data - 1) / request->mesh.data);
}

void train_plan_make(struct train_plan *plan, const struct train_plan_request *request)
{
    const struct model_shape *shape = request->shape;
    const double tokens = (double)request->sample_tokens;
    const double again = request->recompute ? 1 : 0;
    const double pairs = tokens * (tokens + 1) / 2 * (double)(shape->layers * shape->heads);
    const double products = tokens * ((FORWARD * (1 + again) + BACKWARD) * layer_weights(shape) +
                                      (FORWARD + BACKWARD) * output_weights(shape));
    const double attention =
        pairs * (double)shape->head_dim * (PAIR_FORWARD * (1 + again) + PAIR_BACKWARD);
    const int size = mesh_size(&request->mesh);
    const int64_t flat = request->parameters * (int64_t)sizeof(float);
    const double rank_flops =
        (products + attention) * samples_most(request) / (double)request->mesh.sequence;
    *plan = (struct train_plan){
        .weights_bytes = flat,
        .gradients_bytes = flat,
        .rank_bytes = 2 * flat + request->optimiser_bytes + request->pass_bytes,
        .exchange_bytes = size > 1 ? flat / size * (size - 1) * 2 : 0,
        .products_flops = products * (double)request->batch,
        .attention_flops = attention * (double)request->batch,
        .step_seconds = request->product_rate > 0 ? rank_flops / request->product_rate : 0,
    };
}
