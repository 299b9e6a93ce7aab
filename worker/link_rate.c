/* Owns nothing. Promises the same numbers for all ranks, and a link that is quiet again when it
 * returns. */
#include "worker/link_rate.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"

/* The best of several: a rank that is kept waiting by something else tells nothing of its link. */
enum { ROUND_BYTES = 1 << 20, ROUNDS = 4, SMALL_ROUNDS = 16, SMALL_BYTES = 8, BURST = 32 };

/* Of a large message, and how long it takes on a link that is slow (2.6 MB/s), and on one on which
 * the whole would take longer than a peer may be silent. */
enum { PIECE_BYTES = 1 << 17 };
static const double SLOW_SECONDS = 0.05, PIECES_SECONDS = 0.4;

/* What a rank waited: for a large message and for many small ones from the rank that it hears from,
 * and for the answer to a small one of the rank that it asks. */
struct times {
    double large[ROUNDS], burst[ROUNDS], answer[SMALL_ROUNDS];
};

/* A failed exchange leaves it to the transport, which may still write there. */
struct probe {
    struct transport_keepsake keepsake;
    char received[ROUND_BYTES];
    char sent[ROUND_BYTES];
};

/* All ranks, those of each host one behind the other. */
struct order {
    int *rank;  /* [size], by place */
    int *place; /* [size], by rank */
    int *host;  /* [size], by rank: the first rank of its host */
    int hosts;
    int host_ranks; /* of the host that has most */
};

/* ---- who is where ---- */

/* What a rank tells of its place. */
struct whereabouts {
    uint64_t host_hash;
    int local_rank, local_size;
};

static struct whereabouts find_own(const struct transport *transport)
{
    char name[256] = "";
    struct whereabouts own = {UINT64_C(14695981039346656037), /* FNV-1a */
                              transport->local_rank, transport->local_size};
    gethostname(name, sizeof name - 1);
    for (const char *c = name; *c; c++)
        own.host_hash = (own.host_hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    return own;
}

/* The first rank of each rank's host. Hosts that are called alike are told apart by their ranks'
 * numbers. */
static void find_hosts(struct order *order, const struct whereabouts *all, int size)
{
    bool one = true, alike = true;
    for (int r = 0; r < size; r++) {
        one = one && all[r].local_size == size;
        alike = alike && all[r].host_hash == all[0].host_hash;
    }
    for (int r = 0; r < size; r++) {
        int host = r;
        if (one)
            host = 0;
        else if (alike)
            while (host > 0 && all[host].local_rank > 0)
                host--;
        for (int other = 0; !one && !alike && other < host; other++)
            if (all[other].host_hash == all[r].host_hash)
                host = other;
        order->host[r] = host;
    }
}

static void put_in_order(struct order *order, int size)
{
    int place = 0;
    for (int host = 0; host < size; host++) {
        int ranks = 0;
        for (int r = host; r < size; r++) {
            if (order->host[r] != host)
                continue;
            order->place[r] = place;
            order->rank[place++] = r;
            ranks++;
        }
        order->hosts += ranks > 0;
        order->host_ranks = ranks > order->host_ranks ? ranks : order->host_ranks;
    }
}

static void order_deinit(struct order *order)
{
    free(order->rank);
    free(order->place);
    free(order->host);
}

static enum status order_init(struct order *order, struct transport *transport)
{
    const size_t size = (size_t)transport->size;
    const struct whereabouts mine = find_own(transport);
    struct whereabouts *all = calloc(size, sizeof *all);
    *order = (struct order){.rank = calloc(size, sizeof(int)),
                            .place = calloc(size, sizeof(int)),
                            .host = calloc(size, sizeof(int))};
    enum status status = STATUS_OK;
    if (!all || !order->rank || !order->place || !order->host)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to list the hosts of %zu ranks", size);
    if (status == STATUS_OK)
        status = transport_gather_each(transport, &mine, all, sizeof mine);
    if (status == STATUS_OK) {
        find_hosts(order, all, transport->size);
        put_in_order(order, transport->size);
    } else {
        order_deinit(order);
    }
    free(all);
    return status;
}

/* Whom a rank sends to: the rank `step` places ahead, or with 0 the next one of its host. */
static int next_of(const struct order *order, int rank, int step, int size)
{
    const int place = order->place[rank];
    if (step > 0)
        return order->rank[(place + step) % size];
    const int next = place + 1 < size ? order->rank[place + 1] : rank;
    return order->host[next] == order->host[rank] && next != rank ? next : order->host[rank];
}

/* Whom it hears from then. */
static int previous_of(const struct order *order, int rank, int step, int size)
{
    int previous = 0;
    while (next_of(order, previous, step, size) != rank)
        previous++;
    return previous;
}

/* ---- timing ---- */

/* Sends `count` messages to one rank while as many come from another, and tells when they were
 * there. */
static enum status exchange(double *seconds, struct transport *transport, struct probe *probe,
                            const int peers[2], size_t bytes, int count)
{
    struct transport_request *received[BURST], *sent[BURST];
    const int64_t begun_ns = clock_now_ns();
    for (int m = 0; m < count; m++)
        TRY(transport_receive(transport, peers[1], TRANSPORT_KEYS,
                              probe->received + (size_t)m * bytes, bytes, &received[m]));
    for (int m = 0; m < count; m++)
        TRY(transport_send(transport, peers[0], TRANSPORT_KEYS, probe->sent, bytes, &sent[m]));
    for (int m = 0; m < count; m++)
        TRY(transport_wait(transport, received[m]));
    *seconds = clock_seconds_since(begun_ns);
    for (int m = 0; m < count; m++)
        TRY(transport_wait(transport, sent[m]));
    return STATUS_OK;
}

/* Asks one rank and answers another. */
static enum status ask(double *seconds, struct transport *transport, struct probe *probe,
                       const int peers[2])
{
    struct transport_request *asked, *answered, *sent[2];
    const int64_t begun_ns = clock_now_ns();
    TRY(transport_receive(transport, peers[1], TRANSPORT_KEYS, probe->received, SMALL_BYTES,
                          &asked));
    TRY(transport_send(transport, peers[0], TRANSPORT_KEYS, probe->sent, SMALL_BYTES, &sent[0]));
    TRY(transport_wait(transport, asked));
    TRY(transport_send(transport, peers[1], TRANSPORT_KEYS, probe->sent, SMALL_BYTES, &sent[1]));
    TRY(transport_receive(transport, peers[0], TRANSPORT_KEYS, probe->received + SMALL_BYTES,
                          SMALL_BYTES, &answered));
    TRY(transport_wait(transport, answered));
    *seconds = clock_seconds_since(begun_ns);
    TRY(transport_wait(transport, sent[0]));
    return transport_wait(transport, sent[1]);
}

static enum status time_small(struct times *mine, struct transport *transport, struct probe *probe,
                              const int peers[2])
{
    for (int round = 0; round < SMALL_ROUNDS; round++)
        TRY(ask(&mine->answer[round], transport, probe, peers));
    for (int round = 0; round < ROUNDS; round++)
        TRY(exchange(&mine->burst[round], transport, probe, peers, SMALL_BYTES, BURST));
    return STATUS_OK;
}

/* The longest that any rank took. */
static enum status find_longest(double *longest, struct transport *transport, double seconds,
                                double *all)
{
    TRY(transport_gather_each(transport, &seconds, all, sizeof *all));
    *longest = 0;
    for (int rank = 0; rank < transport->size; rank++)
        *longest = all[rank] > *longest ? all[rank] : *longest;
    return STATUS_OK;
}

/* Large messages; where the link is slow a single one, and where it is very slow in pieces, so that
 * no peer is silent for as long as the whole takes. */
static enum status time_large(struct times *mine, struct transport *transport, struct probe *probe,
                              const int peers[2], double *all)
{
    const bool alone = peers[0] == transport->rank;
    double piece = 0, longest;
    if (!alone)
        TRY(exchange(&piece, transport, probe, peers, PIECE_BYTES, 1));
    TRY(find_longest(&longest, transport, piece, all));
    const int pieces = longest > PIECES_SECONDS ? ROUND_BYTES / PIECE_BYTES : 1;
    const int rounds = longest > SLOW_SECONDS ? 1 : ROUNDS;
    for (int round = 0; round < ROUNDS; round++) {
        if (round >= rounds)
            mine->large[round] = mine->large[0];
        for (int p = 0; p < pieces && !alone && round < rounds; p++) {
            TRY(exchange(&piece, transport, probe, peers, ROUND_BYTES / (size_t)pieces, 1));
            mine->large[round] += piece;
        }
    }
    return STATUS_OK;
}

/* ---- comparing ---- */

/* In one step, the ranks of one host that send to those of another. */
struct senders {
    const struct order *order;
    const struct times *all;
    int step, size;
    int from, to; /* hosts */
};

static bool sends(const struct senders *who, int rank)
{
    const int peer = next_of(who->order, rank, who->step, who->size);
    return who->order->host[rank] == who->from && who->order->host[peer] == who->to;
}

/* A round is as long as for the rank that waited longest in it: where a link is shared, others are
 * done sooner. `offset`: of the rounds in struct times; `hears`: of the ranks that are sent to. */
static double shortest_round(const struct senders *who, size_t offset, int rounds, bool hears)
{
    double shortest = 0;
    for (int round = 0; round < rounds; round++) {
        double longest = 0;
        for (int rank = 0; rank < who->size; rank++) {
            const int waits = hears ? next_of(who->order, rank, who->step, who->size) : rank;
            const double *seconds =
                (const double *)(const void *)((const char *)&who->all[waits] + offset);
            if (sends(who, rank) && seconds[round] > longest)
                longest = seconds[round];
        }
        if (round == 0 || longest < shortest)
            shortest = longest;
    }
    return shortest;
}

/* There and back a small message takes twice as long. */
static struct cost_link link_of(const struct senders *who)
{
    const double small =
        shortest_round(who, offsetof(struct times, answer), SMALL_ROUNDS, false) / 2;
    const double burst = shortest_round(who, offsetof(struct times, burst), ROUNDS, true);
    const double large = shortest_round(who, offsetof(struct times, large), ROUNDS, true);
    /* What a large message takes beyond a small one, unless clocks say nonsense. */
    const double flowing = large - small > large / 8 ? large - small : large / 8;
    return (struct cost_link){
        .bytes_per_second = ROUND_BYTES / flowing,
        .latency_s = small,
        .message_s = burst > small ? (burst - small) / (BURST - 1) : 0,
    };
}

static void note_slowest(struct cost_link *slowest, const struct cost_link *link)
{
    if (slowest->bytes_per_second == 0 || link->bytes_per_second < slowest->bytes_per_second)
        slowest->bytes_per_second = link->bytes_per_second;
    if (link->latency_s > slowest->latency_s)
        slowest->latency_s = link->latency_s;
    if (link->message_s > slowest->message_s)
        slowest->message_s = link->message_s;
}

/* Adds the pairs of hosts that a step has measured; only the one within hosts tells of these. */
static void note_step(struct link_rates *rates, const struct order *order, const struct times *all,
                      int step, int size)
{
    for (int rank = 0; rank < size; rank++) {
        const int peer = next_of(order, rank, step, size);
        const struct senders who = {order, all, step, size, order->host[rank], order->host[peer]};
        const bool within = who.from == who.to;
        bool known = within != (step == 0) || peer == rank;
        for (int other = 0; other < rank && !known; other++)
            known = sends(&who, other);
        if (known)
            continue;
        const struct link_rate pair = {who.from, who.to, link_of(&who)};
        note_slowest(within ? &rates->within : &rates->between, &pair.link);
        if (rates->count < LINK_RATE_PAIRS_MAX)
            rates->pairs[rates->count++] = pair;
    }
}

/* ---- the whole ---- */

static enum status measure_step(struct link_rates *rates, struct transport *transport,
                                struct probe *probe, const struct order *order, int step)
{
    const int size = transport->size;
    const int peers[2] = {next_of(order, transport->rank, step, size),
                          previous_of(order, transport->rank, step, size)};
    struct times mine = {.large = {0}};
    struct times *all = calloc((size_t)size, sizeof *all);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to compare the links of %d ranks", size);
    enum status status = STATUS_OK;
    if (peers[0] != transport->rank)
        status = time_small(&mine, transport, probe, peers);
    if (status == STATUS_OK)
        status = time_large(&mine, transport, probe, peers, all->large);
    if (status == STATUS_OK)
        status = transport_gather_each(transport, &mine, all, sizeof *all);
    if (status == STATUS_OK)
        note_step(rates, order, all, step, size);
    free(all);
    return status;
}

static enum status measure_steps(struct link_rates *rates, struct transport *transport,
                                 struct probe *probe, const struct order *order)
{
    const int away =
        order->hosts - 1 < LINK_RATE_HOSTS_AWAY ? order->hosts - 1 : LINK_RATE_HOSTS_AWAY;
    rates->host_ranks = order->host_ranks;
    if (order->host_ranks > 1)
        TRY(measure_step(rates, transport, probe, order, 0));
    for (int k = 1; k <= away && k * order->host_ranks < transport->size; k++)
        TRY(measure_step(rates, transport, probe, order, k * order->host_ranks));
    return STATUS_OK;
}

enum status link_rate_measure(struct link_rates *rates, struct transport *transport)
{
    struct link_rates made = {.host_ranks = transport->size};
    struct order order;
    *rates = made;
    if (transport->size == 1 || strcmp(transport->name, "nccl") == 0)
        return STATUS_OK;
    struct probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to measure the link between ranks");
    enum status status = order_init(&order, transport);
    if (status == STATUS_OK) {
        status = measure_steps(&made, transport, probe, &order);
        order_deinit(&order);
    }
    if (status != STATUS_OK) {
        transport_keep(transport, &probe->keepsake);
        return status;
    }
    free(probe);
    *rates = made;
    return STATUS_OK;
}
