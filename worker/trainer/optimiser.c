/* Owns the moments of a rank's slice, and what the exchange of a step needs. Promises that nothing
 * is allocated in a step, and that the sum of a norm's squares has one order on given ranks: pieces
 * of a slice in their order, then slices in the order of ranks. */
#include "worker/trainer/optimiser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/transport/transport_reduce.h"

enum {
    LINE_FLOATS = 16,
    PIECE_FLOATS = 1 << 16,  /* of a thread's item, and of what is added at a time */
    GATHER_FLOATS = 1 << 22, /* of a rank, at a time */
};

struct optimiser {
    struct optimiser_options options;
    struct optimiser_matrix *matrices;
    struct optimiser_state state;
    size_t pieces;           /* of the slice */
    double *squares;         /* [pieces] */
    double *sums;            /* [size]: squares of each rank's slice */
    size_t *offsets, *sizes; /* [size] bytes */
    struct transport_sums adding;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t optimiser_first(size_t count, int rank, int size)
{
    const size_t lines = (count + LINE_FLOATS - 1) / LINE_FLOATS;
    return least(count, lines * (size_t)rank / (size_t)size * LINE_FLOATS);
}

static size_t slice_most(size_t count, int size)
{
    size_t most = 0;
    for (int rank = 0; rank < size; rank++) {
        const size_t length =
            optimiser_first(count, rank + 1, size) - optimiser_first(count, rank, size);
        most = length > most ? length : most;
    }
    return most;
}

static size_t scratch_floats(size_t count, int size)
{
    const size_t piece = least(PIECE_FLOATS, slice_most(count, size));
    return (size_t)(size - 1) * (piece > 0 ? piece : 1);
}

size_t optimiser_bytes(size_t count, int size)
{
    return sizeof(float) * (2 * slice_most(count, size) + scratch_floats(count, size));
}

static void share_out(struct optimiser *o)
{
    const int size = o->options.transport->size;
    const int rank = o->options.transport->rank;
    for (int r = 0; r < size; r++) {
        const size_t first = optimiser_first(o->options.count, r, size);
        o->offsets[r] = first * sizeof(float);
        o->sizes[r] = (optimiser_first(o->options.count, r + 1, size) - first) * sizeof(float);
    }
    o->state.first = optimiser_first(o->options.count, rank, size);
    o->state.end = optimiser_first(o->options.count, rank + 1, size);
    o->pieces = (o->state.end - o->state.first + PIECE_FLOATS - 1) / PIECE_FLOATS;
}

static enum status allocate_memory(struct optimiser *o)
{
    const size_t size = (size_t)o->options.transport->size;
    const size_t length = o->state.end - o->state.first;
    const size_t scratch = scratch_floats(o->options.count, (int)size);
    /* One more than is needed, since a slice may be empty. */
    o->state.moment = calloc(length + 1, sizeof(float));
    o->state.variance = calloc(length + 1, sizeof(float));
    o->squares = calloc(o->pieces + 1, sizeof *o->squares);
    o->sums = calloc(size, sizeof *o->sums);
    o->matrices = calloc(o->options.matrices_count + 1, sizeof *o->matrices);
    o->adding = (struct transport_sums){
        .offsets = o->offsets,
        .sizes = o->sizes,
        .scratch = calloc(scratch + 1, sizeof(float)),
        .scratch_count = scratch,
        .requests = calloc(2 * size, sizeof(struct transport_request *)),
    };
    if (!o->state.moment || !o->state.variance || !o->squares || !o->sums || !o->matrices ||
        !o->adding.scratch || !o->adding.requests)
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "no memory for the optimiser's part of rank %d: %zu MiB; start more ranks",
                    o->options.transport->rank, optimiser_bytes(o->options.count, (int)size) >> 20);
    if (o->options.matrices_count > 0)
        memcpy(o->matrices, o->options.matrices, o->options.matrices_count * sizeof *o->matrices);
    return STATUS_OK;
}

enum status optimiser_create(struct optimiser **optimiser, const struct optimiser_options *options)
{
    const size_t size = (size_t)options->transport->size;
    struct optimiser *o = calloc(1, sizeof *o);
    if (o) {
        o->options = *options;
        o->offsets = calloc(size, sizeof *o->offsets);
        o->sizes = calloc(size, sizeof *o->sizes);
    }
    if (!o || !o->offsets || !o->sizes) {
        optimiser_destroy(o);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an optimiser of %zu ranks", size);
    }
    share_out(o);
    const enum status status = allocate_memory(o);
    if (status != STATUS_OK)
        optimiser_destroy(o);
    else
        *optimiser = o;
    return status;
}

void optimiser_destroy(struct optimiser *o)
{
    if (!o)
        return;
    free(o->adding.requests);
    free(o->adding.scratch);
    free(o->matrices);
    free(o->sums);
    free(o->squares);
    free(o->state.variance);
    free(o->state.moment);
    free(o->sizes);
    free(o->offsets);
    free(o);
}

struct optimiser_state optimiser_state(struct optimiser *optimiser)
{
    return optimiser->state;
}

/* ---- a step ---- */

struct step_job {
    struct optimiser *o;
    const float *gradient; /* of the slice */
    float *weights;        /* of all */
    struct adamw_args args;
};

static size_t piece_length(const struct optimiser *o, size_t piece)
{
    return least(PIECE_FLOATS, o->state.end - o->state.first - piece * PIECE_FLOATS);
}

static void square_piece(void *context, int thread, size_t piece)
{
    const struct step_job *job = context;
    (void)thread;
    job->o->squares[piece] = job->o->options.kernels->sum_of_squares(
        job->gradient + piece * PIECE_FLOATS, (int64_t)piece_length(job->o, piece));
}

static enum status measure_norm(struct step_job *job, double *norm)
{
    struct optimiser *o = job->o;
    struct transport *t = o->options.transport;
    double sum = 0;
    thread_pool_run(o->options.pool, o->pieces, square_piece, NULL, job);
    for (size_t piece = 0; piece < o->pieces; piece++)
        sum += o->squares[piece];
    TRY(transport_gather_each(t, &sum, o->sums, sizeof sum));
    sum = 0;
    for (int rank = 0; rank < t->size; rank++)
        sum += o->sums[rank];
    *norm = sqrt(sum);
    return STATUS_OK;
}

/* Parameters [first, end), all of which decay or none. */
static void update_span(const struct step_job *job, size_t first, size_t end, bool decays)
{
    const struct optimiser *o = job->o;
    const size_t offset = first - o->state.first;
    struct adamw_args args = job->args;
    args.weights = job->weights + first;
    args.moment = o->state.moment + offset;
    args.variance = o->state.variance + offset;
    args.gradient = job->gradient + offset;
    args.count = (int64_t)(end - first);
    args.weight_decay = decays ? o->options.settings.weight_decay : 0;
    o->options.kernels->adamw(&args);
}

static void update_piece(void *context, int thread, size_t piece)
{
    const struct step_job *job = context;
    const struct optimiser *o = job->o;
    size_t at = o->state.first + piece * PIECE_FLOATS;
    const size_t end = at + piece_length(o, piece);
    (void)thread;
    for (size_t m = 0; m < o->options.matrices_count && at < end; m++) {
        const struct optimiser_matrix *matrix = &o->matrices[m];
        if (matrix->end <= at)
            continue;
        const size_t first = least(end, matrix->first);
        if (at < first)
            update_span(job, at, first, false);
        at = at < first ? first : at;
        if (at < least(end, matrix->end))
            update_span(job, at, least(end, matrix->end), true);
        at = least(end, matrix->end);
    }
    if (at < end)
        update_span(job, at, end, false);
}

static enum status gather_weights(struct optimiser *o, float *weights)
{
    struct transport *t = o->options.transport;
    const size_t longest = slice_most(o->options.count, t->size);
    enum status status = STATUS_OK;
    for (size_t done = 0; done < longest && status == STATUS_OK; done += GATHER_FLOATS) {
        for (int rank = 0; rank < t->size; rank++) {
            const size_t first = optimiser_first(o->options.count, rank, t->size);
            const size_t end = optimiser_first(o->options.count, rank + 1, t->size);
            const size_t at = least(end, first + done);
            o->offsets[rank] = at * sizeof(float);
            o->sizes[rank] = least(end - at, GATHER_FLOATS) * sizeof(float);
        }
        const char *mine = (const char *)weights + o->offsets[t->rank];
        status = transport_gather(t, mine, weights, o->offsets, o->sizes);
    }
    share_out(o);
    return status;
}

enum status optimiser_step(struct optimiser *o, float *weights, float *gradients, int64_t step,
                           double learning_rate, double *norm)
{
    const struct optimiser_settings *settings = &o->options.settings;
    float *slice = gradients + o->state.first;
    struct step_job job = {.o = o, .gradient = slice, .weights = weights};
    double measured = 0;
    TRY(transport_reduce_scatter(o->options.transport, slice, gradients, &o->adding));
    TRY(measure_norm(&job, &measured));
    if (!isfinite(measured))
        return fail(STATUS_OUT_OF_RANGE,
                    "the gradient of step %lld is not finite: the run has diverged; go on from an "
                    "earlier checkpoint with a lower training.learning_rate",
                    (long long)step);
    const bool clips = settings->clip > 0 && measured > settings->clip;
    job.args = (struct adamw_args){
        .step = step,
        .gradient_scale = clips ? (float)(settings->clip / measured) : 1,
        .learning_rate = (float)learning_rate,
        .beta1 = settings->beta1,
        .beta2 = settings->beta2,
        .epsilon = settings->epsilon,
    };
    thread_pool_run(o->options.pool, o->pieces, update_piece, NULL, &job);
    transport_mark(o->options.transport);
    TRY(gather_weights(o, weights));
    *norm = measured;
    return STATUS_OK;
}
