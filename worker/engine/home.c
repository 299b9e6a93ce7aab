/* Owns the messages of one fetch. Promises that few of them are on their way at a time, and that
 * both ends go through panels in the same order. */
#include "worker/engine/home.h"

enum { WINDOW = 16 };

/* What is on its way, the oldest first; none of it waits for an answer by the other end. */
struct window {
    struct transport *transport;
    struct transport_request *requests[WINDOW];
    int64_t begun, ended;
};

static enum status end_oldest(struct window *window)
{
    return transport_wait(window->transport, window->requests[window->ended++ % WINDOW]);
}

static enum status pass_panel(struct window *window, const struct home *home, int owner,
                              int64_t panel, int layer)
{
    struct transport *transport = home->transport;
    const int64_t slot = panel_table_slot(home->panels, panel * BANDS_LANES);
    void *records = device_record(home->device, layer, slot);
    const size_t bytes = (size_t)panel_table_panel_slots(home->panels) * home->device->record_bytes;
    if (window->begun - window->ended == WINDOW)
        TRY(end_oldest(window));
    struct transport_request **request = &window->requests[window->begun % WINDOW];
    if (transport->rank == owner)
        TRY(transport_send(transport, 0, TRANSPORT_KEYS, records, bytes, request));
    else
        TRY(transport_receive(transport, owner, TRANSPORT_KEYS, records, bytes, request));
    window->begun++;
    return STATUS_OK;
}

/* The panels of one owner, in every layer. */
static enum status pass_span(struct window *window, const struct home *home,
                             const struct owned_span *owned)
{
    const int64_t end = (owned->span.end + BANDS_LANES - 1) / BANDS_LANES;
    for (int64_t panel = owned->span.first / BANDS_LANES; panel < end; panel++) {
        if (home->transport->rank == 0)
            TRY(panel_table_take(home->panels, panel));
        for (int layer = 0; layer < home->device->shape.layers; layer++)
            TRY(pass_panel(window, home, owned->owner, panel, layer));
    }
    return STATUS_OK;
}

enum status home_fetch(const struct home *home)
{
    const int rank = home->transport->rank;
    struct window window = {.transport = home->transport};
    struct owned_span owned;
    if (rank == 0)
        panel_table_drop(home->panels, home->keys.first);
    for (int64_t index = home->keys.first;
         ownership_next(home->ownership, &index, home->keys.end, &owned);)
        if (owned.owner != 0 && (rank == 0 || rank == owned.owner))
            TRY(pass_span(&window, home, &owned));
    while (window.ended < window.begun)
        TRY(end_oldest(&window));
    return STATUS_OK;
}
