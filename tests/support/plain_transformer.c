#include "tests/support/plain_transformer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plain {
    const struct model_spec *spec;
    const struct plan_method *seen;
    struct method method;
    const struct parameters *parameters;
    const double *weights;
    const struct sample *sample;
    double *hidden, *q, *k, *v, *mixed; /* [tokens, width] */
    int layer;
};

static const double *weight(const struct plain *plain, enum model_role role, int layer)
{
    const struct parameters_row *row = parameters_find(plain->parameters, role, layer);
    return row ? plain->weights + row->offset : NULL;
}

static void norm(const struct plain *plain, double *y, const double *x, const double *by, int width)
{
    double squares = 0;
    for (int i = 0; i < width; i++)
        squares += x[i] * x[i];
    const double scale = 1 / sqrt(squares / width + (double)plain->spec->norm_eps);
    for (int i = 0; i < width; i++)
        y[i] = x[i] * scale * by[i];
}

/* y [out] = w x + bias */
static void multiply(const struct plain *plain, double *y, const double *x, enum model_role role,
                     enum model_role bias, int layer)
{
    const struct parameters_row *row = parameters_find(plain->parameters, role, layer);
    const double *w = plain->weights + row->offset, *b = weight(plain, bias, layer);
    for (int64_t o = 0; o < row->rows; o++) {
        y[o] = b ? b[o] : 0;
        for (int64_t i = 0; i < row->columns; i++)
            y[o] += w[o * row->columns + i] * x[i];
    }
}

static void make_qkv(const struct plain *plain, int layer)
{
    const struct model_spec *spec = plain->spec;
    const int q_width = spec->heads * spec->head_dim, k_width = spec->kv_heads * spec->head_dim;
    double normed[512];
    for (int64_t t = 0; t < plain->sample->count; t++) {
        double *q = plain->q + t * q_width, *k = plain->k + t * k_width;
        norm(plain, normed, plain->hidden + t * spec->hidden, weight(plain, MODEL_ATTN_NORM, layer),
             spec->hidden);
        multiply(plain, q, normed, MODEL_ATTN_Q, MODEL_ATTN_Q_BIAS, layer);
        multiply(plain, k, normed, MODEL_ATTN_K, MODEL_ATTN_K_BIAS, layer);
        multiply(plain, plain->v + t * k_width, normed, MODEL_ATTN_V, MODEL_ATTN_V_BIAS, layer);
        for (int h = 0; spec->qk_norm && h < spec->heads; h++)
            norm(plain, q + h * spec->head_dim, q + h * spec->head_dim,
                 weight(plain, MODEL_ATTN_Q_NORM, layer), spec->head_dim);
        for (int h = 0; spec->qk_norm && h < spec->kv_heads; h++)
            norm(plain, k + h * spec->head_dim, k + h * spec->head_dim,
                 weight(plain, MODEL_ATTN_K_NORM, layer), spec->head_dim);
    }
}

/* q turned by a distance, times k. `turns` [half][cos, sin] */
static double score(const double *q, const double *k, const double (*turns)[2], int half)
{
    double sum = 0;
    for (int p = 0; p < half; p++) {
        const double a = q[p] * turns[p][0] - q[p + half] * turns[p][1];
        const double b = q[p + half] * turns[p][0] + q[p] * turns[p][1];
        sum += a * k[p] + b * k[p + half];
    }
    return sum;
}

/* By the model's own window on the layer; and of the method's local heads, which see sinks and a
 * window: the spelling's numbers. */
static bool is_hidden(const struct plain *plain, int head, int64_t i, int64_t j)
{
    const struct model_window *window = &plain->spec->window;
    const int64_t local = method_local_heads(&plain->method);
    const int kv_head = head / (plain->spec->heads / plain->spec->kv_heads);
    if (model_window_covers(window, plain->layer) && i - j >= window->tokens)
        return true;
    return kv_head >= plain->spec->kv_heads - local && j >= plain->seen->c &&
           i - j >= plain->seen->b;
}

/* Scores of query i of every head: [heads][i + 1]; -inf where a key is not seen. */
static void make_scores(const struct plain *plain, double *scores, int64_t i)
{
    const struct model_spec *spec = plain->spec;
    const int64_t logn = method_logn(&plain->method);
    const int half = spec->head_dim / 2, group = spec->heads / spec->kv_heads;
    const int64_t position = plain->sample->positions[i];
    double scale = method_logit_scale(&plain->method) / sqrt(spec->head_dim);
    if (logn && log((double)(position + 1)) > log((double)logn))
        scale *= log((double)(position + 1)) / log((double)logn);
    for (int64_t j = 0; j <= i; j++) {
        double distance, turns[MODEL_HEAD_DIM_MAX / 2][2];
        bool far;
        const bool seen =
            plain->seen->sees(plain->seen, position, plain->sample->positions[j], &distance, &far);
        for (int p = 0; seen && p < half; p++) {
            turns[p][0] = cos(distance * spec->inv_freq[p]);
            turns[p][1] = sin(distance * spec->inv_freq[p]);
        }
        for (int h = 0; h < spec->heads; h++)
            scores[h * (i + 1) + j] =
                seen && !is_hidden(plain, h, position, plain->sample->positions[j])
                    ? scale * score(plain->q + (i * spec->heads + h) * spec->head_dim,
                                    plain->k + (j * spec->kv_heads + h / group) * spec->head_dim,
                                    (const double(*)[2])turns, half)
                    : -INFINITY;
    }
}

static void attend(const struct plain *plain)
{
    const struct model_spec *spec = plain->spec;
    const int group = spec->heads / spec->kv_heads, head_dim = spec->head_dim;
    double *scores = malloc((size_t)(spec->heads * plain->sample->count) * sizeof *scores);
    assert(scores);
    for (int64_t i = 0; i < plain->sample->count; i++) {
        make_scores(plain, scores, i);
        for (int h = 0; h < spec->heads; h++) {
            double *out = plain->mixed + (i * spec->heads + h) * head_dim, most = -INFINITY,
                   sum = 0;
            const double *s = scores + h * (i + 1);
            memset(out, 0, (size_t)head_dim * sizeof *out);
            for (int64_t j = 0; j <= i; j++)
                most = fmax(most, s[j]);
            for (int64_t j = 0; j <= i; j++) {
                const double p = exp(s[j] - most);
                const double *v = plain->v + (j * spec->kv_heads + h / group) * head_dim;
                sum += p;
                for (int d = 0; p > 0 && d < head_dim; d++)
                    out[d] += p * v[d];
            }
            for (int d = 0; d < head_dim; d++)
                out[d] /= sum;
        }
    }
    free(scores);
}

static void finish_layer(const struct plain *plain, int layer)
{
    const struct model_spec *spec = plain->spec;
    double delta[512], normed[512], gate[1024], up[1024];
    for (int64_t t = 0; t < plain->sample->count; t++) {
        double *x = plain->hidden + t * spec->hidden;
        multiply(plain, delta, plain->mixed + t * spec->heads * spec->head_dim, MODEL_ATTN_OUTPUT,
                 MODEL_ATTN_OUTPUT_BIAS, layer);
        for (int i = 0; i < spec->hidden; i++)
            x[i] += delta[i];
        norm(plain, normed, x, weight(plain, MODEL_FFN_NORM, layer), spec->hidden);
        multiply(plain, gate, normed, MODEL_FFN_GATE, MODEL_FFN_GATE_BIAS, layer);
        multiply(plain, up, normed, MODEL_FFN_UP, MODEL_FFN_UP_BIAS, layer);
        for (int i = 0; i < spec->ffn; i++)
            gate[i] *= up[i] / (1 + exp(-gate[i]));
        multiply(plain, delta, gate, MODEL_FFN_DOWN, MODEL_FFN_DOWN_BIAS, layer);
        for (int i = 0; i < spec->hidden; i++)
            x[i] += delta[i];
    }
}

static double loss_of_token(const struct plain *plain, int64_t t, double *logits)
{
    double normed[512], most = -INFINITY, sum = 0;
    const int vocab = plain->spec->vocab;
    norm(plain, normed, plain->hidden + (t - 1) * plain->spec->hidden,
         weight(plain, MODEL_OUTPUT_NORM, 0), plain->spec->hidden);
    multiply(plain, logits, normed, MODEL_OUTPUT, MODEL_ROLE_COUNT, 0);
    for (int i = 0; i < vocab; i++)
        most = fmax(most, logits[i]);
    for (int i = 0; i < vocab; i++)
        sum += exp(logits[i] - most);
    return most + log(sum) - logits[plain->sample->ids[t]];
}

double plain_transformer_loss(const struct model_spec *spec, const struct plan_method *method,
                              const struct parameters *parameters, const double *weights,
                              const struct sample *sample)
{
    const size_t tokens = (size_t)sample->count;
    const size_t q = (size_t)(spec->heads * spec->head_dim),
                 k = (size_t)(spec->kv_heads * spec->head_dim);
    struct plain plain = {.spec = spec,
                          .seen = method,
                          .method = plan_methods_parse(method->spelling),
                          .parameters = parameters,
                          .weights = weights,
                          .sample = sample};
    double *memory = calloc(tokens * ((size_t)spec->hidden + 2 * q + 2 * k) + (size_t)spec->vocab,
                            sizeof *memory);
    double loss = 0;
    assert(memory && spec->hidden <= 512 && spec->ffn <= 1024);
    plain.hidden = memory;
    plain.q = plain.hidden + tokens * (size_t)spec->hidden;
    plain.k = plain.q + tokens * q;
    plain.v = plain.k + tokens * k;
    plain.mixed = plain.v + tokens * k;
    const double *embedding = weight(&plain, MODEL_TOKEN_EMBD, 0);
    for (int64_t t = 0; t < sample->count; t++)
        memcpy(plain.hidden + t * spec->hidden, embedding + sample->ids[t] * spec->hidden,
               (size_t)spec->hidden * sizeof *embedding);
    for (int layer = 0; layer < spec->layers; layer++) {
        plain.layer = layer;
        make_qkv(&plain, layer);
        attend(&plain);
        finish_layer(&plain, layer);
    }
    for (int64_t t = 1; t < sample->count; t++)
        if (sample->counts[t])
            loss += loss_of_token(&plain, t, plain.mixed + tokens * q);
    free(memory);
    return loss;
}
