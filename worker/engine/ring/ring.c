/* Owns the requests and slots of one rank's exchange. Promises that bytes in flight are bounded by
 * the receive slots, however long the sequence is.
 *
 * Blocks are counted through the layers: block b of layer l is number l * receive_count + b, and
 * lies in slot number modulo slots. released <= number < posted: the slot is in use.
 */
#include "worker/engine/ring/ring.h"

#include <assert.h>
#include <stdlib.h>

#include "kernels/attention.h"
#include "proto/clock.h"
#include "worker/engine/transport/spin.h"

struct slot {
    struct transport_request *request; /* NULL: arrived, or not posted */
    bool arrived;
    bool attended;
    int forwards_left;
    int64_t posted_ns;
};

/* What this rank sends to one peer: the same list in every layer. */
struct outbox {
    const int *sends; /* [count] indices into the schedule's sends, within the ring's */
    int count;
    int64_t posted; /* sends counted through the layers */
    int64_t completed;
    struct transport_request **requests; /* [receive_slots], by number modulo slots */
};

struct ring {
    struct transport *transport;
    struct ring_stage stage;
    int layer; /* blocks of layers up to it may travel; -1: none */
    int64_t posted;
    int64_t released;
    struct slot *slots;       /* [receive_slots] */
    struct outbox *outboxes;  /* [size] */
    int *sends;               /* of the stage, peer by peer */
    struct device_keys *keys; /* of reads that are attended together */
    struct ring_times times;
};

enum status ring_create(struct ring **out, struct transport *transport)
{
    struct ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the exchange");
    ring->transport = transport;
    ring->outboxes = calloc((size_t)transport->size, sizeof *ring->outboxes);
    if (!ring->outboxes) {
        free(ring);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the exchange of %d ranks",
                    transport->size);
    }
    *out = ring;
    return STATUS_OK;
}

static void free_stage(struct ring *ring)
{
    for (int peer = 0; peer < ring->transport->size; peer++) {
        free(ring->outboxes[peer].requests);
        ring->outboxes[peer] = (struct outbox){0};
    }
    free(ring->sends);
    free(ring->slots);
    free(ring->keys);
    ring->sends = NULL;
    ring->slots = NULL;
    ring->keys = NULL;
}

void ring_destroy(struct ring *ring)
{
    if (!ring)
        return;
    free_stage(ring);
    free(ring->outboxes);
    free(ring);
}

/* ---- beginning a stage ---- */

/* Deals the stage's sends out to their peers, each in the schedule's sequence. */
static enum status make_outboxes(struct ring *ring)
{
    const struct schedule_rank *schedule = ring->stage.schedule;
    int *next = ring->sends = calloc((size_t)schedule->send_count + 1, sizeof *ring->sends);
    bool enough = next != NULL;
    for (int s = 0; s < schedule->send_count; s++)
        ring->outboxes[schedule->sends[s].to].count++;
    for (int peer = 0; peer < ring->transport->size && enough; peer++) {
        struct outbox *outbox = &ring->outboxes[peer];
        outbox->sends = next;
        next += outbox->count;
        outbox->requests = outbox->count == 0 ? NULL
                                              : calloc((size_t)ring->stage.receive_slots,
                                                       sizeof *outbox->requests);
        enough = outbox->count == 0 || outbox->requests;
        outbox->count = 0;
    }
    if (!enough)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the list of %d sends",
                    schedule->send_count);
    for (int s = 0; s < schedule->send_count; s++) {
        struct outbox *outbox = &ring->outboxes[schedule->sends[s].to];
        ring->sends[outbox->sends - ring->sends + outbox->count++] = s;
    }
    return STATUS_OK;
}

/* Extents of all reads. */
static size_t count_extents(const struct ring_stage *stage)
{
    size_t count = 0;
    for (int r = 0; r < stage->schedule->read_count; r++) {
        const struct schedule_read *read = &stage->schedule->reads[r];
        int64_t index = read->keys.first;
        do {
            count++;
            if (read->source == SCHEDULE_LOCAL)
                (void)panel_table_extent(stage->panels, &index, read->keys.end);
            else
                index = read->keys.end;
        } while (index < read->keys.end);
    }
    return count;
}

enum status ring_begin(struct ring *ring, const struct ring_stage *stage)
{
    enum status status = STATUS_OK;
    free_stage(ring);
    ring->stage = *stage;
    ring->layer = -1;
    ring->posted = 0;
    ring->released = 0;
    ring->slots = calloc((size_t)stage->receive_slots, sizeof *ring->slots);
    ring->keys = calloc(count_extents(stage) + 1, sizeof *ring->keys);
    if (!ring->slots || !ring->keys) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d reads of a schedule",
                      stage->schedule->read_count);
        goto undo;
    }
    TRY_ELSE(make_outboxes(ring), undo);
    return STATUS_OK;
undo:
    free_stage(ring);
    return status;
}

void ring_layer(struct ring *ring, int layer)
{
    ring->layer = layer;
}

/* ---- receiving ---- */

static struct slot *slot_of(const struct ring *ring, int64_t number)
{
    return &ring->slots[number % ring->stage.receive_slots];
}

static char *slot_memory(const struct ring *ring, int64_t number)
{
    size_t slot_bytes = (size_t)(ring->stage.block_tokens / PANEL_TOKENS * BANDS_RECORDS_MAX) *
                        ring->stage.device->record_bytes;
    return (char *)ring->stage.device->memory.slots +
           (size_t)(number % ring->stage.receive_slots) * slot_bytes;
}

static size_t span_bytes(const struct ring *ring, struct span keys)
{
    int64_t first = keys.first / PANEL_TOKENS;
    int64_t end = (keys.end + PANEL_TOKENS - 1) / PANEL_TOKENS;
    return (size_t)((end - first) * panel_table_panel_slots(ring->stage.panels)) *
           ring->stage.device->record_bytes;
}

static int forwards_of(const struct schedule_rank *schedule, int receive)
{
    int forwards = 0;
    for (int s = 0; s < schedule->send_count; s++)
        forwards += schedule->sends[s].receive == receive;
    return forwards;
}

static enum status post_receives(struct ring *ring)
{
    const struct schedule_rank *schedule = ring->stage.schedule;
    int64_t allowed = (int64_t)(ring->layer + 1) * schedule->receive_count;
    while (ring->posted < allowed && ring->posted - ring->released < ring->stage.receive_slots) {
        int which = (int)(ring->posted % schedule->receive_count);
        const struct schedule_receive *receive = &schedule->receives[which];
        struct slot *slot = slot_of(ring, ring->posted);
        *slot = (struct slot){.forwards_left = forwards_of(schedule, which),
                              .posted_ns = clock_now_ns()};
        TRY(transport_receive(ring->transport, receive->from, TRANSPORT_KEYS,
                              slot_memory(ring, ring->posted), span_bytes(ring, receive->keys),
                              &slot->request));
        ring->posted++;
    }
    return STATUS_OK;
}

static void arrive(struct ring *ring, struct slot *slot, int64_t number)
{
    const struct schedule_rank *schedule = ring->stage.schedule;
    const struct schedule_receive *receive = &schedule->receives[number % schedule->receive_count];
    const struct trace_event event = {
        .begin_ns = slot->posted_ns,
        .end_ns = clock_now_ns(),
        .kind = TRACE_EXCHANGE,
        .layer = (int32_t)(number / schedule->receive_count),
        .peer = receive->from,
        .count = (int64_t)span_bytes(ring, receive->keys),
    };
    slot->arrived = true;
    slot->request = NULL;
    ring->times.exchange_seconds += 1e-9 * (double)(event.end_ns - event.begin_ns);
    trace_note(ring->stage.device->trace, &event);
}

static enum status test_receives(struct ring *ring)
{
    for (int64_t number = ring->released; number < ring->posted; number++) {
        struct slot *slot = slot_of(ring, number);
        if (slot->arrived)
            continue;
        bool done = false;
        TRY(transport_test(ring->transport, slot->request, &done));
        if (done)
            arrive(ring, slot, number);
    }
    while (ring->released < ring->posted) {
        const struct slot *slot = slot_of(ring, ring->released);
        if (!slot->arrived || !slot->attended || slot->forwards_left > 0)
            break;
        ring->released++;
    }
    return STATUS_OK;
}

/* ---- sending ---- */

/* The bytes of a send in `layer`; NULL when they are not there yet. */
static const void *send_source(const struct ring *ring, const struct schedule_send *send, int layer)
{
    const struct schedule_rank *schedule = ring->stage.schedule;
    if (send->receive >= 0) {
        int64_t number = (int64_t)layer * schedule->receive_count + send->receive;
        if (number >= ring->posted || !slot_of(ring, number)->arrived)
            return NULL;
        return slot_memory(ring, number);
    }
    if (layer == ring->layer && !shard_rows_ready(ring->stage.shard, send->keys))
        return NULL;
    int64_t index = send->keys.first;
    const int64_t slot = panel_table_extent(ring->stage.panels, &index, send->keys.end);
    assert(index == send->keys.end); /* consecutive panels of a prefill are one extent */
    return device_record(ring->stage.device, layer, slot);
}

static enum status drive_outbox(struct ring *ring, struct outbox *outbox, int peer)
{
    const struct schedule_rank *schedule = ring->stage.schedule;
    int slots = ring->stage.receive_slots;
    while (outbox->completed < outbox->posted) {
        bool done = false;
        TRY(transport_test(ring->transport, outbox->requests[outbox->completed % slots], &done));
        if (!done)
            break;
        int receive = schedule->sends[outbox->sends[outbox->completed % outbox->count]].receive;
        int64_t layer = outbox->completed / outbox->count;
        if (receive >= 0)
            slot_of(ring, layer * schedule->receive_count + receive)->forwards_left--;
        outbox->completed++;
    }
    int64_t allowed = (int64_t)(ring->layer + 1) * outbox->count;
    while (outbox->posted < allowed && outbox->posted - outbox->completed < slots) {
        const struct schedule_send *send =
            &schedule->sends[outbox->sends[outbox->posted % outbox->count]];
        const void *source = send_source(ring, send, (int)(outbox->posted / outbox->count));
        if (!source)
            break;
        TRY(transport_send(ring->transport, peer, TRANSPORT_KEYS, source,
                           span_bytes(ring, send->keys),
                           &outbox->requests[outbox->posted % slots]));
        outbox->posted++;
    }
    return STATUS_OK;
}

enum status ring_drive(struct ring *ring)
{
    TRY(transport_progress(ring->transport)); /* an abort is heard with nothing in flight, too */
    if (ring->transport->size == 1 || !ring->slots)
        return STATUS_OK;
    TRY(test_receives(ring));
    TRY(post_receives(ring));
    for (int peer = 0; peer < ring->transport->size; peer++)
        TRY(drive_outbox(ring, &ring->outboxes[peer], peer));
    return STATUS_OK;
}

/* ---- attending ---- */

static int64_t number_of(const struct ring *ring, const struct schedule_read *read)
{
    return (int64_t)ring->layer * ring->stage.schedule->receive_count + read->receive;
}

static bool is_there(const struct ring *ring, const struct schedule_read *read)
{
    if (read->source != SCHEDULE_RECEIVED)
        return true;
    int64_t number = number_of(ring, read);
    return number < ring->posted && slot_of(ring, number)->arrived;
}

/* The slots before this one are attended, so it is posted as soon as their forwards are gone. */
static enum status wait_for(struct ring *ring, const struct schedule_read *read)
{
    const struct device_drive *idle = &ring->stage.idle;
    int64_t start_ns = clock_now_ns();
    int peer = ring->stage.schedule->receives[read->receive].from;
    enum status status = STATUS_OK;
    struct spin spin;
    spin_begin(&spin);
    while (status == STATUS_OK && !is_there(ring, read)) {
        idle->call(idle->context);
        status = ring_drive(ring);
        if (status == STATUS_OK)
            status = spin_round(ring->transport, &spin, peer);
    }
    spin_end(ring->transport, &spin);
    const struct trace_event event = {start_ns, clock_now_ns(), TRACE_WAIT, ring->layer, peer, 0};
    ring->times.waited_seconds += 1e-9 * (double)(event.end_ns - event.begin_ns);
    trace_note(ring->stage.device->trace, &event);
    return status;
}

/* This rank's own keys, in as many extents as they lie in; how many those are. */
static int find_local(const struct ring *ring, struct device_keys keys, struct device_keys *found)
{
    const int64_t end = keys.end;
    int count = 0;
    while (keys.first < end) {
        keys.end = keys.first;
        keys.records = device_record(ring->stage.device, ring->layer,
                                     panel_table_extent(ring->stage.panels, &keys.end, end));
        found[count++] = keys;
        keys.first = keys.end;
    }
    return count;
}

/* The keys of a read, in the current layer; how many extents they are. */
static int find_keys(const struct ring *ring, const struct schedule_read *read,
                     struct device_keys *found)
{
    const struct panel_table *panels = ring->stage.panels;
    const struct device *device = ring->stage.device;
    struct device_keys keys = {
        .first = read->keys.first / PANEL_TOKENS * PANEL_TOKENS,
        .end = read->keys.end,
        .panel_records = (int)panel_table_panel_slots(ring->stage.panels),
        .query_first = read->query_first,
        .query_end = read->query_end,
    };
    switch (read->source) {
    case SCHEDULE_SINKS:
    case SCHEDULE_SINKS_NEAR:
        keys.store = read->source == SCHEDULE_SINKS ? BANDS_SINKS : BANDS_PANELS;
        keys.panel_records = (int)panel_table_sink_slots(panels);
        keys.records = device_record(device, ring->layer, panel_table_sinks(panels));
        break;
    case SCHEDULE_LOCAL:
        return find_local(ring, keys, found);
    case SCHEDULE_RECEIVED:
        keys.records = slot_memory(ring, number_of(ring, read));
        break;
    }
    *found = keys;
    return 1;
}

enum status ring_attend(struct ring *ring, const struct device_drive *drive)
{
    const struct schedule_rank *schedule = ring->stage.schedule;
    int first = 0;
    while (first < schedule->read_count) {
        TRY(ring_drive(ring));
        if (!is_there(ring, &schedule->reads[first]))
            TRY(wait_for(ring, &schedule->reads[first]));
        int end = first;
        int count = 0;
        while (end < schedule->read_count && is_there(ring, &schedule->reads[end]) &&
               (count < ring->stage.device->attend_most || schedule->receive_count == 0))
            count += find_keys(ring, &schedule->reads[end++], ring->keys + count);
        TRY(device_attend(ring->stage.device, ring->layer, ring->keys, count, drive));
        for (; first < end; first++)
            if (schedule->reads[first].source == SCHEDULE_RECEIVED)
                slot_of(ring, number_of(ring, &schedule->reads[first]))->attended = true;
    }
    return ring_drive(ring);
}

/* A peer that has not taken all its blocks of the layers begun; -1 if there is none. */
static int slow_peer(const struct ring *ring)
{
    for (int peer = 0; peer < ring->transport->size; peer++) {
        const struct outbox *outbox = &ring->outboxes[peer];
        if (outbox->completed < (int64_t)(ring->layer + 1) * outbox->count)
            return peer;
    }
    return -1;
}

enum status ring_end(struct ring *ring)
{
    const struct device_drive idle = ring->stage.idle;
    enum status status = STATUS_OK;
    struct spin spin;
    spin_begin(&spin);
    for (int peer = slow_peer(ring); peer >= 0; peer = slow_peer(ring)) {
        idle.call(idle.context);
        TRY_ELSE(ring_drive(ring), done);
        TRY_ELSE(spin_round(ring->transport, &spin, peer), done);
    }
done:
    spin_end(ring->transport, &spin);
    if (status == STATUS_OK)
        free_stage(ring);
    return status;
}

struct ring_times ring_times(const struct ring *ring)
{
    return ring->times;
}
