/* Owns which of this rank's blocks have been moved. Promises that each is moved once, to or from
 * where its panel lies at that moment. */
#include "worker/engine/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/resident.h"

/* Whose keys, and where they lie; panels may move. */
struct side {
    struct device *device;
    const struct ownership *ownership;
    const struct panel_table *panels;
    const struct engine_port *port;
    bool out; /* of the pool; else into it */
    int rank;
    struct span live;    /* tokens whose panels move */
    int64_t sinks;       /* tokens that are kept as such */
    int64_t sink_panels; /* that this rank moves */
};

struct transfer {
    struct side side;
    int64_t *panels; /* [panel_count] this rank's, ascending */
    int64_t panel_count;
    int64_t blocks, moved; /* of panels, then of sinks, each with all layers */
    bool *is_there;        /* [blocks] */
    char *rows;            /* a block in the host's memory */
};

/* The panels that hold this rank's live tokens; returns how many. */
static int64_t list_panels(const struct side *side, int64_t *panels)
{
    int64_t count = 0;
    struct owned_span owned;
    int64_t index = side->live.first / BANDS_LANES * BANDS_LANES;
    while (ownership_next(side->ownership, &index, side->live.end, &owned))
        for (int64_t first = owned.span.first; owned.owner == side->rank && first < owned.span.end;
             first = (first / BANDS_LANES + 1) * BANDS_LANES)
            panels[count++] = first / BANDS_LANES;
    return count;
}

static enum status make(struct transfer **made, const struct side *side)
{
    const size_t most = (size_t)(side->live.end / BANDS_LANES + 1);
    const struct panel_table *table = side->panels;
    const int64_t slots = panel_table_panel_slots(table) > panel_table_sink_slots(table)
                              ? panel_table_panel_slots(table)
                              : panel_table_sink_slots(table);
    struct transfer *transfer = *made = calloc(1, sizeof *transfer);
    if (transfer)
        *transfer =
            (struct transfer){.side = *side, .panels = calloc(most, sizeof *transfer->panels)};
    if (transfer && transfer->panels) {
        transfer->panel_count = list_panels(side, transfer->panels);
        transfer->blocks = (transfer->panel_count + side->sink_panels) * side->device->shape.layers;
        transfer->is_there = calloc((size_t)transfer->blocks + 1, sizeof *transfer->is_there);
    }
    if (transfer)
        transfer->rows = malloc((size_t)slots * side->device->record_bytes);
    if (transfer && transfer->is_there && transfer->rows)
        return STATUS_OK;
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %zu panels to move", most);
}

enum status transfer_create(struct forward *forward, struct sequence *sequence)
{
    const struct engine_request *request = sequence->job.request;
    const struct resident *resident = sequence->resident;
    const int rank = forward->transport->rank;
    const int64_t sinks = sequence->sinks < request->count ? sequence->sinks : request->count;
    if (!resident)
        TRY(forward_deal_prompt(forward, sequence));
    const struct ownership *ownership = resident ? resident->ownership : sequence->ownership;
    const struct side side = {
        .device = forward->device,
        .ownership = ownership,
        .panels = resident ? resident->panels : sequence->panels,
        .port = request->port,
        .out = resident != NULL,
        .rank = rank,
        .sinks = sinks,
        .live = {ownership_live_first(ownership, request->count - 1, sequence->method.reach),
                 request->count},
        /* All ranks have them, and one says them. */
        .sink_panels = resident && rank > 0 ? 0 : (sinks + BANDS_LANES - 1) / BANDS_LANES,
    };
    sequence->result.cached_tokens = request->count;
    sequence->result.prefilled_tokens = 0;
    return make(&sequence->transfer, &side);
}

void transfer_destroy(struct transfer *transfer)
{
    if (!transfer)
        return;
    free(transfer->panels);
    free(transfer->is_there);
    free(transfer->rows);
    free(transfer);
}

static struct engine_block block_of(const struct transfer *transfer, int64_t number)
{
    const int64_t layers = transfer->side.device->shape.layers;
    const int64_t which = number / layers;
    const bool is_sink = which >= transfer->panel_count;
    return (struct engine_block){
        .store = is_sink ? BANDS_SINKS : BANDS_PANELS,
        .panel = is_sink ? which - transfer->panel_count : transfer->panels[which],
        .layer = (int)(number % layers),
    };
}

/* -1: the block is not this rank's. */
static int64_t number_of(const struct transfer *transfer, const struct engine_block *block)
{
    const int64_t layers = transfer->side.device->shape.layers;
    int64_t first = 0, end = transfer->panel_count;
    if (block->layer < 0 || block->layer >= layers)
        return -1;
    if (block->store == BANDS_SINKS)
        return block->panel < 0 || block->panel >= transfer->side.sink_panels
                   ? -1
                   : (transfer->panel_count + block->panel) * layers + block->layer;
    while (first < end) {
        const int64_t middle = (first + end) / 2;
        if (transfer->panels[middle] < block->panel)
            first = middle + 1;
        else
            end = middle;
    }
    return first < transfer->panel_count && transfer->panels[first] == block->panel
               ? first * layers + block->layer
               : -1;
}

static int records_in(const struct transfer *transfer, const struct engine_block *block)
{
    const struct panel_table *table = transfer->side.panels;
    return (int)(block->store == BANDS_SINKS ? panel_table_sink_slots(table)
                                             : panel_table_panel_slots(table));
}

static size_t bytes_of(const struct transfer *transfer, const struct engine_block *block)
{
    return (size_t)records_in(transfer, block) * transfer->side.device->record_bytes;
}

static void *panel_of(const struct transfer *transfer, const struct engine_block *block)
{
    const struct panel_table *table = transfer->side.panels;
    const int64_t slot =
        block->store == BANDS_SINKS
            ? panel_table_sinks(table) + block->panel * panel_table_sink_slots(table)
            : panel_table_slot(table, block->panel * BANDS_LANES);
    return device_record(transfer->side.device, block->layer, slot);
}

/* Rows of no token are zero, whatever a device leaves there. */
static void clear_rest(struct transfer *transfer, const struct engine_block *block)
{
    const struct side *side = &transfer->side;
    const int64_t end = block->store == BANDS_SINKS ? side->sinks : side->live.end;
    const int64_t tokens = end - block->panel * BANDS_LANES;
    const int64_t heads = records_in(transfer, block) * side->device->shape.kv_heads;
    const size_t head_bytes = bytes_of(transfer, block) / (size_t)heads;
    const size_t token_bytes = head_bytes / BANDS_LANES;
    for (int64_t head = 0; tokens < BANDS_LANES && head < heads; head++)
        memset(transfer->rows + (size_t)head * head_bytes + (size_t)tokens * token_bytes, 0,
               head_bytes - (size_t)tokens * token_bytes);
}

static enum status move_out(struct transfer *transfer, size_t *bytes)
{
    const struct side *side = &transfer->side;
    const struct engine_block block = block_of(transfer, transfer->moved);
    *bytes = bytes_of(transfer, &block);
    TRY(device_take_out(side->device, transfer->rows, panel_of(transfer, &block),
                        records_in(transfer, &block)));
    clear_rest(transfer, &block);
    return side->port->put(side->port->context, &block, transfer->rows, *bytes);
}

static enum status move_in(struct transfer *transfer, size_t *bytes)
{
    const struct side *side = &transfer->side;
    struct engine_block block;
    const void *rows;
    TRY(side->port->get(side->port->context, &block, &rows, bytes));
    const int64_t number = number_of(transfer, &block);
    if (number < 0 || transfer->is_there[number] || *bytes != bytes_of(transfer, &block))
        return fail(STATUS_DATA_LOSS, "the keys of panel %lld, layer %d, came to rank %d %s",
                    (long long)block.panel, block.layer, side->rank,
                    number < 0                   ? "and are not its own"
                    : transfer->is_there[number] ? "twice"
                                                 : "in another size");
    transfer->is_there[number] = true;
    return device_put_in(side->device, panel_of(transfer, &block), rows,
                         records_in(transfer, &block));
}

/* As long as the port is ready, and not so long that answers wait. */
static enum status move_some(struct transfer *transfer, int64_t wait_ms)
{
    enum { TURN_BYTES = 8 << 20 };
    const struct engine_port *port = transfer->side.port;
    const bool out = transfer->side.out;
    for (size_t done = 0; done < TURN_BYTES && transfer->moved < transfer->blocks; wait_ms = 0) {
        size_t bytes = 0;
        if (!(out ? port->has_room : port->has_block)(port->context, wait_ms))
            return STATUS_OK;
        TRY(out ? move_out(transfer, &bytes) : move_in(transfer, &bytes));
        transfer->moved++;
        done += bytes;
    }
    return STATUS_OK;
}

/* ---- a turn of all ranks ---- */

/* What a rank says of it. */
struct word {
    int32_t status; /* enum status */
    int32_t done;
    char cause[TRANSFER_CAUSE_BYTES];
};

static struct word say(struct transfer *transfer, const struct transfer_turn *turn)
{
    struct word word = {0};
    enum status status = turn->stop;
    if (status != STATUS_OK && transfer->side.rank == 0)
        status = fail(status, "the request was cut short while keys were moved");
    else
        status = move_some(transfer, turn->wait_ms);
    word.status = (int32_t)status;
    word.done = transfer->moved == transfer->blocks;
    if (status != STATUS_OK)
        snprintf(word.cause, sizeof word.cause, "%s", status_message());
    return word;
}

enum status transfer_take_turn(struct transfer *transfer, struct transfer_turn *turn,
                               struct transport *transport)
{
    const struct word mine = say(transfer, turn);
    struct word *words = calloc((size_t)transport->size, sizeof *words);
    if (!words)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to agree with %d ranks", transport->size);
    const enum status status = transport_gather_each(transport, &mine, words, sizeof mine);
    turn->ended = true;
    turn->status = STATUS_OK;
    for (int rank = 0; status == STATUS_OK && rank < transport->size; rank++) {
        turn->ended = turn->ended && words[rank].done;
        if (words[rank].status == STATUS_OK || turn->status != STATUS_OK)
            continue;
        turn->status = (enum status)words[rank].status;
        snprintf(turn->cause, sizeof turn->cause, "%s", words[rank].cause);
    }
    turn->ended = turn->ended || turn->status != STATUS_OK;
    free(words);
    return status;
}
