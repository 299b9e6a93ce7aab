/* Owns the lists of a gather. Promises that what is gathered is whole when a call returns. */
#include "worker/engine/step_gather.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/plan/cost.h"
#include "worker/engine/layer_program.h"

enum status step_gather_init(struct step_gather *gather, struct transport *transport,
                             struct device *device)
{
    const size_t ranks = (size_t)transport->size;
    *gather = (struct step_gather){.transport = transport, .device = device};
    gather->offsets = calloc(ranks, sizeof *gather->offsets);
    gather->sizes = calloc(ranks, sizeof *gather->sizes);
    if (gather->offsets && gather->sizes)
        return STATUS_OK;
    step_gather_deinit(gather);
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the gathers of %zu ranks", ranks);
}

void step_gather_deinit(struct step_gather *gather)
{
    free(gather->offsets);
    free(gather->sizes);
    *gather = (struct step_gather){0};
}

static struct span outputs_of(const struct step_gather *gather, int rank, int64_t width)
{
    return device_outputs(width, gather->transport->size, rank);
}

enum status step_gather_states(struct step_gather *gather, int64_t rows)
{
    struct transport *transport = gather->transport;
    struct device *device = gather->device;
    const size_t bytes =
        (size_t)(rows * device->program->buffers[LAYER_STATE].width) * sizeof(float);
    if (transport->size == 1)
        return STATUS_OK;
    char *states = (char *)device->memory.step[LAYER_STATE];
    const int64_t begin_ns = trace_now(device->trace);
    TRY(transport_gather_each(transport, states + (size_t)transport->rank * bytes, states, bytes));
    trace_span(device->trace, TRACE_GATHER, -1, begin_ns, 0);
    return STATUS_OK;
}

/* ---- columns ---- */

/* Several rows go in one message: all of a rank's columns, row by row. They are laid out where the
 * states of a layer are, which nobody reads but between its attention and what mixes them. */
static int64_t rows_together(const struct step_gather *gather, int64_t width)
{
    const struct device *device = gather->device;
    const int64_t room = device->group.step_rows * gather->transport->size *
                         device->program->buffers[LAYER_STATE].width;
    return room / width > 1 ? room / width : 1;
}

/* Copies a rank's columns of rows out of [rows, width], or into it. */
static void copy_columns(float *vector, float *columns, int64_t rows, int64_t width,
                         struct span part, bool out)
{
    const int64_t count = part.end - part.first;
    for (int64_t row = 0; row < rows; row++) {
        float *inside = vector + row * width + part.first;
        memcpy(out ? columns : inside, out ? inside : columns, (size_t)count * sizeof *columns);
        columns += count;
    }
}

static enum status gather_rows(struct step_gather *gather, float *vector, int64_t rows,
                               int64_t width)
{
    struct transport *transport = gather->transport;
    const struct span mine = outputs_of(gather, transport->rank, width);
    float *all = rows == 1 ? vector : gather->device->memory.step[LAYER_STATE];
    for (int rank = 0; rank < transport->size; rank++) {
        const struct span part = outputs_of(gather, rank, width);
        gather->offsets[rank] = (size_t)(part.first * rows) * sizeof *all;
        gather->sizes[rank] = (size_t)((part.end - part.first) * rows) * sizeof *all;
    }
    float *own = all + mine.first * rows;
    if (rows > 1)
        copy_columns(vector, own, rows, width, mine, true);
    TRY(transport_gather(transport, own, all, gather->offsets, gather->sizes));
    for (int rank = 0; rows > 1 && rank < transport->size; rank++) {
        const struct span part = outputs_of(gather, rank, width);
        copy_columns(vector, all + part.first * rows, rows, width, part, false);
    }
    return STATUS_OK;
}

enum status step_gather_columns(struct step_gather *gather, enum layer_buffer buffer, int64_t rows)
{
    struct device *device = gather->device;
    const int64_t width = device->program->buffers[buffer].width;
    float *vector = device->memory.step[buffer];
    if (gather->transport->size == 1)
        return STATUS_OK;
    assert(rows == 1 || device->on_host);
    const int64_t begin_ns = trace_now(device->trace);
    const int64_t together = rows == 1 ? 1 : rows_together(gather, width);
    for (int64_t row = 0; row < rows; row += together) {
        const int64_t left = rows - row;
        TRY(gather_rows(gather, vector + row * width, left < together ? left : together, width));
    }
    trace_span(device->trace, TRACE_GATHER, -1, begin_ns, 0);
    return STATUS_OK;
}

/* ---- logits ---- */

/* The outputs `part` of a row of logits, from a peer to rank 0: in pieces that need no answer. */
static enum status pass_logits(struct transport *transport, int peer, float *logits,
                               struct span part)
{
    for (int64_t first = part.first; first < part.end; first += COST_LOGITS_PIECE) {
        const int64_t left = part.end - first;
        const size_t bytes =
            (size_t)(left < COST_LOGITS_PIECE ? left : COST_LOGITS_PIECE) * sizeof *logits;
        struct transport_request *request;
        if (transport->rank == peer)
            TRY(transport_send(transport, 0, TRANSPORT_STATE, logits + first, bytes, &request));
        else
            TRY(transport_receive(transport, peer, TRANSPORT_STATE, logits + first, bytes,
                                  &request));
        TRY(transport_wait(transport, request));
    }
    return STATUS_OK;
}

struct span step_gather_share(const struct step_gather_logits *logits, int rank)
{
    return device_outputs(logits->device->shape.vocab, logits->places, rank);
}

enum status step_gather_logits(const struct step_gather_logits *logits, int64_t row)
{
    struct transport *transport = logits->transport;
    float *of_row = logits->device->memory.logits + row * logits->device->shape.vocab;
    if (transport->rank != 0)
        return pass_logits(transport, transport->rank, of_row,
                           step_gather_share(logits, transport->rank));
    for (int peer = 1; peer < logits->places; peer++)
        TRY(pass_logits(transport, peer, of_row, step_gather_share(logits, peer)));
    return STATUS_OK;
}
