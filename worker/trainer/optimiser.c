/* Owns the moments of a rank's slice, and what the exchange of a step needs. Promises that nothing
 * is allocated in a step, and that the sum of a norm's squares has one order on given ranks: pieces
 * of a slice in their order, then slices in the order of ranks. */
#include "worker/trainer/optimiser.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels_cuda.h"
#include "worker/engine/transport/transport_reduce.h"
#include "worker/trainer/gpu_wait.h"

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
    /* On a GPU; `state`, `squares` and the host's side of them are pinned then. */
    void *moment_there, *variance_there, *squares_there, *scratch_there;
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

/* One more than is needed, since a slice may be empty. */
static size_t slice_bytes(const struct optimiser *o)
{
    return (o->state.end - o->state.first + 1) * sizeof(float);
}

static size_t squares_bytes(const struct optimiser *o)
{
    return (o->pieces + 1) * sizeof *o->squares;
}

static enum status allocate_on_host(struct optimiser *o, size_t scratch)
{
    o->state.moment = calloc(1, slice_bytes(o));
    o->state.variance = calloc(1, slice_bytes(o));
    o->squares = calloc(1, squares_bytes(o));
    o->adding.scratch = calloc(scratch + 1, sizeof(float));
    if (!o->state.moment || !o->state.variance || !o->squares || !o->adding.scratch)
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "no memory for the optimiser's part of rank %d: %zu MiB; start more ranks",
                    o->options.transport->rank,
                    optimiser_bytes(o->options.count, o->options.transport->size) >> 20);
    return STATUS_OK;
}

static enum status allocate_pinned(const struct optimiser *o, void **memory, size_t bytes)
{
    TRY(o->options.streams->runtime->host_allocate(memory, bytes));
    memset(*memory, 0, bytes);
    return STATUS_OK;
}

static enum status allocate_on_gpu(struct optimiser *o, size_t scratch)
{
    const struct cuda_runtime *runtime = o->options.streams->runtime;
    void *moment, *variance, *squares;
    TRY(allocate_pinned(o, &moment, slice_bytes(o)));
    o->state.moment = moment;
    TRY(allocate_pinned(o, &variance, slice_bytes(o)));
    o->state.variance = variance;
    TRY(allocate_pinned(o, &squares, squares_bytes(o)));
    o->squares = squares;
    TRY(runtime->allocate(&o->moment_there, slice_bytes(o)));
    TRY(runtime->allocate(&o->variance_there, slice_bytes(o)));
    TRY(runtime->allocate(&o->squares_there, squares_bytes(o)));
    TRY(runtime->allocate(&o->scratch_there, (scratch + 1) * sizeof(float)));
    o->adding.scratch = o->scratch_there;
    return optimiser_send(o);
}

static enum status allocate_memory(struct optimiser *o)
{
    const size_t size = (size_t)o->options.transport->size;
    const size_t scratch = scratch_floats(o->options.count, (int)size);
    o->sums = calloc(size, sizeof *o->sums);
    o->matrices = calloc(o->options.matrices_count + 1, sizeof *o->matrices);
    o->adding = (struct transport_sums){
        .offsets = o->offsets,
        .sizes = o->sizes,
        .scratch_count = scratch,
        .requests = calloc(2 * size, sizeof(struct transport_request *)),
    };
    if (!o->sums || !o->matrices || !o->adding.requests)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an optimiser of %zu ranks", size);
    if (o->options.matrices_count > 0)
        memcpy(o->matrices, o->options.matrices, o->options.matrices_count * sizeof *o->matrices);
    return o->options.streams ? allocate_on_gpu(o, scratch) : allocate_on_host(o, scratch);
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

static void free_arrays(struct optimiser *o)
{
    if (!o->options.streams) {
        free(o->adding.scratch);
        free(o->squares);
        free(o->state.variance);
        free(o->state.moment);
        return;
    }
    const struct cuda_runtime *runtime = o->options.streams->runtime;
    void *const there[] = {o->moment_there, o->variance_there, o->squares_there, o->scratch_there};
    void *const pinned[] = {o->squares, o->state.variance, o->state.moment};
    for (int a = 0; a < 4; a++)
        runtime->release(there[a]);
    for (int a = 0; a < 3; a++)
        runtime->host_release(pinned[a]);
}

void optimiser_destroy(struct optimiser *o)
{
    if (!o)
        return;
    free_arrays(o);
    free(o->adding.requests);
    free(o->matrices);
    free(o->sums);
    free(o->sizes);
    free(o->offsets);
    free(o);
}

struct optimiser_state optimiser_state(struct optimiser *optimiser)
{
    return optimiser->state;
}

enum status optimiser_fetch(struct optimiser *o)
{
    const struct cuda_streams *streams = o->options.streams;
    if (!streams)
        return STATUS_OK;
    TRY(streams->runtime->copy(o->state.moment, o->moment_there, slice_bytes(o), streams->compute));
    TRY(streams->runtime->copy(o->state.variance, o->variance_there, slice_bytes(o),
                               streams->compute));
    return gpu_wait(streams, o->options.transport);
}

enum status optimiser_send(struct optimiser *o)
{
    const struct cuda_streams *streams = o->options.streams;
    if (!streams)
        return STATUS_OK;
    TRY(streams->runtime->copy(o->moment_there, o->state.moment, slice_bytes(o), streams->compute));
    TRY(streams->runtime->copy(o->variance_there, o->state.variance, slice_bytes(o),
                               streams->compute));
    return gpu_wait(streams, o->options.transport);
}

/* ---- a step ---- */

struct step_job {
    struct optimiser *o;
    const float *gradient; /* of the slice */
    float *weights;        /* of all */
    struct adamw_args args;
    enum status *status; /* of launches, on a GPU */
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

static_assert((int)PIECE_FLOATS == (int)KERNELS_CUDA_SQUARES, "a piece has one sum of squares");

static enum status square_on_gpu(const struct step_job *job)
{
    const struct optimiser *o = job->o;
    const struct cuda_streams *streams = o->options.streams;
    const struct kernels_cuda_squares args = {o->squares_there, job->gradient,
                                              (int64_t)(o->state.end - o->state.first)};
    TRY(streams->runtime->launched(streams->kernels->squares(&args, streams->compute), "squares"));
    TRY(streams->runtime->copy(o->squares, o->squares_there, o->pieces * sizeof *o->squares,
                               streams->compute));
    return gpu_wait(streams, o->options.transport);
}

static enum status measure_norm(struct step_job *job, double *norm)
{
    struct optimiser *o = job->o;
    struct transport *t = o->options.transport;
    double sum = 0;
    if (o->options.streams)
        TRY(square_on_gpu(job));
    else
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
    if (!o->options.streams) {
        o->options.kernels->adamw(&args);
        return;
    }
    const struct cuda_streams *streams = o->options.streams;
    args.moment = (float *)o->moment_there + offset;
    args.variance = (float *)o->variance_there + offset;
    const enum status status =
        streams->runtime->launched(streams->kernels->adamw(&args, streams->compute), "adamw");
    *job->status = *job->status == STATUS_OK ? status : *job->status;
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
    if (t->size == 1)
        return STATUS_OK;
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
    enum status launches = STATUS_OK;
    struct step_job job = {.o = o, .gradient = slice, .weights = weights, .status = &launches};
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
    if (o->options.streams)
        for (size_t piece = 0; piece < o->pieces; piece++)
            update_piece(&job, 0, piece);
    else
        thread_pool_run(o->options.pool, o->pieces, update_piece, NULL, &job);
    TRY(launches);
    transport_mark(o->options.transport);
    TRY(gather_weights(o, weights));
    *norm = measured;
    return STATUS_OK;
}
