/* Many sequences on one engine, at random: they come, some are refused by one rank, they go on side
 * by side, are cancelled and end, and each says what it says alone, bit for bit. On a small model
 * with random weights, by loopback; with the argument `standin`, on CUDA devices that stand in. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "proto/log.h"
#include "proto/model/model.h"
#include "proto/plan/chooser.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/model_fixture.h"
#include "tests/support/random.h"
#include "tests/support/ranks.h"
#include "tests/support/standin.h"
#include "tests/support/unit.h"
#include "worker/engine/turn.h"

enum {
    CONTEXT = 220,
    SEQUENCES = 7,
    POOL_SLOTS = 40,
    TEMPLATES = 15,
    IN_STAGES = 10, /* the template of a long prompt in whole stages */
    IN_A_RING = 14, /* the same, but for its schedule */
    ANSWER_MOST = 24,
    RUNS_MOST = 40000,
    DRAFTS_MOST = 7,
    MOST_RANKS = 4,
    NOBODY = -1,
    SEED = 20261129,
};

static struct model_fixture fixture = {
    .shape = {.layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 32},
    .tokens = CONTEXT};
static const struct engine_gpus *gpus; /* NULL: on the CPU */

/* A request, and what it says alone. */
struct template
{
    struct request_choice choice;
    struct engine_request request;
    int64_t id_count, score_count;
    struct logprobs said[ANSWER_MOST];
    float scores[CONTEXT];
};

/* One run of a template on one rank. */
struct run {
    struct template *template;
    struct engine_request request;
    bool records;   /* what it says is kept as the template's */
    bool cancelled; /* it may end early */
    bool wrong, done;
    int64_t id_count, score_count, cached_tokens;
    enum status status;
    struct engine_observer observer;
    int *began; /* counts the answers that begin in a turn */
};

/* What ranks share: rank 0 writes a run's template before it admits the run. */
struct game {
    const char *kernels;
    bool int8_cache;
    int ranks, threads, turns;
    int tensor; /* places of the tensor axis, which divide the ranks */
    struct model_shape shape;
    struct random random;
    struct template templates[TEMPLATES];
    int template_of[RUNS_MOST];
    bool records[RUNS_MOST]; /* the run is alone, and shares nothing */
    int refuser[RUNS_MOST];  /* the rank that cannot take the run; NOBODY: none */
    int untold;              /* the run of which ranks other than 0 are not told; 0: none */
    atomic_int admitted;     /* runs, numbered from 1 */
    atomic_bool over;
};

struct player {
    struct game *game;
    int rank;
    struct cuda_streams streams;
    struct run *runs; /* [RUNS_MOST] of this rank */
    int live, ended;
    int began;        /* answers, in the turn at hand */
    int shared_turns; /* that began more than one */
    int64_t cached_tokens;
    bool wrong;
};

/* ---- what is told ---- */

static void take_progress(void *context, int64_t tokens_done, int64_t tokens)
{
    (void)context;
    (void)tokens_done;
    (void)tokens;
}

static void take_token(void *context, int32_t id, const struct logprobs *logprobs)
{
    struct run *run = context;
    struct template *template = run->template;
    struct logprobs said = *logprobs;
    said.count = 1;
    said.ids[0] = id;
    said.likeliest[0] = logprobs->chosen;
    *run->began += run->id_count == 0;
    if (run->records)
        template->said[run->id_count] = said;
    else if (run->id_count >= template->id_count || template->said[run->id_count].ids[0] != id ||
             memcmp(&template->said[run->id_count].chosen, &logprobs->chosen, sizeof(float)) != 0)
        run->wrong = true;
    run->id_count++;
}

static void take_scores(void *context, int64_t first, const float *logprobs, int64_t count)
{
    struct run *run = context;
    struct template *template = run->template;
    if (run->records)
        memcpy(template->scores + first, logprobs, (size_t)count * sizeof *logprobs);
    else if (memcmp(template->scores + first, logprobs, (size_t)count * sizeof *logprobs) != 0)
        run->wrong = true;
    run->score_count += count;
}

static void take_end(void *context, enum status status, const struct engine_result *result)
{
    struct run *run = context;
    run->done = true;
    run->status = status;
    run->cached_tokens = result->cached_tokens;
    run->wrong |= status == STATUS_OK &&
                  result->cached_tokens + result->prefilled_tokens != run->request.count;
    run->wrong |= result->sent_bytes != result->predicted_sent_bytes && status == STATUS_OK;
    run->wrong |= result->received_bytes != result->predicted_received_bytes && status == STATUS_OK;
}

/* ---- requests ---- */

static enum status make_template(struct template *template, const struct engine *engine,
                                 const struct model_shape *shape, int which)
{
    const bool in_a_ring = which == IN_A_RING;
    static const char *const methods[] = {
        "rope", "string:shift=40,local=8", "lm_infinite:window=70,sinks=5",
        "rope", "rope+linear:factor=2",    "rope",
        "rope"};
    static const int64_t stages[] = {64, 0, 64, 17};
    const struct group_choice *group = engine_group(engine);
    const struct cost_table costs = cost_table_default();
    if (in_a_ring)
        which = IN_STAGES;
    struct chooser_request wanted = {
        .workers = group->workers,
        .context_tokens = CONTEXT,
        .kernels = group->kernels,
        .cache = group->cache,
        .partition = which % 4 < 2 ? PARTITION_ZIGZAG : PARTITION_CONTIGUOUS,
        .schedule = in_a_ring ? CHOICE_RING : -1,
        .queries = which % 7 == 5 ? CHOICE_REPLICATED : CHOICE_SHARDED,
        .decode_split = which % 2 ? DECODE_SPLIT_ALL : 0,
        .stage_tokens = stages[which % 4],
        .shared_memory_bus = true,
    };
    struct choice choice;
    if (wanted.queries == CHOICE_REPLICATED)
        wanted.stage_tokens = 64;
    TRY(method_parse(&wanted.method, methods[which % 7], shape->trained_tokens));
    TRY(chooser_choose(&choice, &wanted, shape, &costs));
    template->choice = choice.request;
    template->choice.context_tokens = 25 + 15 * which;
    template->request = (struct engine_request){
        .kind = which % 6 == 5 ? ENGINE_SCORE : ENGINE_GENERATE,
        .choice = &template->choice,
        .ids = fixture.ids + (which % 3 == 1), /* many begin alike */
        .tenant = which == 6 ? "another" : NULL,
        .reuse_prefix = which % 5 != 4,
        .count = template->choice.context_tokens - ANSWER_MOST > 0
                     ? template->choice.context_tokens - ANSWER_MOST
                     : 1,
        .max_tokens = which % 6 == 5 ? 0 : 1 + (which * 5) % 19,
        .sampling = {.temperature = which % 2 ? 0 : 1.2f,
                     .top_p = 1,
                     .repetition_penalty = 1.1f,
                     .seed = (uint64_t)which},
        .logprobs = true,
    };
    return STATUS_OK;
}

static struct run *begin_run(struct player *player, uint64_t number)
{
    struct run *run = &player->runs[number];
    struct template *template = &player->game->templates[player->game->template_of[number]];
    *run = (struct run){
        .template = template,
        .request = template->request,
        .records = player->game->records[number],
        .observer = {run, take_progress, take_token, take_scores, take_end},
        .began = &player->began,
    };
    run->request.reuse_prefix = run->request.reuse_prefix && !run->records;
    run->request.draft_tokens = run->records ? 0 : (int)(number % DRAFTS_MOST);
    if (player->game->refuser[number] == player->rank)
        run->request.refused = STATUS_RESOURCE_EXHAUSTED;
    run->request.refusal = "no room here";
    player->live++;
    return run;
}

static enum status find_run(void *context, uint64_t number, struct engine_job *job)
{
    const struct player *player = context;
    if (number == (uint64_t)player->game->untold)
        return fail(STATUS_UNAVAILABLE, "nobody told of this run");
    struct run *run = begin_run(context, number);
    *job = (struct engine_job){&run->request, &run->observer};
    return STATUS_OK;
}

static enum status admit(struct player *player, struct engine *engine, int template, bool records,
                         int refuser)
{
    struct game *game = player->game;
    const uint64_t number = (uint64_t)atomic_load(&game->admitted) + 1;
    game->template_of[number] = template;
    game->records[number] = records;
    game->refuser[number] = refuser;
    struct run *run = begin_run(player, number);
    atomic_store(&game->admitted, (int)number);
    return engine_admit(engine, number, &run->request, &run->observer);
}

/* ---- the game ---- */

/* Counts what has ended, and what it was. */
static void look_at_runs(struct player *player, int rank)
{
    const int admitted = atomic_load(&player->game->admitted);
    for (int number = player->ended + 1; number <= admitted; number++) {
        const struct run *run = &player->runs[number];
        if (!run->done)
            continue;
        const bool ended_well = run->status == STATUS_OK &&
                                (rank != 0 || (run->id_count == run->template->id_count &&
                                               run->score_count == run->template->score_count));
        const bool cancelled = run->status == STATUS_CANCELLED && (rank != 0 || run->cancelled);
        const bool refused =
            run->status == STATUS_RESOURCE_EXHAUSTED && player->game->refuser[number] != NOBODY;
        if (run->wrong || (!ended_well && !cancelled && !refused)) {
            printf("rank %d: run %d of template %d ended %s, wrong %d, %lld ids, %lld scores\n",
                   rank, number, player->game->template_of[number], status_name(run->status),
                   run->wrong, (long long)run->id_count, (long long)run->score_count);
            player->wrong = true;
        }
        player->cached_tokens += run->cached_tokens;
        player->runs[number].done = false;
        player->live--;
    }
    while (player->ended < admitted && player->runs[player->ended + 1].template &&
           player->live == 0)
        player->ended++;
}

/* A run of its own, to its end; *run is it. */
static enum status run_alone(struct player *player, struct engine *engine, struct run **run,
                             int template, bool records)
{
    TRY(admit(player, engine, template, records, NOBODY));
    *run = &player->runs[atomic_load(&player->game->admitted)];
    while (!(*run)->done) {
        bool busy;
        TRY(engine_step(engine, &busy));
    }
    return STATUS_OK;
}

/* A prompt that was read before is read from its last whole panel, or stage, on; not where keys
 * were attended to in another sequence. */
static enum status share(struct player *player, struct engine *engine)
{
    enum { WHOLE = 2 * BANDS_LANES };
    const struct {
        int template;
        int64_t cached_tokens;
    } reads[] = {{IN_STAGES, 0},
                 {IN_STAGES, WHOLE},
                 {IN_A_RING, player->game->ranks > player->game->tensor ? 0 : WHOLE}};
    for (size_t r = 0; r < sizeof reads / sizeof reads[0]; r++) {
        struct run *run;
        TRY(run_alone(player, engine, &run, reads[r].template, false));
        expect_on_rank((struct transport *)&(struct transport){0},
                       run->cached_tokens == reads[r].cached_tokens);
        look_at_runs(player, 0);
    }
    return STATUS_OK;
}

/* Two that come in one turn share what was read before, both of them. */
static enum status share_together(struct player *player, struct engine *engine)
{
    enum { TWO = 2, WHOLE = 2 * BANDS_LANES };
    const int before = atomic_load(&player->game->admitted);
    for (int n = 0; n < TWO; n++)
        TRY(admit(player, engine, IN_STAGES, false, NOBODY));
    for (int number = before + 1; number <= before + TWO; number++) {
        const struct run *run = &player->runs[number];
        while (!run->done) {
            bool busy;
            TRY(engine_step(engine, &busy));
        }
        expect_on_rank((struct transport *)&(struct transport){0}, run->cached_tokens == WHOLE);
    }
    look_at_runs(player, 0);
    return STATUS_OK;
}

/* Each alone, one after the other. */
static enum status record(struct player *player, struct engine *engine)
{
    for (int which = 0; which < TEMPLATES; which++) {
        struct run *run;
        TRY(run_alone(player, engine, &run, which, true));
        run->template->id_count = run->id_count;
        run->template->score_count = run->score_count;
        look_at_runs(player, 0);
        expect_on_rank((struct transport *)&(struct transport){0}, !player->wrong);
    }
    return STATUS_OK;
}

static void cancel_one(struct player *player, struct engine *engine)
{
    struct game *game = player->game;
    const int admitted = atomic_load(&game->admitted);
    const int number = admitted - (int)random_between(&game->random, 0, 2 * SEQUENCES);
    if (number < 1)
        return;
    player->runs[number].cancelled = true;
    engine_cancel(engine, (uint64_t)number, STATUS_CANCELLED);
}

/* One in eight cannot be taken by one rank, whichever that is. */
static enum status admit_any(struct player *player, struct engine *engine)
{
    struct random *random = &player->game->random;
    const int template = (int)random_between(random, 0, TEMPLATES);
    const bool refused = random_between(random, 0, 8) == 0;
    const int rank = (int)random_between(random, 0, player->game->ranks);
    return admit(player, engine, template, false, refused ? rank : NOBODY);
}

static enum status lead(struct player *player, struct engine *engine)
{
    struct game *game = player->game;
    bool busy = true;
    TRY(record(player, engine));
    TRY(share(player, engine));
    TRY(share_together(player, engine));
    for (int turn = 0; turn < game->turns; turn++) {
        if (player->live < 2 * SEQUENCES && random_between(&game->random, 0, 3) == 0)
            TRY(admit_any(player, engine));
        if (random_between(&game->random, 0, 25) == 0)
            cancel_one(player, engine);
        player->began = 0;
        TRY(engine_step(engine, &busy));
        player->shared_turns += player->began > 1;
        look_at_runs(player, 0);
    }
    while (player->live > 0) {
        TRY(engine_step(engine, &busy));
        look_at_runs(player, 0);
    }
    printf("%s: %d runs in %d turns, %lld tokens shared, %d turns began several answers\n",
           game->kernels, atomic_load(&game->admitted), game->turns,
           (long long)player->cached_tokens, player->shared_turns);
    /* Prompts go together where nothing travels, and the device takes several. */
    expect_on_rank((struct transport *)&(struct transport){0},
                   (player->shared_turns > 0) == (game->ranks == 1 && !gpus));
    return STATUS_OK;
}

static enum status follow(struct player *player, struct engine *engine, int rank)
{
    while (!atomic_load(&player->game->over)) {
        bool busy;
        TRY(engine_step(engine, &busy));
        look_at_runs(player, rank);
    }
    return STATUS_OK;
}

static enum status make_engine(struct engine **engine, struct player *player, struct transport *t)
{
    struct engine_options options =
        engine_ranks_options(player->game->kernels, CONTEXT, t, gpus ? &player->streams : NULL);
    options.int8_cache = player->game->int8_cache;
    struct model *model;
    options.threads = player->game->threads;
    options.group.sequences = SEQUENCES;
    options.group.pool_slots = POOL_SLOTS;
    options.group.workers = t->size / player->game->tensor;
    options.group.tensor = player->game->tensor;
    options.source = (struct engine_source){player, find_run};
    TRY(model_open(&model, fixture.path));
    enum status status = engine_create(engine, model, t, &options);
    if (t->rank == 0)
        player->game->shape = spec_shape(model_spec(model), 0);
    model_close(model);
    for (int which = 0; status == STATUS_OK && t->rank == 0 && which < TEMPLATES; which++)
        status =
            make_template(&player->game->templates[which], *engine, &player->game->shape, which);
    return status;
}

/* What comes after its engine has gone still finds memory. */
static enum status tell_too_late(struct transport *t)
{
    static const struct turn turn;
    struct transport_request *request;
    TRY(transport_barrier(t));
    for (int peer = 1; t->rank == 0 && peer < t->size; peer++)
        TRY(transport_send(t, peer, TRANSPORT_TURN, &turn, sizeof turn, &request));
    return transport_barrier(t);
}

static enum status play(struct transport *t, void *context)
{
    struct player *player = context;
    struct engine *engine = NULL;
    player->runs = calloc(RUNS_MOST, sizeof *player->runs);
    enum status status = player->runs ? make_engine(&engine, player, t)
                                      : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for runs");
    if (status == STATUS_OK)
        status = t->rank == 0 ? lead(player, engine) : follow(player, engine, t->rank);
    if (t->rank == 0)
        atomic_store(&player->game->over, true);
    if (status == STATUS_OK && player->wrong)
        status = fail(STATUS_INTERNAL, "a run said something else than alone");
    if (status == STATUS_OK && engine_pool_free(engine) != POOL_SLOTS)
        status = fail(STATUS_INTERNAL, "the pool does not end empty");
    if (status != STATUS_OK)
        transport_abort(t, status_message());
    else
        engine_destroy(engine);
    if (status == STATUS_OK && !gpus)
        status = tell_too_late(t);
    free(player->runs);
    return status;
}

/* ---- a rank that fails ---- */

/* Rank 1 leaves in the middle: what rank 0 had ends, all of it, and its engine is of no use. */
static enum status play_a_failure(struct transport *t, void *context)
{
    enum { RUNS = 2 * SEQUENCES, TURNS = 20 };
    struct player *player = context;
    struct engine *engine = NULL;
    enum status status = STATUS_OK;
    bool busy = true;
    player->runs = calloc(RUNS_MOST, sizeof *player->runs);
    expect_on_rank(t, player->runs != NULL);
    TRY(make_engine(&engine, player, t));
    for (int run = 0; t->rank == 0 && run < RUNS; run++)
        TRY(admit(player, engine, run % TEMPLATES, false, NOBODY));
    for (int turn = 0; status == STATUS_OK && (t->rank != 1 || turn < TURNS); turn += busy)
        status = engine_step(engine, &busy);
    if (t->rank == 1)
        transport_abort(t, "rank 1 leaves in the middle");
    expect_on_rank(t, t->rank == 1 || (status == STATUS_UNAVAILABLE && !engine_usable(engine)));
    int unavailable = 0;
    for (int number = 1; t->rank == 0 && number <= RUNS; number++) {
        expect_on_rank(t, player->runs[number].done);
        unavailable += player->runs[number].status == STATUS_UNAVAILABLE;
    }
    expect_on_rank(t, t->rank != 0 || unavailable > SEQUENCES);
    engine_destroy(engine);
    free(player->runs);
    return STATUS_OK;
}

/* Of three that come together nobody tells rank 1 of the last: those that it has found end, too. */
static enum status play_an_untold_run(struct transport *t, void *context)
{
    enum { RUNS = 3 };
    struct player *player = context;
    struct engine *engine = NULL;
    enum status status = STATUS_OK;
    bool busy = true;
    player->runs = calloc(RUNS_MOST, sizeof *player->runs);
    expect_on_rank(t, player->runs != NULL);
    if (t->rank == 0)
        player->game->untold = RUNS;
    TRY(make_engine(&engine, player, t));
    for (int run = 0; t->rank == 0 && run < RUNS; run++)
        TRY(admit(player, engine, run, false, NOBODY));
    while (status == STATUS_OK)
        status = engine_step(engine, &busy);
    expect_on_rank(t, status == STATUS_UNAVAILABLE && !engine_usable(engine));
    for (int number = 1; number <= RUNS - (t->rank != 0); number++) {
        expect_on_rank(t, player->runs[number].done);
        expect_on_rank(t, player->runs[number].status == STATUS_UNAVAILABLE);
    }
    engine_destroy(engine);
    free(player->runs);
    return STATUS_OK;
}

static enum status open_streams(struct transport **t, void *context)
{
    if (gpus)
        TRY(engine_ranks_open(t, &((struct player *)context)->streams, gpus));
    return STATUS_OK;
}

static void close_streams(void *context)
{
    cuda_streams_close(&((struct player *)context)->streams);
}

static void on_mesh(bool int8_cache, int ranks, int tensor, int threads, const char *kernels,
                    int turns, ranks_function *function)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct game *game = calloc(1, sizeof *game);
    struct player players[MOST_RANKS] = {0};
    void *contexts[MOST_RANKS];
    assert_non_null(game);
    game->kernels = kernels;
    game->int8_cache = int8_cache;
    game->ranks = ranks;
    game->tensor = tensor;
    game->threads = threads;
    game->turns = turns;
    game->random.state = SEED;
    for (int rank = 0; rank < ranks; rank++) {
        players[rank].game = game;
        players[rank].rank = rank;
        contexts[rank] = &players[rank];
    }
    assert_int_equal(ranks_run_in(ranks, NULL, &setting, function, contexts), STATUS_OK);
    free(game);
}

static void on_ranks(int ranks, int threads, const char *kernels, int turns,
                     ranks_function *function)
{
    on_mesh(false, ranks, 1, threads, kernels, turns, function);
}

static void each_says_what_it_says_alone(void **state)
{
    (void)state;
    print_message("seed %d\n", SEED);
    on_ranks(1, 1, "reference", gpus ? 1000 : 10000, play);
}

static void whatever_the_kernels(void **state)
{
    (void)state;
    for (int n = 0; !gpus && kernels_at(n); n++)
        if (kernels_runs_here(kernels_at(n)))
            on_ranks(1, 2, kernels_at(n)->name, 200, play);
}

static void and_over_int8_panels(void **state)
{
    (void)state;
    for (int ranks = 1; !gpus && ranks <= 2; ranks++) {
        on_mesh(true, ranks, 1, 1, "reference", 200, play);
        on_mesh(true, ranks, 1, 1, NULL, 200, play);
    }
}

static void and_on_several_ranks(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= (gpus ? 2 : MOST_RANKS); ranks++)
        on_ranks(ranks, 1, "reference", 300, play);
}

/* Weights shared out, also where heads are not alike on all ranks; beside two workers, too. */
static void and_over_a_tensor_axis(void **state)
{
    (void)state;
    for (int tensor = 2; !gpus && tensor <= 3; tensor++)
        on_mesh(tensor == 3, tensor, tensor, 1, "reference", 150, play);
    if (!gpus)
        on_mesh(false, MOST_RANKS, 2, 1, "reference", 100, play);
}

static void a_rank_that_fails_ends_all(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= 3; ranks++)
        on_ranks(ranks, 1, "reference", 0, play_a_failure);
}

static void requests_found_before_a_failure_end(void **state)
{
    (void)state;
    on_ranks(2, 1, "reference", 0, play_an_untold_run);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_says_what_it_says_alone),
        cmocka_unit_test(whatever_the_kernels),
        cmocka_unit_test(and_over_int8_panels),
        cmocka_unit_test(and_on_several_ranks),
        cmocka_unit_test(and_over_a_tensor_axis),
        cmocka_unit_test(a_rank_that_fails_ends_all),
        cmocka_unit_test(requests_found_before_a_failure_end),
    };
    const struct engine_gpus standin = {standin_runtime(), standin_kernels(), standin_nccl()};
    if (argc > 1 && strcmp(argv[1], "standin") == 0)
        gpus = &standin;
    log_configure(LOG_ERROR, -1);
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
