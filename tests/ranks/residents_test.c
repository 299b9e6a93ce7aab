/* Prompts that stay, at random: they are read, gone on from, asked and let go of in any order and
 * side by side, by every method, and whatever goes on from one says what the same prompt says that
 * is read anew. On a small model with random weights, by loopback; with the argument `standin`, on
 * CUDA devices that stand in. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "proto/model/model.h"
#include "proto/plan/chooser.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/golden_tolerance.h"
#include "tests/support/model_fixture.h"
#include "tests/support/random.h"
#include "tests/support/ranks.h"
#include "tests/support/standin.h"
#include "tests/support/unit.h"

enum {
    CONTEXT = 330,
    SEQUENCES = 6,
    POOL_SLOTS = 150,
    RECORDS = 2,
    RESIDENTS_MOST = 8,
    ANSWER_MOST = 6,
    LIKELIEST = 2,
    RUNS_MOST = 4000,
    MOST_RANKS = 4,
    TEXTS = 2,
    SEED = 20261201,
};

static const char *const methods[] = {
    "rope",
    "string:shift=40,local=8",
    "lm_infinite:window=70,sinks=5",
    "lm_infinite:window=64,sinks=70,ceiling=90",
    "streaming_llm:window=70,sinks=5",
    "rerope:window=70",
    "leaky_rerope:window=90,factor=2.5",
    "self_extend:window=65,group=7",
    "dca:chunk=100,local=50",
    "streaming_heads:heads=1,window=70,sinks=3",
    "lampe:near=40,far=20,mapped=70,length=150",
    "table:sinks=3,keys=plain..70/shift:-20..90/hidden,sink_keys=plain..9/fixed:90..80/anchor:99",
};
enum { METHODS = sizeof methods / sizeof methods[0] };

static struct model_fixture fixture = {
    .shape = {.layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 32},
    .tokens = CONTEXT + TEXTS};
static const struct engine_gpus *gpus; /* NULL: on the CPU */

/* What a run asks for, as all ranks know it. */
struct task {
    struct request_choice choice;
    enum engine_kind kind;
    int text;
    int64_t count, max_tokens;
    uint64_t goes_on_from; /* 0: it is read anew */
    int draft_tokens;
    bool stays;
};

/* One run on one rank. */
struct run {
    struct engine_request request;
    struct engine_observer observer;
    struct logprobs said[ANSWER_MOST];
    float scores[CONTEXT];
    int64_t said_count, score_first, score_end;
    struct engine_result result;
    enum status status;
    bool done;
};

/* What is asked of a resident, and the same read anew. */
struct question {
    int asked, anew; /* runs */
    bool same_bits;  /* nothing of either depends on who owns which keys */
};

struct kept {
    int run;
    int method, text;
    bool sharded; /* all of it went in stages with sharded queries */
};

/* What ranks share: rank 0 writes a run's task before it admits the run. */
struct game {
    int ranks, turns;
    int tensor; /* places of the tensor axis, which divide the ranks */
    struct model_shape shape;
    struct random random;
    struct task tasks[RUNS_MOST];
    atomic_int admitted; /* runs, numbered from 1 */
    atomic_bool over;
};

struct player {
    struct game *game;
    int rank;
    struct engine *engine;
    struct cuda_streams streams;
    struct run *runs; /* [RUNS_MOST] of this rank */
    struct kept kept[RESIDENTS_MOST];
    int kept_count;
    struct question questions[SEQUENCES];
    int question_count;
    int judged; /* questions */
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
    (void)id;
    run->said[run->said_count++] = *logprobs;
}

static void take_scores(void *context, int64_t first, const float *logprobs, int64_t count)
{
    struct run *run = context;
    memcpy(run->scores + first, logprobs, (size_t)count * sizeof *logprobs);
    if (run->score_end == 0)
        run->score_first = first;
    run->score_end = first + count;
}

static void take_end(void *context, enum status status, const struct engine_result *result)
{
    struct run *run = context;
    run->done = true;
    run->status = status;
    run->result = *result;
}

/* ---- requests ---- */

static struct run *begin_run(struct player *player, uint64_t number)
{
    struct run *run = &player->runs[number];
    const struct task *task = &player->game->tasks[number];
    *run = (struct run){
        .request =
            {
                .kind = task->kind,
                .choice = &task->choice,
                .ids = fixture.ids + task->text,
                .count = task->count,
                .max_tokens = task->max_tokens,
                .sampling = {0, 0, 1, 0, 1, 1},
                .logprobs = true,
                .likeliest = LIKELIEST,
                .draft_tokens = task->draft_tokens,
                .goes_on_from = task->goes_on_from,
                .stays = task->stays,
            },
        .observer = {run, take_progress, take_token, take_scores, take_end},
    };
    return run;
}

static enum status find_run(void *context, uint64_t number, struct engine_job *job)
{
    struct run *run = begin_run(context, number);
    *job = (struct engine_job){&run->request, &run->observer};
    return STATUS_OK;
}

static enum status admit(struct player *player, int *number, const struct task *task)
{
    *number = atomic_load(&player->game->admitted) + 1;
    player->game->tasks[*number] = *task;
    struct run *run = begin_run(player, (uint64_t)*number);
    atomic_store(&player->game->admitted, *number);
    return engine_admit(player->engine, (uint64_t)*number, &run->request, &run->observer);
}

static enum status step_until_done(struct player *player, int number)
{
    while (!player->runs[number].done) {
        bool busy;
        TRY(engine_step(player->engine, &busy));
    }
    return STATUS_OK;
}

static enum status choose(struct request_choice *choice, struct player *player, int method)
{
    static const int64_t stages[] = {64, 0, 128, 50};
    const struct group_choice *group = engine_group(player->engine);
    const struct cost_table costs = cost_table_default();
    struct random *random = &player->game->random;
    const bool weighed = random_between(random, 0, 4) == 0;
    struct partition_weights weights = {.count = group->workers};
    for (int rank = 0; rank < group->workers; rank++)
        weights.parts[rank] = (uint8_t)(1 + 2 * rank);
    struct chooser_request wanted = {
        .workers = group->workers,
        .context_tokens = CONTEXT,
        .kernels = group->kernels,
        .cache = group->cache,
        .partition = random_between(random, 0, 2) ? PARTITION_ZIGZAG : PARTITION_CONTIGUOUS,
        .schedule = -1,
        .queries = random_between(random, 0, 4) ? CHOICE_SHARDED : CHOICE_AUTO,
        .decode_split = random_between(random, 0, 2) ? DECODE_SPLIT_ALL : 0,
        .stage_tokens = stages[random_between(random, 0, 4)],
        .shared_memory_bus = true,
        .weights = weighed ? &weights : NULL,
    };
    struct choice made;
    TRY(method_parse(&wanted.method, methods[method], player->game->shape.trained_tokens));
    TRY(chooser_choose(&made, &wanted, &player->game->shape, &costs));
    *choice = made.request;
    choice->decode_home = !gpus && group->workers > 1 && random_between(random, 0, 4) == 0;
    if (choice->decode_home)
        choice->decode_split = 0;
    return STATUS_OK;
}

static int workers_of(const struct game *game)
{
    return game->ranks / game->tensor;
}

static bool is_sharded(const struct request_choice *choice, int workers)
{
    return workers == 1 || choice->queries == CHOICE_SHARDED;
}

/* ---- the game ---- */

/* Reads a text, or more of one that has stayed, which then goes. */
static enum status keep_one(struct player *player, struct kept *before)
{
    struct random *random = &player->game->random;
    struct kept kept = before ? *before
                              : (struct kept){.method = (int)random_between(random, 0, METHODS),
                                              .text = (int)random_between(random, 0, TEXTS),
                                              .sharded = true};
    struct task task = {.text = kept.text, .stays = true};
    TRY(choose(&task.choice, player, kept.method));
    const int64_t least = before ? player->game->tasks[before->run].count : 2;
    task.count = random_between(random, least, CONTEXT - ANSWER_MOST - 40);
    task.goes_on_from = before ? (uint64_t)before->run : 0;
    kept.sharded = kept.sharded && is_sharded(&task.choice, workers_of(player->game));
    TRY(admit(player, &kept.run, &task));
    TRY(step_until_done(player, kept.run));
    const struct run *run = &player->runs[kept.run];
    const struct transport nobody = {0};
    expect_on_rank(&nobody, run->status == STATUS_OK && run->said_count == 0);
    expect_on_rank(&nobody, run->result.prefilled_tokens + run->result.cached_tokens == task.count);
    expect_on_rank(&nobody,
                   run->result.cached_tokens == (before ? least - (task.count == least) : 0));
    if (before) {
        TRY(engine_let_go(player->engine, (uint64_t)before->run));
        *before = kept;
    } else {
        player->kept[player->kept_count++] = kept;
    }
    return STATUS_OK;
}

static bool forgets(int method)
{
    return strncmp(methods[method], "lm_infinite", 11) == 0 ||
           strncmp(methods[method], "streaming_llm", 13) == 0 ||
           strncmp(methods[method], "table", 5) == 0; /* its last keys are hidden */
}

static enum status ask(struct player *player, const struct kept *kept)
{
    struct random *random = &player->game->random;
    const int64_t there = player->game->tasks[kept->run].count;
    const bool scores = random_between(random, 0, 3) == 0;
    struct task task = {
        .kind = scores ? ENGINE_SCORE : ENGINE_GENERATE,
        .text = kept->text,
        .max_tokens = scores ? 0 : random_between(random, 1, ANSWER_MOST + 1),
        .draft_tokens = (int)random_between(random, 0, 4),
        .goes_on_from = (uint64_t)kept->run,
    };
    TRY(choose(&task.choice, player, kept->method));
    /* It may leave the resident's tokens before their end. */
    const int64_t earliest = there > 90 ? there - 90 : 2;
    const int64_t least = forgets(kept->method) ? there : earliest;
    task.count = random_between(random, random_between(random, 0, 2) ? least : there + 1,
                                there + (scores ? 40 + ANSWER_MOST : 40) + 2);
    struct question *question = &player->questions[player->question_count++];
    TRY(admit(player, &question->asked, &task));
    task.goes_on_from = 0;
    TRY(admit(player, &question->anew, &task));
    /* Bits do not hang on the owners of keys, on CPUs. */
    question->same_bits = kept->sharded && is_sharded(&task.choice, workers_of(player->game)) &&
                          (!gpus || workers_of(player->game) == 1);
    return STATUS_OK;
}

static enum status let_go(struct player *player, int which)
{
    TRY(engine_let_go(player->engine, (uint64_t)player->kept[which].run));
    player->kept[which] = player->kept[--player->kept_count];
    return STATUS_OK;
}

static const struct golden_tolerance *tolerance(void)
{
    return golden_tolerance_of(gpus ? GOLDEN_BF16_CACHE : GOLDEN_FLOAT32, CONTEXT, "rope");
}

static bool is_near(float asked, float anew, bool same_bits)
{
    if (same_bits)
        return memcmp(&asked, &anew, sizeof asked) == 0;
    return fabs((double)asked - anew) <= tolerance()->token;
}

/* Several ranks merge a decoded token's states by the owners of keys, which differ: but for the
 * first token its bits do. */
static bool said_alike(const struct run *asked, const struct run *anew, bool same_bits, int workers)
{
    if (asked->said_count != anew->said_count)
        return false;
    for (int64_t t = 0; t < asked->said_count; t++) {
        const struct logprobs *a = &asked->said[t];
        const struct logprobs *b = &anew->said[t];
        if (a->ids[0] != b->ids[0])
            return b->likeliest[0] - b->likeliest[1] <= tolerance()->margin;
        if (!is_near(a->chosen, b->chosen, same_bits && (workers == 1 || t == 0)))
            return false;
    }
    return true;
}

static bool scored_alike(const struct run *asked, const struct run *anew, bool same_bits)
{
    if (asked->score_end != anew->score_end ||
        (asked->score_end > 0 && asked->score_first != asked->result.cached_tokens))
        return false;
    for (int64_t t = asked->score_first; t < asked->score_end; t++)
        if (!is_near(asked->scores[t], anew->scores[t], same_bits))
            return false;
    return true;
}

static enum status judge(struct player *player, const struct question *question)
{
    const struct run *asked = &player->runs[question->asked];
    const struct run *anew = &player->runs[question->anew];
    const struct task *task = &player->game->tasks[question->asked];
    const int64_t there = player->game->tasks[task->goes_on_from].count;
    const int64_t alike = task->count < there ? task->count : there;
    const int64_t reused = alike - (task->kind == ENGINE_SCORE || task->count <= there);
    bool right = asked->status == STATUS_OK && anew->status == STATUS_OK;
    right &= said_alike(asked, anew, question->same_bits, workers_of(player->game));
    right &= scored_alike(asked, anew, question->same_bits);
    right &= asked->result.cached_tokens == reused && anew->result.cached_tokens == 0;
    right &= asked->result.prefilled_tokens == task->count - reused;
    right &= asked->result.sent_bytes == asked->result.predicted_sent_bytes;
    right &= asked->result.received_bytes == asked->result.predicted_received_bytes;
    player->judged++;
    if (right)
        return STATUS_OK;
    return fail(STATUS_INTERNAL,
                "run %d (%s, %lld tokens after %lld, %lld to answer) is not as run %d: %s, %s, "
                "%lld and %lld tokens passed, logprobs %g and %g",
                question->asked, asked->request.kind == ENGINE_SCORE ? "scored" : "asked",
                (long long)task->count, (long long)there, (long long)task->max_tokens,
                question->anew, status_name(asked->status), status_name(anew->status),
                (long long)asked->result.prefilled_tokens, (long long)anew->result.prefilled_tokens,
                (double)asked->said[0].chosen, (double)anew->said[0].chosen);
}

static enum status judge_done(struct player *player)
{
    for (int q = 0; q < player->question_count; q++) {
        const struct question *question = &player->questions[q];
        if (!player->runs[question->asked].done || !player->runs[question->anew].done)
            continue;
        TRY(judge(player, question));
        player->questions[q--] = player->questions[--player->question_count];
    }
    return STATUS_OK;
}

/* Residents come, grow, are asked and go, also while questions on them run. */
static enum status move(struct player *player)
{
    struct random *random = &player->game->random;
    const int what = (int)random_between(random, 0, 10);
    const int which = player->kept_count ? (int)random_between(random, 0, player->kept_count) : 0;
    if (player->kept_count < 2 || (what == 0 && player->kept_count < RESIDENTS_MOST))
        return keep_one(player, NULL);
    if (what == 1)
        return keep_one(player, &player->kept[which]);
    if (what == 2)
        return let_go(player, which);
    return player->question_count < SEQUENCES ? ask(player, &player->kept[which]) : STATUS_OK;
}

static enum status end_game(struct player *player)
{
    bool busy = true;
    while (player->kept_count > 0)
        TRY(let_go(player, 0));
    while (busy)
        TRY(engine_step(player->engine, &busy));
    TRY(judge_done(player));
    expect_on_rank(&(struct transport){0}, player->question_count == 0);
    return STATUS_OK;
}

static enum status lead(struct player *player)
{
    for (int turn = 0; turn < player->game->turns; turn++) {
        bool busy;
        if (random_between(&player->game->random, 0, 3) == 0)
            TRY(move(player));
        TRY(engine_step(player->engine, &busy));
        TRY(judge_done(player));
    }
    TRY(end_game(player));
    printf("%d ranks, tensor %d: %d runs, %d questions\n", player->game->ranks,
           player->game->tensor, atomic_load(&player->game->admitted), player->judged);
    expect_on_rank(&(struct transport){0}, player->judged > player->game->turns / 20);
    return STATUS_OK;
}

static enum status follow(struct player *player)
{
    bool busy = true;
    while (busy || !atomic_load(&player->game->over))
        TRY(engine_step(player->engine, &busy));
    return STATUS_OK;
}

static enum status make_engine(struct player *player, struct transport *t)
{
    struct engine_options options =
        engine_ranks_options("reference", CONTEXT, t, gpus ? &player->streams : NULL);
    struct model *model;
    options.group.sequences = SEQUENCES;
    options.group.pool_slots = POOL_SLOTS;
    options.group.workers = workers_of(player->game);
    options.group.tensor = player->game->tensor;
    options.source = (struct engine_source){player, find_run};
    TRY(model_open(&model, fixture.path));
    const enum status status = engine_create(&player->engine, model, t, &options);
    model_close(model);
    return status;
}

/* Rank 0 leads by the function, the others follow; the pool ends empty. */
static enum status play_by(struct transport *t, struct player *player,
                           enum status (*function)(struct player *player))
{
    player->runs = calloc(RUNS_MOST, sizeof *player->runs);
    enum status status = player->runs ? make_engine(player, t)
                                      : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for runs");
    if (status == STATUS_OK)
        status = t->rank == 0 ? function(player) : follow(player);
    if (t->rank == 0)
        atomic_store(&player->game->over, true);
    if (status == STATUS_OK && engine_pool_free(player->engine) != POOL_SLOTS)
        status = fail(STATUS_INTERNAL, "the pool does not end empty");
    if (status != STATUS_OK)
        transport_abort(t, status_message());
    else
        engine_destroy(player->engine);
    free(player->runs);
    return status;
}

static enum status play(struct transport *t, void *context)
{
    return play_by(t, context, lead);
}

/* ---- one thing at a time ---- */

static enum status run_one(struct player *player, int *number, const struct task *task)
{
    TRY(admit(player, number, task));
    return step_until_done(player, *number);
}

/* A long text by a method that forgets holds its window and its sinks. */
static enum status hold_a_window(struct player *player)
{
    enum { WINDOW = 70, PANELS = (WINDOW + BANDS_LANES - 1) / BANDS_LANES + 1, TOKENS = 300 };
    const struct transport nobody = {0};
    struct task task = {.count = TOKENS, .stays = true};
    bool busy = true;
    int kept;
    TRY(choose(&task.choice, player, 2));
    TRY(run_one(player, &kept, &task));
    const int64_t held = POOL_SLOTS - engine_pool_free(player->engine);
    expect_on_rank(&nobody, held > 0 && held <= PANELS * RECORDS + RECORDS + 1);
    TRY(engine_let_go(player->engine, (uint64_t)kept));
    while (busy)
        TRY(engine_step(player->engine, &busy));
    expect_on_rank(&nobody, engine_pool_free(player->engine) == POOL_SLOTS);
    return STATUS_OK;
}

/* What does not go on from a resident of its own is refused, and ends alone. */
static enum status refuse(struct player *player)
{
    const struct transport nobody = {0};
    struct task task = {.count = 100, .stays = true};
    bool busy = true;
    int kept, run;
    TRY(choose(&task.choice, player, 0));
    TRY(run_one(player, &kept, &task));
    task.stays = false;
    task.max_tokens = 1;
    task.goes_on_from = (uint64_t)kept + 1000;
    TRY(run_one(player, &run, &task));
    expect_on_rank(&nobody, player->runs[run].status == STATUS_NOT_FOUND);
    task.goes_on_from = (uint64_t)kept;
    task.text = 1;
    TRY(run_one(player, &run, &task));
    expect_on_rank(&nobody, player->runs[run].status == STATUS_INVALID_ARGUMENT);
    task.text = 0;
    task.count = 101;
    TRY(choose(&task.choice, player, 1));
    TRY(run_one(player, &run, &task));
    expect_on_rank(&nobody, player->runs[run].status == STATUS_INVALID_ARGUMENT);
    TRY(choose(&task.choice, player, 0));
    task.stays = true;
    TRY(run_one(player, &run, &task));
    expect_on_rank(&nobody, player->runs[run].status == STATUS_INVALID_ARGUMENT);
    task.stays = false;
    TRY(engine_let_go(player->engine, (uint64_t)kept));
    while (busy)
        TRY(engine_step(player->engine, &busy));
    TRY(run_one(player, &run, &task));
    expect_on_rank(&nobody, player->runs[run].status == STATUS_NOT_FOUND);
    return STATUS_OK;
}

static enum status play_a_window(struct transport *t, void *context)
{
    return play_by(t, context, hold_a_window);
}

static enum status play_refusals(struct transport *t, void *context)
{
    return play_by(t, context, refuse);
}

/* As all ranks see the model, whose slices may differ. */
static enum status whole_shape(struct model_shape *shape)
{
    struct model *model;
    TRY(model_open(&model, fixture.path));
    *shape = spec_shape(model_spec(model), 0);
    model_close(model);
    return STATUS_OK;
}

/* ---- the tests ---- */

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

static void on_mesh(int ranks, int tensor, int turns, ranks_function *function)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct game *game = calloc(1, sizeof *game);
    struct player players[MOST_RANKS] = {0};
    void *contexts[MOST_RANKS];
    assert_non_null(game);
    game->ranks = ranks;
    game->tensor = tensor;
    assert_int_equal(whole_shape(&game->shape), STATUS_OK);
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

static void on_ranks(int ranks, int turns, ranks_function *function)
{
    on_mesh(ranks, 1, turns, function);
}

static void what_goes_on_says_what_is_read_anew(void **state)
{
    (void)state;
    print_message("seed %d\n", SEED);
    on_ranks(1, gpus ? 300 : 2000, play);
}

static void and_on_several_ranks(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= (gpus ? 2 : MOST_RANKS); ranks++)
        on_ranks(ranks, gpus ? 200 : 500, play);
}

/* Weights shared out, also where heads are not alike on all ranks; beside two workers, too. */
static void and_over_a_tensor_axis(void **state)
{
    (void)state;
    for (int tensor = 2; !gpus && tensor <= 3; tensor++)
        on_mesh(tensor, tensor, 250, play);
    if (!gpus)
        on_mesh(MOST_RANKS, 2, 150, play);
}

static void a_method_that_forgets_holds_its_window(void **state)
{
    (void)state;
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++)
        on_ranks(ranks, 0, play_a_window);
}

static void what_is_not_the_residents_is_refused(void **state)
{
    (void)state;
    for (int ranks = 1; ranks <= 2; ranks++)
        on_ranks(ranks, 0, play_refusals);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_on_says_what_is_read_anew),
        cmocka_unit_test(and_on_several_ranks),
        cmocka_unit_test(and_over_a_tensor_axis),
        cmocka_unit_test(a_method_that_forgets_holds_its_window),
        cmocka_unit_test(what_is_not_the_residents_is_refused),
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
