/* Owns the symbolic run. Promises that whatever a rank reads it really has, in the frame it reads
 * it in, and that a schedule which waits for itself is found: messages and reads proceed one at a
 * time, in random order, under the rules of proto/plan/schedule.h. */
#include "tests/support/plan_world.h"

#include <math.h>

#include "proto/plan/cost.h"
#include "tests/support/unit.h"

enum { RECEIVES_MAX = 256, OWNED = WORLD_RANKS };

/* Two elements of everything would hide a swapped factor; these differ. */
static const struct model_shape shape = {
    .layers = 3, .hidden = 40, .heads = 6, .kv_heads = 2, .head_dim = 5, .ffn = 70, .vocab = 90};

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s: stage [%lld, %lld): %s", world->label,                                   \
                     (long long)world->schedule.stage.first, (long long)world->schedule.stage.end, \
                     #condition);                                                                  \
    } while (0)

/* Where a rank stands in carrying out its part. */
struct progress {
    int posted; /* receives that have a slot, or had one */
    int reads;
    bool arrived[RECEIVES_MAX];
    bool attended[RECEIVES_MAX];
    int sent_to[WORLD_RANKS]; /* sends done, by peer */
    int unsent[RECEIVES_MAX]; /* forwards still to do, by receive */
};

void world_init(struct world *world)
{
    if (choice_check(&world->choice) != STATUS_OK)
        fail_msg("%s: %s", world->label, status_message());
    assert_int_equal(ownership_create(&world->ownership, world->choice.group.workers,
                                      world->choice.group.panel_tokens),
                     STATUS_OK);
    assert_int_equal(schedule_init(&world->schedule, world->choice.group.workers), STATUS_OK);
}

void world_deinit(struct world *world)
{
    schedule_deinit(&world->schedule);
    ownership_destroy(world->ownership);
}

static bool sees(const struct world *world, int64_t i, int64_t j, double *distance)
{
    bool far;
    return world->sees(world->definition, i, j, distance, &far);
}

/* Whether some query of the context reads a sink unrotated. */
static bool needs_far_sinks(const struct world *world)
{
    for (int64_t i = 0; i < world->choice.request.context_tokens; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double distance;
            bool far = false;
            if (world->sees(world->definition, i, j, &distance, &far) && far)
                return true;
        }
    }
    return false;
}

/* ---- before a stage ---- */

/* Forgets dead panels, stores what every rank computes itself: its rows, and the sinks. */
static void store_keys(struct world *world, struct span stage)
{
    const int64_t live =
        ownership_live_first(world->ownership, stage.first, bands_reach(&world->bands));
    for (int r = 0; r < world->choice.group.workers; r++) {
        for (int64_t j = 0; j < live; j++)
            world->cached[r][j] = false;
        for (int64_t j = stage.first; j < stage.end; j++)
            world->cached[r][j] = ownership_owner(world->ownership, j) == r;
        int64_t panels = 0;
        int64_t counted = -1;
        for (int64_t j = 0; j < stage.end; j++) {
            if (world->cached[r][j] && j / world->choice.group.panel_tokens != counted) {
                counted = j / world->choice.group.panel_tokens;
                panels++;
            }
        }
        if (panels > world->panels_max[r])
            world->panels_max[r] = panels;
    }
}

static void store_sinks(struct world *world, int r, struct span rows)
{
    for (int64_t i = rows.first; i < rows.end && i < world->bands.sinks; i++) {
        world->far_sinks[r][i] = true;
        world->near_sinks[r][i] = true;
    }
}

/* The ranks' owned rows are the stage, once; recomputed rows are the sinks a rank does not own. */
static void check_queries(struct world *world)
{
    int owners[WORLD_TOKENS] = {0};
    const bool keeps_sinks = needs_far_sinks(world);
    CHECK(schedule_keeps_sinks(&world->choice, &world->bands) == keeps_sinks);
    for (int r = 0; r < world->choice.group.workers; r++) {
        const struct schedule_rank *rank = &world->schedule.ranks[r];
        int rows[WORLD_TOKENS] = {0};
        int64_t count = 0;
        for (int q = 0; q < rank->query_count; q++) {
            CHECK(rank->queries[q].first < rank->queries[q].end);
            store_sinks(world, r, rank->queries[q]);
            for (int64_t i = rank->queries[q].first; i < rank->queries[q].end; i++) {
                const bool recomputed = q < rank->recomputed_count;
                CHECK(i >= world->schedule.stage.first && i < world->schedule.stage.end);
                CHECK(world->schedule.replicated || world->cached[r][i] != recomputed);
                CHECK(!recomputed || i < world->bands.sinks);
                owners[i] += !recomputed;
                rows[i]++;
                count++;
            }
        }
        CHECK(count == rank->rows);
        if (count > world->rows_max[r])
            world->rows_max[r] = count;
        for (int64_t i = world->schedule.stage.first; i < world->schedule.stage.end; i++) {
            const bool own = world->schedule.replicated || world->cached[r][i];
            CHECK(rows[i] == (own || (keeps_sinks && i < world->bands.sinks)));
        }
    }
    for (int64_t i = world->schedule.stage.first; i < world->schedule.stage.end; i++)
        CHECK(owners[i] == (world->schedule.replicated ? world->choice.group.workers : 1));
}

/* ---- a stage's arithmetic ---- */

static bool has_key(const struct world *world, int r, const struct schedule_read *read, int64_t j)
{
    switch (read->source) {
    case SCHEDULE_SINKS:
        return world->far_sinks[r][j];
    case SCHEDULE_SINKS_NEAR:
        return world->near_sinks[r][j];
    case SCHEDULE_LOCAL:
        return world->cached[r][j];
    case SCHEDULE_RECEIVED:
        return true; /* its arrival and its extent are checked by the caller */
    }
    return false;
}

/* What the attention kernel does with one row of one read. */
static void attend_row(struct world *world, int r, const struct schedule_read *read, int64_t i,
                       bool recomputed)
{
    const enum bands_store store = read->source == SCHEDULE_SINKS ? BANDS_SINKS : BANDS_PANELS;
    const struct bands *bands = &world->bands;
    for (int64_t j = read->keys.first; j < read->keys.end; j++) {
        const struct band *band = bands_find(bands, i, j);
        if (!band || bands_store_of(bands, band) != store)
            continue;
        const double computed = bands_position(&bands->query_frame[band->query_frame], i) -
                                bands_position(&bands->key_frame[band->key_frame], j);
        double expected = 0;
        CHECK(has_key(world, r, read, j));
        CHECK(sees(world, i, j, &expected));
        CHECK(fabs(computed - expected) < 1e-12);
        world->computed[recomputed ? r : OWNED][i][j]++;
        world->pairs[r]++;
    }
}

static void attend(struct world *world, int r, const struct schedule_read *read)
{
    const struct schedule_rank *rank = &world->schedule.ranks[r];
    CHECK(read->keys.first < read->keys.end);
    CHECK(read->query_first >= 0 && read->query_first < read->query_end);
    CHECK(read->query_end <= rank->query_count);
    const int64_t before = world->pairs[r];
    for (int q = read->query_first; q < read->query_end; q++) {
        const bool recomputed = q < rank->recomputed_count;
        for (int64_t i = rank->queries[q].first; i < rank->queries[q].end; i++)
            attend_row(world, r, read, i, recomputed);
    }
    CHECK(world->pairs[r] > before);
}

/* Every visible pair once, nothing else, for the owned rows and for each rank's recomputed ones. */
static void check_pairs(struct world *world)
{
    const bool keeps_sinks = needs_far_sinks(world);
    for (int64_t i = world->schedule.stage.first; i < world->schedule.stage.end; i++) {
        for (int64_t j = 0; j < world->schedule.stage.end; j++) {
            double distance;
            const int visible = sees(world, i, j, &distance);
            CHECK(world->computed[OWNED][i][j] == visible);
            for (int r = 0; r < world->choice.group.workers; r++) {
                const bool recomputed = !world->schedule.replicated && !world->cached[r][i] &&
                                        keeps_sinks && i < world->bands.sinks;
                CHECK(world->computed[r][i][j] == (recomputed ? visible : 0));
            }
        }
    }
    for (int r = 0; r < world->choice.group.workers; r++)
        CHECK(world->schedule.ranks[r].pairs == world->pairs[r]);
}

/* ---- a stage's messages ---- */

static bool reads(const struct world *world, int r, struct span keys)
{
    const struct schedule_rank *rank = &world->schedule.ranks[r];
    for (int q = rank->recomputed_count; q < rank->query_count; q++)
        for (int64_t i = rank->queries[q].first; i < rank->queries[q].end; i++)
            for (int64_t j = keys.first; j < keys.end; j++) {
                double distance;
                bool far = false;
                if (world->sees(world->definition, i, j, &distance, &far) && !far)
                    return true;
            }
    return false;
}

static void check_receive(struct world *world, int r, const struct schedule_receive *receive)
{
    const int64_t panel = world->choice.group.panel_tokens;
    const struct span keys = receive->keys;
    CHECK(keys.first < keys.end);
    CHECK(keys.first % panel == 0 && keys.end % panel == 0);
    CHECK(keys.first / world->choice.group.block_tokens ==
          (keys.end - 1) / world->choice.group.block_tokens);
    CHECK(receive->from != r && receive->from >= 0 && receive->from < world->choice.group.workers);
    CHECK(reads(world, r, keys));
    if (world->choice.request.schedule != CHOICE_RING) {
        CHECK(reads(world, r, (struct span){keys.first, keys.first + panel}));
        CHECK(reads(world, r, (struct span){keys.end - panel, keys.end}));
        CHECK(ownership_owner(world->ownership, keys.first) == receive->from);
    }
}

/* The place in r's receives of the n-th message from `from`; -1 if there are fewer. */
static int find_receive(const struct world *world, int r, int from, int n)
{
    const struct schedule_rank *rank = &world->schedule.ranks[r];
    for (int k = 0; k < rank->receive_count; k++)
        if (rank->receives[k].from == from && n-- == 0)
            return k;
    return -1;
}

static bool holds(const struct world *world, int r, const struct progress *progress,
                  const struct schedule_send *send)
{
    if (send->receive < 0) {
        for (int64_t j = send->keys.first; j < send->keys.end; j++)
            if (!world->cached[r][j])
                fail_msg("%s: rank %d sends key %lld, not its own", world->label, r, (long long)j);
        return true;
    }
    const struct span have = world->schedule.ranks[r].receives[send->receive].keys;
    CHECK(send->keys.first >= have.first && send->keys.end <= have.end);
    return progress->arrived[send->receive];
}

/* Does r's first possible send: the next one to some peer, if r holds the block and the peer has
 * posted its receive. */
static bool try_send(struct world *world, int r, struct progress *all)
{
    const struct schedule_rank *rank = &world->schedule.ranks[r];
    bool tried[WORLD_RANKS] = {false};
    int nth[WORLD_RANKS] = {0};
    for (int s = 0; s < rank->send_count; s++) {
        const struct schedule_send *send = &rank->sends[s];
        if (nth[send->to]++ < all[r].sent_to[send->to] || tried[send->to])
            continue;
        tried[send->to] = true;
        const int k = find_receive(world, send->to, r, all[r].sent_to[send->to]);
        CHECK(k >= 0);
        const struct schedule_receive *receive = &world->schedule.ranks[send->to].receives[k];
        CHECK(receive->keys.first == send->keys.first && receive->keys.end == send->keys.end);
        if (k >= all[send->to].posted || !holds(world, r, &all[r], send))
            continue;
        all[send->to].arrived[k] = true;
        all[r].sent_to[send->to]++;
        if (send->receive >= 0)
            all[r].unsent[send->receive]--;
        return true;
    }
    return false;
}

static bool try_post(struct world *world, int r, struct progress *progress)
{
    const struct schedule_rank *rank = &world->schedule.ranks[r];
    int busy = 0;
    for (int k = 0; k < progress->posted; k++)
        busy += !progress->attended[k] || progress->unsent[k] > 0;
    if (progress->posted == rank->receive_count || busy == world->choice.group.receive_slots)
        return false;
    progress->posted++;
    return true;
}

static bool try_read(struct world *world, int r, struct progress *progress)
{
    const struct schedule_rank *rank = &world->schedule.ranks[r];
    if (progress->reads == rank->read_count)
        return false;
    const struct schedule_read *read = &rank->reads[progress->reads];
    if (read->source == SCHEDULE_RECEIVED) {
        CHECK(read->receive >= 0 && read->receive < rank->receive_count);
        const struct span have = rank->receives[read->receive].keys;
        CHECK(read->keys.first >= have.first && read->keys.end <= have.end);
        if (!progress->arrived[read->receive])
            return false;
        progress->attended[read->receive] = true;
    } else {
        CHECK(read->receive == -1);
    }
    attend(world, r, read);
    progress->reads++;
    return true;
}

static void start_progress(struct world *world, struct progress *all)
{
    memset(all, 0, WORLD_RANKS * sizeof *all);
    for (int r = 0; r < world->choice.group.workers; r++) {
        const struct schedule_rank *rank = &world->schedule.ranks[r];
        CHECK(rank->receive_count <= RECEIVES_MAX);
        for (int k = 0; k < rank->receive_count; k++)
            check_receive(world, r, &rank->receives[k]);
        for (int s = 0; s < rank->send_count; s++)
            if (rank->sends[s].receive >= 0)
                all[r].unsent[rank->sends[s].receive]++;
    }
}

/* Carries out all ranks' parts, one action at a time, until none is possible. */
static void run_ranks(struct world *world, struct progress *all)
{
    const int workers = world->choice.group.workers;
    for (int idle = 0; idle < 3 * workers;) {
        const int first = (int)cases_between(&world->random, 0, 3 * workers - 1);
        for (idle = 0; idle < 3 * workers; idle++) {
            const int action = (first + idle) % (3 * workers);
            const int r = action / 3;
            const bool done = action % 3 == 0   ? try_send(world, r, all)
                              : action % 3 == 1 ? try_post(world, r, &all[r])
                                                : try_read(world, r, &all[r]);
            if (done)
                break;
        }
    }
    for (int r = 0; r < workers; r++) {
        const struct schedule_rank *rank = &world->schedule.ranks[r];
        int sent = 0;
        for (int peer = 0; peer < workers; peer++)
            sent += all[r].sent_to[peer];
        CHECK(all[r].reads == rank->read_count);
        CHECK(all[r].posted == rank->receive_count);
        CHECK(sent == rank->send_count);
        for (int k = 0; k < rank->receive_count; k++)
            CHECK(all[r].arrived[k] && all[r].attended[k]);
    }
}

/* The far sinks first, then, except in a ring, ascending keys. */
static void check_order(struct world *world)
{
    for (int r = 0; r < world->choice.group.workers; r++) {
        const struct schedule_rank *rank = &world->schedule.ranks[r];
        int64_t next = -1;
        for (int s = 0; s < rank->read_count; s++) {
            const struct schedule_read *read = &rank->reads[s];
            if (read->source == SCHEDULE_SINKS)
                CHECK(s == 0);
            else if (read->source == SCHEDULE_SINKS_NEAR)
                CHECK(next == -1 && read->query_end <= rank->recomputed_count);
            else if (world->choice.request.schedule != CHOICE_RING) {
                CHECK(read->keys.first >= next);
                next = read->keys.end;
            }
        }
    }
}

/* Predicted bytes against what the lists add up to, both ways. */
static void check_bytes(struct world *world)
{
    struct cost costs[WORLD_RANKS];
    const struct cost_table table = cost_table_default();
    const enum choice_cache cache = world->choice.group.cache;
    const int64_t row = cache == CHOICE_CACHE_INT8 ? 5 + 2 : cache == CHOICE_CACHE_BF16 ? 10 : 20;
    struct bands bands;
    method_bands(&world->choice.request.method, &bands);
    const int64_t records = bands.panel_frames + 1; /* of keys, and one of values */
    cost_stage(costs, &world->schedule, &world->choice, &shape, &table);
    for (int r = 0; r < world->choice.group.workers; r++) {
        const struct schedule_rank *rank = &world->schedule.ranks[r];
        int64_t received = 0;
        int64_t sent = 0;
        for (int k = 0; k < rank->receive_count; k++)
            received += rank->receives[k].keys.end - rank->receives[k].keys.first;
        for (int s = 0; s < rank->send_count; s++)
            sent += rank->sends[s].keys.end - rank->sends[s].keys.first;
        received *= 3 * 2 * records * row;
        sent *= 3 * 2 * records * row;
        if (world->schedule.replicated) {
            CHECK(received == 0 && sent == 0);
            const int64_t rows = world->schedule.stage.end - world->schedule.stage.first;
            received = sent = (world->choice.group.workers - 1) * rows * 3 * 6 * (5 + 2) * 4;
        }
        CHECK(costs[r].received_bytes == received);
        CHECK(costs[r].sent_bytes == sent);
    }
}

static void run_schedule(struct world *world)
{
    static struct progress all[WORLD_RANKS];
    memset(world->computed, 0, sizeof world->computed);
    memset(world->pairs, 0, sizeof world->pairs);
    store_keys(world, world->schedule.stage);
    check_queries(world);
    start_progress(world, all);
    run_ranks(world, all);
    check_pairs(world);
    check_order(world);
    check_bytes(world);
}

void world_run_stage(struct world *world, struct span stage)
{
    if (schedule_make(&world->schedule, &world->choice, &world->bands, world->ownership, stage) !=
        STATUS_OK)
        fail_msg("%s: %s", world->label, status_message());
    CHECK(world->schedule.stage.first == stage.first && world->schedule.stage.end == stage.end);
    CHECK(world->schedule.replicated ==
          (choice_stage_queries(&world->choice, stage) == CHOICE_REPLICATED));
    run_schedule(world);
}

void world_decode(struct world *world, int64_t tokens)
{
    for (int64_t n = 0; n < tokens; n++) {
        const int64_t index = ownership_tokens(world->ownership);
        const struct span stage = {index, index + 1};
        assert_int_equal(ownership_advance(world->ownership, 1, PARTITION_ROUND_ROBIN, NULL),
                         STATUS_OK);
        world->schedule.stage = stage;
        world->schedule.replicated = true;
        for (int r = 0; r < world->choice.group.workers; r++)
            assert_int_equal(schedule_make_replicated(&world->schedule.ranks[r], &world->choice,
                                                      &world->bands, world->ownership, stage, r),
                             STATUS_OK);
        run_schedule(world);
    }
}
