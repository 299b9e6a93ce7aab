/* Owns MPI. Promises the contract of transport.h between processes; the only file that narrows a
 * size to int.
 *
 * Messages are nonblocking point-to-point calls on a communicator of our own, the channel as tag;
 * MPI keeps the order within (peer, tag). Ranks of one host share a board in a window. When all
 * ranks are on one host, collectives go over the board: that is several times faster than MPI's,
 * and does not enter MPI at all. Else they are messages.
 *
 * Between hosts each rank tells every rank of other hosts its progress, whom it awaits, the hint
 * and an abort, in one small message on a second communicator: every NEWS_PERIOD_NS while it
 * changes, at once for a hint or an abort. It is sent and read while the transport is driven, which
 * a rank does between work items. The reader writes it on its board, so a wait looks at boards
 * only.
 *
 * MPI itself never ends the process: errors come back as a status. After an abort MPI_Finalize is
 * not called, since it would wait for peers that may be gone; the process exits non-zero and mpirun
 * ends the group. */
#include "worker/engine/transport/transport_mpi.h"

#include "proto/clock.h"
#include "proto/log.h"
#include "worker/engine/transport/board.h"
#include "worker/engine/transport/spin.h"
#include "worker/engine/transport/transport_reduce.h"

#include <assert.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_PIECES = 16,
    GATHER_TAG = TRANSPORT_CHANNELS,
    BROADCAST_TAG,
    BARRIER_TAG,
    NEWS_TAG,
    PROBE_TAG, /* nobody sends it: probing for it drives MPI */
    NEWS_PERIOD_NS = 100000000,
    FAREWELL_NS = 100000000,
};

struct mpi_request {
    struct transport_request head;
    MPI_Request pieces[MOST_PIECES];
    int pieces_count;
    int pieces_done;
    struct mpi_request *next; /* free list */
};

struct news {
    uint64_t progress;
    int32_t awaited;
    uint32_t hint;
    int32_t abort_rank; /* -1: none */
    char reason[BOARD_REASON_BYTES];
};

struct other_rank {
    struct news news; /* for it; belongs to MPI while `request` is active */
    MPI_Request request;
    bool remote; /* on another host */
    unsigned char barrier_byte;
};

struct mpi {
    struct transport base;
    struct board board;
    MPI_Comm data;
    MPI_Comm control;
    MPI_Comm host;
    MPI_Win window;
    size_t piece_bytes;
    struct mpi_request *requests; /* [requests_count] */
    size_t requests_count;
    struct mpi_request *free;
    MPI_Request *collective;   /* [2 size]: receives, then sends, of a collective between hosts */
    struct other_rank *others; /* [size] */
    int64_t news_ns;           /* when news last went out */
    uint32_t hint_sent;
    bool abort_sent;
    bool several_hosts;
};

static struct mpi *mpi_of(struct transport *t)
{
    return (struct mpi *)t;
}

static enum status mpi_failure(const struct mpi *t, const char *call, int peer, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int bytes = 0;
    MPI_Error_string(code, text, &bytes);
    return fail(STATUS_UNAVAILABLE, "rank %d: %s with rank %d: %s", t->base.rank, call, peer, text);
}

static enum status take_request(struct mpi *t, int peer, enum transport_channel channel,
                                size_t bytes, struct mpi_request **request)
{
    assert(peer >= 0 && peer < t->base.size && peer != t->base.rank);
    if (board_aborted(&t->board))
        return board_abort_failure(&t->board);
    if (!t->free)
        return fail(STATUS_INTERNAL, "rank %d has all %zu transport requests outstanding",
                    t->base.rank, t->requests_count);
    const size_t pieces = bytes == 0 ? 1 : (bytes - 1) / t->piece_bytes + 1;
    if (pieces > MOST_PIECES)
        return fail(STATUS_OUT_OF_RANGE, "a message of %zu bytes to rank %d is longer than %zu",
                    bytes, peer, t->piece_bytes * MOST_PIECES);
    *request = t->free;
    t->free = (*request)->next;
    (*request)->head = (struct transport_request){.peer = peer, .channel = channel, .bytes = bytes};
    (*request)->pieces_count = (int)pieces;
    (*request)->pieces_done = 0;
    return STATUS_OK;
}

static int piece_count(const struct mpi *t, size_t bytes, int piece)
{
    const size_t first = (size_t)piece * t->piece_bytes;
    const size_t left = bytes - first;
    return (int)(left < t->piece_bytes ? left : t->piece_bytes);
}

static enum status mpi_send(struct transport *base, int peer, enum transport_channel channel,
                            const void *data, size_t bytes, struct transport_request **request)
{
    struct mpi *t = mpi_of(base);
    struct mpi_request *send;
    TRY(take_request(t, peer, channel, bytes, &send));
    send->head.sends = true;
    for (int i = 0; i < send->pieces_count; i++) {
        const unsigned char *piece = (const unsigned char *)data + (size_t)i * t->piece_bytes;
        const int code = MPI_Isend(piece, piece_count(t, bytes, i), MPI_BYTE, peer, (int)channel,
                                   t->data, &send->pieces[i]);
        if (code != MPI_SUCCESS)
            return mpi_failure(t, "MPI_Isend", peer, code);
    }
    base->counters.sent_bytes[channel] += bytes;
    base->counters.sent_messages[channel]++;
    *request = &send->head;
    return STATUS_OK;
}

static enum status mpi_receive(struct transport *base, int peer, enum transport_channel channel,
                               void *data, size_t bytes, struct transport_request **request)
{
    struct mpi *t = mpi_of(base);
    struct mpi_request *receive;
    TRY(take_request(t, peer, channel, bytes, &receive));
    receive->head.sends = false;
    for (int i = 0; i < receive->pieces_count; i++) {
        unsigned char *piece = (unsigned char *)data + (size_t)i * t->piece_bytes;
        const int code = MPI_Irecv(piece, piece_count(t, bytes, i), MPI_BYTE, peer, (int)channel,
                                   t->data, &receive->pieces[i]);
        if (code != MPI_SUCCESS)
            return mpi_failure(t, "MPI_Irecv", peer, code);
    }
    base->counters.received_bytes[channel] += bytes;
    *request = &receive->head;
    return STATUS_OK;
}

static enum status misfit(const struct mpi *t, const struct transport_request *request)
{
    return fail(STATUS_INTERNAL,
                "rank %d awaited %zu bytes on channel %d, but rank %d sent another size: the "
                "ranks' plans differ",
                t->base.rank, request->bytes, (int)request->channel, request->peer);
}

static enum status test_piece(struct mpi *t, struct mpi_request *request, bool *done)
{
    const int piece = request->pieces_done;
    int flag = 0;
    MPI_Status result;
    const int code = MPI_Test(&request->pieces[piece], &flag, &result);
    if (code != MPI_SUCCESS) {
        int class = MPI_SUCCESS;
        MPI_Error_class(code, &class);
        return class == MPI_ERR_TRUNCATE ? misfit(t, &request->head)
                                         : mpi_failure(t, "MPI_Test", request->head.peer, code);
    }
    *done = flag != 0;
    if (!*done || request->head.sends)
        return STATUS_OK;
    int count = 0;
    MPI_Get_count(&result, MPI_BYTE, &count);
    if (count != piece_count(t, request->head.bytes, piece))
        return misfit(t, &request->head);
    return STATUS_OK;
}

static enum status post_news(struct mpi *t, int peer, bool *posted)
{
    struct other_rank *other = &t->others[peer];
    int sent = 1;
    int code = MPI_Test(&other->request, &sent, MPI_STATUS_IGNORE);
    *posted = sent != 0;
    if (code == MPI_SUCCESS && sent) {
        const bool aborted = board_aborted(&t->board);
        other->news = (struct news){.progress = board_progress(&t->board, t->base.rank),
                                    .awaited = board_awaited(&t->board, t->base.rank),
                                    .hint = board_hinted(&t->board),
                                    .abort_rank = aborted ? board_abort_rank(&t->board) : -1};
        if (aborted)
            memcpy(other->news.reason, board_abort_reason(&t->board), BOARD_REASON_BYTES);
        code = MPI_Isend(&other->news, (int)sizeof other->news, MPI_BYTE, peer, NEWS_TAG,
                         t->control, &other->request);
    }
    return code == MPI_SUCCESS ? STATUS_OK : mpi_failure(t, "MPI_Isend", peer, code);
}

static enum status send_news(struct mpi *t)
{
    const int64_t now = clock_now_ns();
    const bool aborted = board_aborted(&t->board);
    const uint32_t hint = board_hinted(&t->board);
    const bool urgent = hint != t->hint_sent || (aborted && !t->abort_sent);
    if (!urgent && now - t->news_ns < NEWS_PERIOD_NS)
        return STATUS_OK;
    bool all_posted = true;
    for (int peer = 0; peer < t->base.size; peer++) {
        if (!t->others[peer].remote)
            continue;
        bool posted = false;
        TRY(post_news(t, peer, &posted));
        all_posted = all_posted && posted;
    }
    t->news_ns = now;
    if (all_posted) {
        t->hint_sent = hint;
        t->abort_sent = aborted;
    }
    return STATUS_OK;
}

static enum status read_news(struct mpi *t)
{
    for (;;) {
        int found = 0;
        MPI_Status from;
        int code = MPI_Iprobe(MPI_ANY_SOURCE, NEWS_TAG, t->control, &found, &from);
        if (code == MPI_SUCCESS && !found)
            return STATUS_OK;
        struct news news;
        if (code == MPI_SUCCESS)
            code = MPI_Recv(&news, (int)sizeof news, MPI_BYTE, from.MPI_SOURCE, NEWS_TAG,
                            t->control, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS)
            return mpi_failure(t, "MPI_Recv of news", -1, code);
        board_relay(&t->board, from.MPI_SOURCE, news.progress, news.awaited);
        board_hint(&t->board, news.hint);
        news.reason[BOARD_REASON_BYTES - 1] = '\0';
        if (news.abort_rank >= 0)
            board_abort(&t->board, news.abort_rank, news.reason);
    }
}

static enum status mpi_progress(struct transport *base)
{
    struct mpi *t = mpi_of(base);
    if (t->several_hosts) {
        TRY(read_news(t));
        TRY(send_news(t));
    } else {
        int found = 0;
        const int code = MPI_Iprobe(MPI_ANY_SOURCE, PROBE_TAG, t->data, &found, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS)
            return mpi_failure(t, "MPI_Iprobe", -1, code);
    }
    return board_aborted(&t->board) ? board_abort_failure(&t->board) : STATUS_OK;
}

static enum status mpi_test(struct transport *base, struct transport_request *head, bool *done)
{
    struct mpi *t = mpi_of(base);
    struct mpi_request *request = (struct mpi_request *)head;
    *done = false;
    while (request->pieces_done < request->pieces_count) {
        bool piece_done = false;
        TRY(test_piece(t, request, &piece_done));
        if (!piece_done && t->several_hosts)
            return mpi_progress(base);
        if (!piece_done)
            return board_aborted(&t->board) ? board_abort_failure(&t->board) : STATUS_OK;
        request->pieces_done++;
    }
    *done = true;
    request->next = t->free;
    t->free = request;
    board_mark(&t->board);
    return STATUS_OK;
}

static enum status wait_collective(struct mpi *t)
{
    struct spin spin;
    spin_begin(&spin);
    enum status status = STATUS_OK;
    for (int i = 0; i < 2 * t->base.size && status == STATUS_OK; i++) {
        int done = 0;
        while (status == STATUS_OK && !done) {
            const int code = MPI_Test(&t->collective[i], &done, MPI_STATUS_IGNORE);
            if (code != MPI_SUCCESS)
                status = mpi_failure(t, "a collective", i % t->base.size, code);
            else if (!done)
                status = spin_round(&t->base, &spin, i % t->base.size);
        }
    }
    spin_end(&t->base, &spin);
    return status;
}

/* One piece to or from each other rank; bytes of 0 are not exchanged. */
static enum status post_collective(struct mpi *t, bool sends, int peer, void *data, size_t bytes,
                                   int tag)
{
    if (bytes == 0 || peer == t->base.rank)
        return STATUS_OK;
    if (bytes > t->piece_bytes)
        return fail(STATUS_OUT_OF_RANGE,
                    "a collective of %zu bytes from one rank is longer than %zu", bytes,
                    t->piece_bytes);
    MPI_Request *request = &t->collective[sends ? t->base.size + peer : peer];
    const int code = sends ? MPI_Isend(data, (int)bytes, MPI_BYTE, peer, tag, t->data, request)
                           : MPI_Irecv(data, (int)bytes, MPI_BYTE, peer, tag, t->data, request);
    return code == MPI_SUCCESS ? STATUS_OK : mpi_failure(t, "a collective", peer, code);
}

static enum status gather_between_hosts(struct transport *base, const void *mine, void *all,
                                        const struct transport_parts *parts)
{
    struct mpi *t = mpi_of(base);
    unsigned char *own = (unsigned char *)all + transport_part_offset(parts, base->rank);
    const size_t own_bytes = transport_part_bytes(parts, base->rank);
    if (own_bytes > 0 && own != mine)
        memcpy(own, mine, own_bytes);
    for (int peer = 0; peer < base->size; peer++)
        TRY(post_collective(t, false, peer,
                            (unsigned char *)all + transport_part_offset(parts, peer),
                            transport_part_bytes(parts, peer), GATHER_TAG));
    for (int peer = 0; peer < base->size; peer++)
        TRY(post_collective(t, true, peer, own, own_bytes, GATHER_TAG));
    return wait_collective(t);
}

static enum status broadcast_between_hosts(struct transport *base, void *data, size_t bytes)
{
    struct mpi *t = mpi_of(base);
    if (base->rank > 0)
        TRY(post_collective(t, false, 0, data, bytes, BROADCAST_TAG));
    for (int peer = 1; base->rank == 0 && peer < base->size; peer++)
        TRY(post_collective(t, true, peer, data, bytes, BROADCAST_TAG));
    return wait_collective(t);
}

static enum status barrier_between_hosts(struct transport *base)
{
    struct mpi *t = mpi_of(base);
    for (int peer = 0; peer < base->size; peer++)
        TRY(post_collective(t, false, peer, &t->others[peer].barrier_byte, 1, BARRIER_TAG));
    for (int peer = 0; peer < base->size; peer++)
        TRY(post_collective(t, true, peer, &t->others[base->rank].barrier_byte, 1, BARRIER_TAG));
    return wait_collective(t);
}

/* The news of an abort must leave before the process does. */
static void say_farewell(struct mpi *t)
{
    const int64_t end_ns = clock_now_ns() + FAREWELL_NS;
    bool left = !t->several_hosts;
    while (!left && clock_now_ns() < end_ns) {
        if (read_news(t) != STATUS_OK || send_news(t) != STATUS_OK)
            return;
        left = t->abort_sent;
        for (int peer = 0; peer < t->base.size && left; peer++) {
            int sent = 1;
            if (MPI_Test(&t->others[peer].request, &sent, MPI_STATUS_IGNORE) != MPI_SUCCESS)
                return;
            left = sent != 0;
        }
    }
}

static void free_memory(struct mpi *t)
{
    free(t->requests);
    free(t->collective);
    free(t->others);
    free(t);
}

/* Only after a barrier has shown that every rank is alive and leaves as well: these calls wait for
 * all of them. */
static void finalize(struct mpi *t)
{
    for (int peer = 0; peer < t->base.size; peer++)
        MPI_Wait(&t->others[peer].request, MPI_STATUS_IGNORE);
    MPI_Win_free(&t->window);
    MPI_Comm_free(&t->host);
    MPI_Comm_free(&t->control);
    MPI_Comm_free(&t->data);
    MPI_Finalize();
}

static void mpi_destroy(struct transport *base)
{
    struct mpi *t = mpi_of(base);
    if (!board_aborted(&t->board) && base->ops->barrier(base) != STATUS_OK) {
        log_line(LOG_WARN, "leaving without the others", log_text("cause", status_message()));
        board_abort(&t->board, base->rank, "a rank left while others did not");
    }
    if (board_aborted(&t->board))
        say_farewell(t);
    else
        finalize(t);
    free_memory(t);
}

static const struct transport_ops mpi_ops_one_host = {
    .send = mpi_send,
    .receive = mpi_receive,
    .test = mpi_test,
    .progress = mpi_progress,
    .gather = board_gather,
    .broadcast = board_broadcast,
    .reduce_scatter = transport_reduce_by_messages,
    .barrier = board_barrier,
    .destroy = mpi_destroy,
};

static const struct transport_ops mpi_ops_several_hosts = {
    .send = mpi_send,
    .receive = mpi_receive,
    .test = mpi_test,
    .progress = mpi_progress,
    .gather = gather_between_hosts,
    .broadcast = broadcast_between_hosts,
    .reduce_scatter = transport_reduce_by_messages,
    .barrier = barrier_between_hosts,
    .destroy = mpi_destroy,
};

static enum status start_mpi(struct mpi *t, bool apart)
{
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (initialized)
        return fail(STATUS_FAILED_PRECONDITION, "MPI is already in use by this process");
    int provided = MPI_THREAD_SINGLE;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return fail(STATUS_UNAVAILABLE, "MPI_Init_thread failed: start the worker with mpirun");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (provided < MPI_THREAD_FUNNELED)
        return fail(STATUS_FAILED_PRECONDITION, "this MPI gives thread level %d; %d is needed",
                    provided, MPI_THREAD_FUNNELED);
    MPI_Comm_rank(MPI_COMM_WORLD, &t->base.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &t->base.size);
    int code = MPI_Comm_dup(MPI_COMM_WORLD, &t->data);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_dup(MPI_COMM_WORLD, &t->control);
    if (code == MPI_SUCCESS && apart)
        code = MPI_Comm_split(MPI_COMM_WORLD, t->base.rank, 0, &t->host);
    else if (code == MPI_SUCCESS)
        code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, t->base.rank,
                                   MPI_INFO_NULL, &t->host);
    if (code != MPI_SUCCESS)
        return mpi_failure(t, "MPI_Comm_dup", -1, code);
    MPI_Comm_rank(t->host, &t->base.local_rank);
    MPI_Comm_size(t->host, &t->base.local_size);
    t->several_hosts = t->base.local_size < t->base.size;
    return STATUS_OK;
}

static enum status allocate_memory(struct mpi *t, const struct transport_options *options)
{
    const size_t size = (size_t)t->base.size;
    t->piece_bytes = options->piece_bytes;
    t->requests_count = options->requests;
    t->requests = calloc(options->requests, sizeof *t->requests);
    t->collective = calloc(2 * size, sizeof *t->collective);
    t->others = calloc(size, sizeof *t->others);
    if (!t->requests || !t->collective || !t->others)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the transport of rank %d",
                    t->base.rank);
    for (size_t i = options->requests; i-- > 0;) {
        t->requests[i].next = t->free;
        t->free = &t->requests[i];
    }
    for (size_t i = 0; i < 2 * size; i++)
        t->collective[i] = MPI_REQUEST_NULL;
    for (size_t i = 0; i < size; i++)
        t->others[i].request = MPI_REQUEST_NULL;
    return STATUS_OK;
}

/* Learns which ranks are on other hosts, by each host's lowest rank. Returns the number of hosts, 0
 * on failure. */
static int map_hosts(struct mpi *t)
{
    int leader = t->base.rank;
    int *leaders = calloc((size_t)t->base.size, sizeof *leaders);
    if (!leaders)
        return 0;
    int code = MPI_Bcast(&leader, 1, MPI_INT, 0, t->host);
    if (code == MPI_SUCCESS)
        code = MPI_Allgather(&leader, 1, MPI_INT, leaders, 1, MPI_INT, t->data);
    int hosts = 0;
    for (int rank = 0; code == MPI_SUCCESS && rank < t->base.size; rank++) {
        t->others[rank].remote = leaders[rank] != leader;
        hosts += leaders[rank] == rank;
    }
    free(leaders);
    return hosts;
}

static enum status open_board(struct mpi *t, int threads)
{
    const bool leads = t->base.local_rank == 0;
    const size_t bytes = board_bytes(t->base.size, !t->several_hosts) + BOARD_ALIGNMENT;
    void *mine = NULL;
    int code = MPI_Win_allocate_shared(leads ? (MPI_Aint)bytes : 0, 1, MPI_INFO_NULL, t->host,
                                       &mine, &t->window);
    MPI_Aint shared_bytes = 0;
    int unit = 0;
    void *base = NULL;
    if (code == MPI_SUCCESS)
        code = MPI_Win_shared_query(t->window, 0, &shared_bytes, &unit, &base);
    if (code != MPI_SUCCESS)
        return mpi_failure(t, "MPI_Win_allocate_shared", -1, code);
    const size_t past = (uintptr_t)base % BOARD_ALIGNMENT;
    void *board = (unsigned char *)base + (past ? BOARD_ALIGNMENT - past : 0);
    if (leads) {
        memset(board, 0, bytes - BOARD_ALIGNMENT);
        board_format(board, t->base.size);
    }
    board_open(&t->board, board, t->base.rank, t->base.size, t->base.local_size * threads);
    code = MPI_Barrier(t->host);
    return code == MPI_SUCCESS ? STATUS_OK : mpi_failure(t, "MPI_Barrier", -1, code);
}

/* Blocks as MPI_Init does: until every rank of the launch is there. Whoever launches bounds
 * that. */
enum status transport_mpi_create(struct transport **transport,
                                 const struct transport_options *options)
{
    struct mpi *t = calloc(1, sizeof *t);
    if (!t)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a transport");
    enum status status;
    TRY_ELSE(start_mpi(t, options && options->apart), free_all);
    const struct transport_options filled = transport_options_filled(options, t->base.size);
    TRY_ELSE(allocate_memory(t, &filled), free_all);
    const int hosts = map_hosts(t);
    if (hosts == 0) {
        status = fail(STATUS_UNAVAILABLE, "rank %d: the ranks' hosts are not known", t->base.rank);
        goto free_all;
    }
    TRY_ELSE(open_board(t, filled.threads), free_all);
    t->base.name = "mpi";
    t->base.ops = t->several_hosts ? &mpi_ops_several_hosts : &mpi_ops_one_host;
    t->base.board = &t->board;
    t->base.silence_ns = filled.silence_ns;
    int major = 0;
    int minor = 0;
    MPI_Get_version(&major, &minor);
    snprintf(t->base.facts, sizeof t->base.facts,
             "transport=mpi ranks=%d hosts=%d ranks_here=%d gather=%s mpi=%d.%d", t->base.size,
             hosts, t->base.local_size, t->several_hosts ? "messages" : "shared", major, minor);
    *transport = &t->base;
    return STATUS_OK;

free_all:
    /* No MPI_Finalize: peers may be gone. The process exits non-zero. */
    free_memory(t);
    return status;
}
