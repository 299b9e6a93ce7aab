/* Owns the waiting loop of every transport. Promises that no wait outlives an abort or a silent
 * peer.
 *
 * A peer that waits itself is not silent while the rank that it waits for moves, and so on along
 * the chain: else a slow rank would look like a fault of everyone between. A chain that comes back
 * to its start moves nothing, so ranks that wait for each other are found. The chain is looked at
 * only once a wait is no longer young: short waits, which decode is made of, neither read the clock
 * nor write to the board. */
#include "worker/engine/transport/spin.h"

#include "proto/clock.h"
#include "worker/engine/device/cpu_pause.h"
#include "worker/engine/transport/board.h"

#include <sched.h>
#include <time.h>

enum {
    YOUNG_ROUNDS = 64,    /* before the first yield where cores are shared */
    PROGRESS_ROUNDS = 64, /* rounds between drives of the transport */
    CLOCK_ROUNDS = 1024,  /* rounds between looks at the clock, unless rounds are slow */
    YIELD_NS = 300000,    /* of a wait on a shared core, before the first nap */
    NAP_PART = 8,
    NAP_MOST_NS = 1000000,
    PATIENT_ROUNDS = 1 << 16, /* a wait of about a millisecond: other processes may have the core */
};

void spin_begin(struct spin *spin)
{
    *spin = (struct spin){.begun_ns = clock_now_ns(), .peer = -1};
    spin->moved_ns = spin->begun_ns;
}

static uint64_t chain_progress(const struct board *board, int peer)
{
    uint64_t mixed = 0;
    for (int hops = 0; hops < board->size && peer >= 0 && peer != board->rank; hops++) {
        mixed = mixed * 1000003u + board_progress(board, peer) * 31u + (uint64_t)peer + 1;
        peer = board_awaited(board, peer);
    }
    return mixed;
}

static enum status look_at_peer(struct transport *t, struct spin *spin, int peer)
{
    const int64_t now = clock_now_ns();
    const uint64_t progress = chain_progress(t->board, peer);
    if (spin->peer != peer || progress != spin->seen) {
        board_await(t->board, peer);
        spin->peer = peer;
        spin->seen = progress;
        spin->moved_ns = now;
        return STATUS_OK;
    }
    if (now - spin->moved_ns < t->silence_ns)
        return STATUS_OK;
    return fail(STATUS_UNAVAILABLE,
                "rank %d waited for rank %d, which made no progress for %.1f s; it is stopped, "
                "stuck or cut off: end the group and start it again",
                t->board->rank, peer, (double)(now - spin->moved_ns) * 1e-9);
}

/* A wait that lasts naps for a part of what it has lasted, or many ranks that wait would do nothing
 * but pass the core on to each other; so not more than that part is lost when its end comes. */
static void leave_core(const struct spin *spin)
{
    const int64_t waited_ns = clock_now_ns() - spin->begun_ns;
    if (waited_ns < YIELD_NS) {
        sched_yield();
        return;
    }
    const int64_t nap_ns = waited_ns / NAP_PART;
    const struct timespec nap = {.tv_nsec = nap_ns < NAP_MOST_NS ? nap_ns : NAP_MOST_NS};
    nanosleep(&nap, NULL);
}

enum status spin_round(struct transport *t, struct spin *spin, int peer)
{
    if (board_aborted(t->board))
        return board_abort_failure(t->board);
    if (spin->rounds++ == 0)
        core_wait_look(&t->board->core_wait, spin->begun_ns);
    const bool shares = t->board->cores_short || t->board->core_wait.crowded;
    const bool yields = spin->rounds > (shares ? YOUNG_ROUNDS : PATIENT_ROUNDS);
    if (yields && shares)
        leave_core(spin);
    else if (yields)
        sched_yield();
    else
        cpu_pause();
    if (spin->rounds % PROGRESS_ROUNDS == 0 || yields)
        TRY(transport_progress(t->driver ? t->driver : t));
    if (spin->rounds % CLOCK_ROUNDS == 0 || yields)
        TRY(look_at_peer(t, spin, peer));
    return STATUS_OK;
}

void spin_end(struct transport *t, struct spin *spin)
{
    if (spin->peer >= 0)
        board_await(t->board, -1);
    const int64_t waited_ns = clock_now_ns() - spin->begun_ns;
    for (struct transport *of = t; of; of = of->whole)
        of->counters.waited_ns += waited_ns;
}
