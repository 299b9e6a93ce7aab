/* Owns what this rank has of a sample: its rows, the keys that they see, and the messages that
 * bring them and take their gradients back.
 *
 * Keys and values travel as they leave the layer's products, before they are rotated, so that a
 * message has the same bytes whatever frames the method has. On the way back they travel again: to
 * keep those of all layers would take as much memory on every rank as the whole sample's do.
 */
#include "worker/trainer/pass_parts.h"

#include <stdlib.h>

/* ---- who has what ---- */

static enum status add_piece(struct pass *pass, struct span keys, int owner)
{
    if (pass->piece_count == pass->piece_capacity) {
        const int capacity = pass->piece_capacity ? 2 * pass->piece_capacity : 16;
        struct pass_piece *pieces = realloc(pass->pieces, (size_t)capacity * sizeof *pieces);
        if (!pieces)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d pieces of a sample", capacity);
        pass->pieces = pieces;
        pass->piece_capacity = capacity;
    }
    const bool own = owner == pass->options.transport->rank;
    pass->pieces[pass->piece_count++] =
        (struct pass_piece){keys, owner, pass->keys, own ? pass->rows : -1};
    for (int64_t index = keys.first; own && index < keys.end; index++)
        pass->index[pass->rows++] = index;
    pass->keys += keys.end - keys.first;
    return STATUS_OK;
}

/* Own spans and what others send, by index. */
static enum status find_pieces(struct pass *pass)
{
    const int rank = pass->options.transport->rank;
    struct owned_span owned;
    int64_t index = 0;
    int m = 0;
    pass->rows = pass->keys = 0;
    pass->piece_count = 0;
    while (m < pass->exchange.count && pass->exchange.list[m].to != rank)
        m++;
    while (ownership_next(pass->ownership, &index, pass->sample.count, &owned)) {
        if (owned.owner == rank)
            TRY(add_piece(pass, owned.span, rank));
        for (; m < pass->exchange.count && pass->exchange.list[m].to == rank &&
               pass->exchange.list[m].keys.first < owned.span.end;
             m++)
            TRY(add_piece(pass, pass->exchange.list[m].keys, owned.owner));
    }
    return STATUS_OK;
}

static const struct pass_piece *piece_of(const struct pass *pass, int64_t index)
{
    const struct pass_piece *piece = pass->pieces;
    while (piece->keys.end <= index)
        piece++;
    return piece;
}

static enum status reserve_requests(struct pass *pass)
{
    if (pass->exchange.count <= pass->requests_capacity)
        return STATUS_OK;
    struct transport_request **requests =
        realloc(pass->requests, (size_t)pass->exchange.count * sizeof *requests);
    if (!requests)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d messages of keys",
                    pass->exchange.count);
    pass->requests = requests;
    pass->requests_capacity = pass->exchange.count;
    return STATUS_OK;
}

/* ---- positions ---- */

static void fill_table(const struct pass *pass, float *table, const struct bands_frame *frame,
                       int64_t first, int64_t count, double logn)
{
    const int head_dim = pass->options.spec->head_dim;
    for (int64_t t = 0; t < count; t++) {
        const int64_t position = pass->sample.positions[first + t];
        const struct rope_place place = {bands_position(frame, position),
                                         pass->rotation.magnitude * rope_logn(logn, position)};
        rope_table(table + t * head_dim, &place, 1, pass->rotation.inv_freq, head_dim / 2);
    }
}

void pass_fill_tables(struct pass *pass)
{
    const struct bands *bands = &pass->sight.tables[0].bands;
    const int64_t head_dim = pass->options.spec->head_dim;
    for (int p = 0; p < pass->piece_count; p++) {
        const struct pass_piece *piece = &pass->pieces[p];
        const int64_t count = piece->keys.end - piece->keys.first;
        for (int f = 0; f < bands->key_frames; f++)
            fill_table(pass, pass->key_tables + (f * pass->keys_most + piece->place) * head_dim,
                       &bands->key_frame[f], piece->keys.first, count, 0);
        for (int f = 0; piece->row >= 0 && f < bands->query_frames; f++)
            fill_table(pass, pass->query_tables + (f * pass->rows_most + piece->row) * head_dim,
                       &bands->query_frame[f], piece->keys.first, count, pass->rotation.logn);
    }
}

enum status pass_deal(struct pass *pass)
{
    ownership_clear(pass->ownership);
    TRY(ownership_advance(pass->ownership, pass->sample.count, PARTITION_ZIGZAG, NULL));
    TRY(key_exchange_make(&pass->exchange, pass->ownership, &pass->sight.tables[0].regimes,
                          pass->sample.positions));
    TRY(find_pieces(pass));
    return reserve_requests(pass);
}

/* ---- messages ---- */

static float *pair_at(const struct pass *pass, float *pairs, int64_t index)
{
    const struct pass_piece *piece = piece_of(pass, index);
    return pairs + (piece->place + index - piece->keys.first) * pass_pair_width(pass);
}

static size_t message_bytes(const struct pass *pass, const struct key_message *message)
{
    return (size_t)((message->keys.end - message->keys.first) * pass_pair_width(pass)) *
           sizeof(float);
}

static enum status wait_all(const struct pass *pass, int count)
{
    for (int r = 0; r < count; r++)
        TRY(transport_wait(pass->options.transport, pass->requests[r]));
    return STATUS_OK;
}

/* Own keys and values to those that see them, theirs to here. */
enum status pass_exchange_pairs(struct pass *pass)
{
    struct transport *t = pass->options.transport;
    int count = 0;
    for (int m = 0; m < pass->exchange.count; m++) {
        const struct key_message *message = &pass->exchange.list[m];
        const size_t bytes = message_bytes(pass, message);
        if (message->to == t->rank)
            TRY(transport_receive(t, message->from, TRANSPORT_KEYS,
                                  pair_at(pass, pass->pairs, message->keys.first), bytes,
                                  &pass->requests[count++]));
        else if (message->from == t->rank)
            TRY(transport_send(t, message->to, TRANSPORT_KEYS,
                               pair_at(pass, pass->pairs, message->keys.first), bytes,
                               &pass->requests[count++]));
    }
    return wait_all(pass, count);
}

/* The same messages the other way; what comes is added in the order of the ranks that it comes
 * from. */
enum status pass_return_gradients(struct pass *pass)
{
    struct transport *t = pass->options.transport;
    float *returned = pass->returned;
    int count = 0;
    for (int m = 0; m < pass->exchange.count; m++) {
        const struct key_message *message = &pass->exchange.list[m];
        const size_t bytes = message_bytes(pass, message);
        if (message->to == t->rank)
            TRY(transport_send(t, message->from, TRANSPORT_KEYS,
                               pair_at(pass, pass->pair_gradients, message->keys.first), bytes,
                               &pass->requests[count++]));
        if (message->from != t->rank)
            continue;
        TRY(transport_receive(t, message->to, TRANSPORT_KEYS, returned, bytes,
                              &pass->requests[count++]));
        returned += bytes / sizeof(float);
    }
    TRY(wait_all(pass, count));
    returned = pass->returned;
    for (int m = 0; m < pass->exchange.count; m++) {
        const struct key_message *message = &pass->exchange.list[m];
        const int64_t floats = (int64_t)(message_bytes(pass, message) / sizeof(float));
        if (message->from != t->rank)
            continue;
        TRY(pass->device->add(pass, pair_at(pass, pass->pair_gradients, message->keys.first),
                              returned, floats));
        returned += floats;
    }
    return STATUS_OK;
}
