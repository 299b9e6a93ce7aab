/* Owns the contract's cases while the group lives; transport_endings.c has those that end it. */
#include "tests/ranks/transport_contract.h"

#include "proto/clock.h"
#include "tests/ranks/transport_endings.h"
#include "tests/ranks/transport_sums.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of cases that are not about silence: a loaded machine and a sanitizer make checking slow. */
#define PATIENCE_NS 20000000000

enum { MOST_RANKS = 16, MESSAGES = 40, PIECE_BYTES = 1 << 20, BIG_BYTES = (5 << 20) + 13 };

struct transport_options transport_contract_options(void)
{
    return (struct transport_options){
        .silence_ns = PATIENCE_NS, .piece_bytes = PIECE_BYTES, .requests = 256};
}

static void sleep_ns(int64_t ns)
{
    const struct timespec span = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    nanosleep(&span, NULL);
}

static unsigned char pattern(int source, int target, int channel, int number, size_t at)
{
    return (unsigned char)(source * 7 + target * 31 + channel * 101 + number * 13 +
                           (int)(at % 251));
}

static size_t message_bytes(int number)
{
    static const size_t bytes[] = {1, 0, 17, 4096, 100, 70000};
    return bytes[(size_t)number % (sizeof bytes / sizeof bytes[0])];
}

struct traffic {
    struct transport_request *sends[MOST_RANKS];
    struct transport_request *receives[MOST_RANKS];
    unsigned char *sent[MOST_RANKS];
    unsigned char *received[MOST_RANKS];
};

static void traffic_init(struct traffic *traffic, int size, size_t bytes)
{
    memset(traffic, 0, sizeof *traffic);
    for (int peer = 0; peer < size; peer++) {
        traffic->sent[peer] = malloc(bytes);
        traffic->received[peer] = malloc(bytes);
    }
}

static void traffic_deinit(struct traffic *traffic, int size)
{
    for (int peer = 0; peer < size; peer++) {
        free(traffic->sent[peer]);
        free(traffic->received[peer]);
    }
}

/* One message of `bytes` each way between all pairs; false in *right when a byte is wrong. */
static enum status exchange(struct transport *t, struct traffic *traffic, int channel, int number,
                            size_t bytes, bool *right)
{
    for (int peer = 0; peer < t->size; peer++) {
        if (peer == t->rank)
            continue;
        for (size_t i = 0; i < bytes; i++)
            traffic->sent[peer][i] = pattern(t->rank, peer, channel, number, i);
        memset(traffic->received[peer], 0, bytes);
        TRY(transport_receive(t, peer, (enum transport_channel)channel, traffic->received[peer],
                              bytes, &traffic->receives[peer]));
        TRY(transport_send(t, peer, (enum transport_channel)channel, traffic->sent[peer], bytes,
                           &traffic->sends[peer]));
    }
    for (int peer = 0; peer < t->size; peer++) {
        if (peer == t->rank)
            continue;
        TRY(transport_wait(t, traffic->receives[peer]));
        TRY(transport_wait(t, traffic->sends[peer]));
        for (size_t i = 0; i < bytes; i++)
            *right =
                *right && traffic->received[peer][i] == pattern(peer, t->rank, channel, number, i);
    }
    return STATUS_OK;
}

static enum status messages_arrive_whole(struct transport *t, void *context)
{
    (void)context;
    struct traffic traffic;
    traffic_init(&traffic, t->size, BIG_BYTES);
    bool right = true;
    enum status status = STATUS_OK;
    for (int number = 0; number < MESSAGES && status == STATUS_OK; number++)
        status =
            exchange(t, &traffic, number % TRANSPORT_ORDER, number, message_bytes(number), &right);
    if (status == STATUS_OK)
        status = exchange(t, &traffic, TRANSPORT_KEYS, 0, BIG_BYTES, &right);
    traffic_deinit(&traffic, t->size);
    TRY(status);
    expect_on_all_ranks(t, right);
    return STATUS_OK;
}

/* All posted before any is awaited; the receiver asks for the later channel first, and awaits the
 * last first. */
static enum status channels_keep_their_own_order(struct transport *t, void *context)
{
    (void)context;
    enum { EACH = 20, CHANNELS = 2 };
    int sent[MOST_RANKS][CHANNELS][EACH];
    int received[MOST_RANKS][CHANNELS][EACH];
    struct transport_request *requests[2 * MOST_RANKS * CHANNELS * EACH];
    size_t count = 0;
    for (int peer = 0; peer < t->size; peer++) {
        for (int i = 0; i < CHANNELS * EACH && peer != t->rank; i++) {
            const int channel = i % CHANNELS;
            int *value = &sent[peer][channel][i / CHANNELS];
            *value = t->rank * 1000 + i;
            TRY(transport_send(t, peer, (enum transport_channel)channel, value, sizeof *value,
                               &requests[count++]));
        }
        for (int i = 0; i < CHANNELS * EACH && peer != t->rank; i++) {
            const int channel = CHANNELS - 1 - i / EACH;
            TRY(transport_receive(t, peer, (enum transport_channel)channel,
                                  &received[peer][channel][i % EACH], sizeof(int),
                                  &requests[count++]));
        }
    }
    while (count > 0)
        TRY(transport_wait(t, requests[--count]));
    bool ordered = true;
    for (int peer = 0; peer < t->size; peer++)
        for (int i = 0; i < CHANNELS * EACH && peer != t->rank; i++)
            ordered = ordered && received[peer][i % CHANNELS][i / CHANNELS] == peer * 1000 + i;
    expect_on_all_ranks(t, ordered);
    return STATUS_OK;
}

static size_t part_bytes(int rank, int repeat)
{
    static const size_t bytes[] = {0, 1, 64, 2048, 130000, 0, 7};
    return bytes[(size_t)(rank * 3 + repeat) % (sizeof bytes / sizeof bytes[0])];
}

static enum status gather_takes_unequal_and_empty_parts(struct transport *t, void *context)
{
    (void)context;
    bool right = true;
    unsigned char *all = malloc(MOST_RANKS * 140000);
    enum status status = STATUS_OK;
    for (int repeat = 0; repeat < 150 && status == STATUS_OK; repeat++) {
        size_t offsets[MOST_RANKS];
        size_t sizes[MOST_RANKS];
        size_t total = 5;
        for (int rank = 0; rank < t->size; rank++) {
            offsets[rank] = total;
            sizes[rank] = part_bytes(rank, repeat);
            total += sizes[rank] + (size_t)(repeat % 3);
        }
        memset(all, 0xEE, total + 5);
        unsigned char *own = all + offsets[t->rank];
        for (size_t i = 0; i < sizes[t->rank]; i++)
            own[i] = pattern(t->rank, 0, 0, repeat, i);
        status = transport_gather(t, own, all, offsets, sizes);
        for (int rank = 0; rank < t->size; rank++)
            for (size_t i = 0; i < sizes[rank]; i++)
                right = right && all[offsets[rank] + i] == pattern(rank, 0, 0, repeat, i);
        right = right && all[0] == 0xEE && all[4] == 0xEE && all[total] == 0xEE;
    }
    free(all);
    TRY(status);
    expect_on_all_ranks(t, right);
    return STATUS_OK;
}

static enum status gather_copies_from_elsewhere(struct transport *t, void *context)
{
    (void)context;
    int all[MOST_RANKS] = {0};
    size_t offsets[MOST_RANKS];
    size_t sizes[MOST_RANKS];
    for (int rank = 0; rank < t->size; rank++) {
        offsets[rank] = (size_t)rank * sizeof(int);
        sizes[rank] = sizeof(int);
    }
    const int mine = 100 + t->rank;
    TRY(transport_gather(t, &mine, all, offsets, sizes));
    bool right = true;
    for (int rank = 0; rank < t->size; rank++)
        right = right && all[rank] == 100 + rank;
    expect_on_all_ranks(t, right);
    return STATUS_OK;
}

/* Parts of no bytes, of a few, and of more than one round of the board, from elsewhere and in
 * place; what lies behind the last part stays as it was, and bytes are counted as a gather's. */
static enum status gather_each_lays_parts_by_rank(struct transport *t, void *context)
{
    (void)context;
    static const size_t bytes_of[] = {0, 1, 24, 4096, 70001};
    enum { GUARD = 16, CASES = sizeof bytes_of / sizeof bytes_of[0], MOST_BYTES = 70001 };
    unsigned char *own = malloc(MOST_BYTES);
    unsigned char *all = malloc(MOST_RANKS * MOST_BYTES + GUARD);
    enum status status = STATUS_OK;
    bool right = true;
    for (int repeat = 0; repeat < 2 * CASES && status == STATUS_OK; repeat++) {
        const size_t bytes = bytes_of[repeat / 2];
        const size_t end = (size_t)t->size * bytes;
        const struct transport_counters before = t->counters;
        memset(all, 0xEE, end + GUARD);
        unsigned char *mine = repeat % 2 ? all + (size_t)t->rank * bytes : own;
        for (size_t i = 0; i < bytes; i++)
            mine[i] = pattern(t->rank, 0, 0, repeat, i);
        status = transport_gather_each(t, mine, all, bytes);
        for (int rank = 0; rank < t->size; rank++)
            for (size_t i = 0; i < bytes; i++)
                right = right && all[(size_t)rank * bytes + i] == pattern(rank, 0, 0, repeat, i);
        for (size_t i = 0; i < GUARD; i++)
            right = right && all[end + i] == 0xEE;
        const size_t others = end - bytes;
        right = right &&
                t->counters.sent_bytes[TRANSPORT_STATE] ==
                    before.sent_bytes[TRANSPORT_STATE] + others &&
                t->counters.received_bytes[TRANSPORT_STATE] ==
                    before.received_bytes[TRANSPORT_STATE] + others &&
                t->counters.sent_messages[TRANSPORT_STATE] ==
                    before.sent_messages[TRANSPORT_STATE] + (bytes > 0 ? (size_t)t->size - 1 : 0);
    }
    free(all);
    free(own);
    TRY(status);
    expect_on_all_ranks(t, right);
    return STATUS_OK;
}

static enum status broadcast_reaches_slow_ranks(struct transport *t, void *context)
{
    (void)context;
    enum { LONG_INTS = 12345 };
    bool right = true;
    for (int repeat = 0; repeat < 100; repeat++) {
        if (repeat % 25 == 0 && t->rank > 0)
            sleep_ns((int64_t)t->rank * 2000000);
        int word = t->rank == 0 ? repeat * 3 : -1;
        TRY(transport_broadcast(t, &word, sizeof word));
        right = right && word == repeat * 3;
    }
    static _Thread_local int words[LONG_INTS];
    for (int i = 0; i < LONG_INTS; i++)
        words[i] = t->rank == 0 ? i : 0;
    TRY(transport_broadcast(t, words, sizeof words));
    for (int i = 0; i < LONG_INTS; i++)
        right = right && words[i] == i;
    expect_on_all_ranks(t, right);
    return STATUS_OK;
}

static enum status nobody_leaves_a_barrier_before_the_last_comes(struct transport *t, void *context)
{
    (void)context;
    for (int repeat = 0; repeat < 4; repeat++) {
        sleep_ns((int64_t)((t->rank + repeat) % t->size) * 3000000);
        int64_t times[2 * MOST_RANKS];
        times[2 * t->rank] = clock_now_ns();
        TRY(transport_barrier(t));
        times[2 * t->rank + 1] = clock_now_ns();
        TRY(transport_gather_each(t, &times[2 * t->rank], times, 2 * sizeof times[0]));
        bool held = true;
        for (int rank = 0; rank < t->size; rank++)
            held = held && times[2 * t->rank + 1] >= times[2 * rank];
        expect_on_all_ranks(t, held);
    }
    return STATUS_OK;
}

static enum status counters_are_exact(struct transport *t, void *context)
{
    (void)context;
    const struct transport_counters before = t->counters;
    struct traffic traffic;
    traffic_init(&traffic, t->size, 70000);
    bool right = true;
    enum status status = exchange(t, &traffic, TRANSPORT_KEYS, 1, 70000, &right);
    if (status == STATUS_OK)
        status = exchange(t, &traffic, TRANSPORT_SCORE, 1, 12, &right);
    traffic_deinit(&traffic, t->size);
    TRY(status);
    size_t offsets[MOST_RANKS];
    size_t sizes[MOST_RANKS];
    unsigned char all[MOST_RANKS * MOST_RANKS] = {0};
    size_t others = 0;
    for (int rank = 0; rank < t->size; rank++) {
        offsets[rank] = (size_t)rank * MOST_RANKS;
        sizes[rank] = (size_t)rank;
        others += rank == t->rank ? 0 : (size_t)rank;
    }
    TRY(transport_gather(t, all + offsets[t->rank], all, offsets, sizes));
    int word = 0;
    TRY(transport_broadcast(t, &word, sizeof word));

    const struct transport_counters now = t->counters;
    const size_t peers = (size_t)t->size - 1;
    const bool root = t->rank == 0;
    expect_on_all_ranks(t, now.sent_bytes[TRANSPORT_KEYS] - before.sent_bytes[TRANSPORT_KEYS] ==
                               peers * 70000);
    expect_on_all_ranks(t, now.received_bytes[TRANSPORT_KEYS] -
                                   before.received_bytes[TRANSPORT_KEYS] ==
                               peers * 70000);
    expect_on_all_ranks(t, now.sent_bytes[TRANSPORT_SCORE] - before.sent_bytes[TRANSPORT_SCORE] ==
                               peers * 12);
    expect_on_all_ranks(t, now.sent_bytes[TRANSPORT_STATE] - before.sent_bytes[TRANSPORT_STATE] ==
                               peers * (size_t)t->rank);
    expect_on_all_ranks(
        t, now.received_bytes[TRANSPORT_STATE] - before.received_bytes[TRANSPORT_STATE] == others);
    expect_on_all_ranks(t,
                        now.sent_bytes[TRANSPORT_VERDICT] - before.sent_bytes[TRANSPORT_VERDICT] ==
                            (root ? peers * sizeof word : 0));
    expect_on_all_ranks(t, now.received_bytes[TRANSPORT_VERDICT] -
                                   before.received_bytes[TRANSPORT_VERDICT] ==
                               (root ? 0 : sizeof word));
    /* One to each peer that is sent something, of any length. */
    for (int channel = 0; channel < TRANSPORT_ORDER; channel++) {
        const bool sends = channel == TRANSPORT_KEYS || channel == TRANSPORT_SCORE ||
                           (channel == TRANSPORT_STATE && t->rank > 0) ||
                           (channel == TRANSPORT_VERDICT && root);
        expect_on_all_ranks(t, now.sent_messages[channel] - before.sent_messages[channel] ==
                                   (sends ? peers : 0));
    }
    return STATUS_OK;
}

/* Rank 0 takes three times the silence, marking as it goes; rank r waits for r - 1, so all but rank
 * 1 wait for a rank that itself only waits. */
static enum status a_peer_that_moves_is_waited_for(struct transport *t, void *context)
{
    (void)context;
    int token = t->rank == 0 ? 42 : 0;
    struct transport_request *request;
    TRY(transport_barrier(t));
    transport_set_silence(t, TRANSPORT_ENDINGS_SILENCE_NS);
    for (int i = 0; i < 30 && t->rank == 0; i++) {
        sleep_ns(TRANSPORT_ENDINGS_SILENCE_NS / 10);
        transport_mark(t);
        TRY(transport_progress(t));
    }
    if (t->rank > 0) {
        TRY(transport_receive(t, t->rank - 1, TRANSPORT_STATE, &token, sizeof token, &request));
        TRY(transport_wait(t, request));
    }
    if (t->rank + 1 < t->size) {
        TRY(transport_send(t, t->rank + 1, TRANSPORT_STATE, &token, sizeof token, &request));
        TRY(transport_wait(t, request));
    }
    transport_set_silence(t, PATIENCE_NS);
    expect_on_all_ranks(t, token == 42);
    expect_on_all_ranks(t,
                        t->rank == 0 || t->counters.waited_ns > 2 * TRANSPORT_ENDINGS_SILENCE_NS);
    return STATUS_OK;
}

static enum status a_hint_reaches_all_and_only_grows(struct transport *t, void *context)
{
    (void)context;
    expect_on_all_ranks(t, transport_hinted(t) == 0);
    if (t->rank == t->size - 1)
        transport_hint(t, 7);
    const int64_t end_ns = clock_now_ns() + 2000000000;
    while (transport_hinted(t) != 7 && clock_now_ns() < end_ns)
        TRY(transport_progress(t));
    expect_on_all_ranks(t, transport_hinted(t) == 7);
    transport_hint(t, 3);
    expect_on_all_ranks(t, transport_hinted(t) == 7);
    return STATUS_OK;
}

const struct transport_case transport_contract_cases[] = {
    {"messages_arrive_whole", messages_arrive_whole, false, 1},
    {"channels_keep_their_own_order", channels_keep_their_own_order, false, 1},
    {"gather_takes_unequal_and_empty_parts", gather_takes_unequal_and_empty_parts, false, 1},
    {"gather_copies_from_elsewhere", gather_copies_from_elsewhere, false, 1},
    {"gather_each_lays_parts_by_rank", gather_each_lays_parts_by_rank, false, 1},
    {"broadcast_reaches_slow_ranks", broadcast_reaches_slow_ranks, false, 1},
    {"nobody_leaves_a_barrier_before_the_last_comes", nobody_leaves_a_barrier_before_the_last_comes,
     false, 1},
    {"counters_are_exact", counters_are_exact, false, 1},
    {"a_peer_that_moves_is_waited_for", a_peer_that_moves_is_waited_for, false, 2},
    {"a_hint_reaches_all_and_only_grows", a_hint_reaches_all_and_only_grows, false, 1},
    {"sums_are_taken_in_the_order_of_ranks", transport_sums_scatter, false, 1},
    {"a_sum_reaches_every_rank", transport_sums_everywhere, false, 1},
    {"sums_are_counted", transport_sums_counters, false, 1},
    {"a_silent_peer_is_named", transport_endings_silence, true, 2},
    {"ranks_that_await_each_other_are_found", transport_endings_circle, true, 2},
    {"an_abort_ends_every_wait", transport_endings_abort, true, 1},
    {"another_size_is_refused", transport_endings_misfit, true, 2},
    {"requests_run_out_with_a_cause", transport_endings_exhaustion, true, 2},
};

const size_t transport_contract_count =
    sizeof transport_contract_cases / sizeof transport_contract_cases[0];
