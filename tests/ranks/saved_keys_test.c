/* Keys that are saved by 1 to 4 ranks and taken back by 1 to 4, at random, by every method, as the
 * kernels keep them and in 8 bits: what is saved again is the same bit for bit, a question about it
 * is answered alike, and none of its tokens is passed again. On a small model with random weights,
 * by loopback; with the argument `standin`, taken back by, or saved from, CUDA devices that stand
 * in. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "proto/cache_file/cache_reader.h"
#include "proto/cache_file/cache_writer.h"
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
    SEQUENCES = 4,
    POOL_SLOTS = 90,
    ANSWER_MOST = 6,
    QUESTION_MOST = 40,
    LIKELIEST = 2,
    MOST_RANKS = 4,
    TASKS_MOST = 8,
    BLOCKS_MOST = 200,
    PATH_BYTES = 64,
    SEED = 20261202,
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
    "rope+yarn:factor=2,original=128",
};
enum { METHODS = sizeof methods / sizeof methods[0] };

static struct model_fixture fixture = {
    .shape = {.layers = 2, .hidden = 32, .heads = 2, .kv_heads = 2, .head_dim = 16, .ffn = 32},
    .tokens = CONTEXT};
static const struct engine_gpus *standin; /* NULL: all is on the CPU */

/* What is saved, and how it is asked about. */
struct scene {
    int method;
    int64_t count;    /* tokens that are saved */
    int64_t question; /* further ones */
    int64_t answer;
    bool int8_cache;
    char path[PATH_BYTES]; /* of the file */
};

struct said {
    struct logprobs tokens[ANSWER_MOST];
    int64_t count;
};

/* What ranks share in one group's life: rank 0 writes a task before it admits it. */
struct game {
    const struct scene *scene;
    const struct engine_gpus *gpus;
    int ranks;
    struct random random;
    struct task {
        enum engine_kind kind;
        struct request_choice choice;
        int64_t count, max_tokens;
        uint64_t goes_on_from;
        bool stays;
    } tasks[TASKS_MOST];
    atomic_int admitted; /* tasks, numbered from 1 */
    atomic_bool over;
    /* What a task saves to, or restores from. */
    pthread_mutex_t lock;
    struct cache_writer writer;
    struct cache_reader reader;
    struct cache_header header;
    bool damaged; /* a block is, on its way */
};

struct player {
    struct game *game;
    int rank;
    struct engine *engine;
    struct cuda_streams streams;
    struct engine_port port;
    struct cache_packer *packer;
    uint8_t *block;
    struct random random;      /* this rank's own */
    int64_t owed[BLOCKS_MOST]; /* [owed_count] blocks that are still to come */
    int64_t owed_count;
    struct run {
        struct engine_request request;
        struct engine_observer observer;
        struct said said;
        struct engine_result result;
        enum status status;
        char message[256];
        bool done;
    } runs[TASKS_MOST];
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
    run->said.tokens[run->said.count++] = *logprobs;
}

static void take_scores(void *context, int64_t first, const float *logprobs, int64_t count)
{
    (void)context;
    (void)first;
    (void)logprobs;
    (void)count;
}

static void take_end(void *context, enum status status, const struct engine_result *result)
{
    struct run *run = context;
    run->done = true;
    run->status = status;
    run->result = *result;
    if (status != STATUS_OK)
        snprintf(run->message, sizeof run->message, "%s", status_message());
}

/* ---- blocks ---- */

/* A port that now and then is not ready. */
static bool is_ready(void *context, int64_t wait_ms)
{
    struct player *player = context;
    (void)wait_ms;
    return random_between(&player->random, 0, 4) > 0;
}

static bool has_block(void *context, int64_t wait_ms)
{
    const struct player *player = context;
    return player->owed_count > 0 && is_ready(context, wait_ms);
}

static enum status put(void *context, const struct engine_block *block, const void *records,
                       size_t bytes)
{
    struct player *player = context;
    struct game *game = player->game;
    const struct cache_place place = {block->store, block->panel, block->layer};
    struct cache_stored stored = {.number = cache_header_number(&game->header, &place),
                                  .name = "a rank"};
    if (stored.number < 0 || bytes != cache_header_block_bytes(&game->header, stored.number))
        return fail(STATUS_INTERNAL, "a block that no file has: store %d, panel %lld", block->store,
                    (long long)block->panel);
    cache_block_pack(player->packer, &stored.bytes, &stored.count, records, bytes);
    stored.digest = cache_block_digest(stored.bytes, stored.count, stored.number);
    pthread_mutex_lock(&game->lock);
    const enum status status = cache_writer_add(&game->writer, &stored);
    pthread_mutex_unlock(&game->lock);
    return status;
}

static enum status get(void *context, struct engine_block *block, const void **records,
                       size_t *bytes)
{
    struct player *player = context;
    const struct game *game = player->game;
    const int64_t which = random_between(&player->random, 0, player->owed_count);
    struct cache_stored stored = cache_reader_stored(&game->reader, player->owed[which]);
    const struct cache_place place = cache_header_place(&game->header, stored.number);
    player->owed[which] = player->owed[--player->owed_count];
    if (game->damaged && player->owed_count == 0)
        stored.digest++;
    *block = (struct engine_block){place.store, place.panel, place.layer};
    *bytes = cache_header_block_bytes(&game->header, stored.number);
    *records = player->block;
    return cache_block_unpack(player->packer, player->block, *bytes, &stored);
}

static enum status open_port(struct player *player)
{
    const struct cache_header *header = &player->game->header;
    const size_t most = cache_header_block_most(header);
    player->port = (struct engine_port){player, is_ready, has_block, put, get};
    player->block = malloc(most);
    if (!player->block)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a block");
    return cache_packer_create(&player->packer, most, cache_header_element_bytes(header));
}

static void close_port(struct player *player)
{
    cache_packer_destroy(player->packer);
    free(player->block);
    player->packer = NULL;
    player->block = NULL;
}

/* The blocks that the rank is to be given: those of its panels, and all sinks. */
static enum status list_owed(struct player *player, const struct request_choice *request)
{
    const struct game *game = player->game;
    const struct choice choice = {*engine_group(player->engine), *request};
    struct ownership *ownership;
    TRY(ownership_create(&ownership, choice.group.workers, choice.group.panel_tokens));
    const enum status status = choice_deal_prompt(&choice, ownership, game->scene->count);
    player->owed_count = 0;
    for (int64_t n = 0; status == STATUS_OK && n < game->reader.blocks; n++) {
        const struct cache_place place = cache_header_place(&game->header, n);
        if (place.store == BANDS_SINKS ||
            ownership_owner(ownership, place.panel * BANDS_LANES) == player->rank)
            player->owed[player->owed_count++] = n;
    }
    ownership_destroy(ownership);
    return status;
}

/* ---- requests ---- */

static enum status begin_run(struct player *player, uint64_t number)
{
    struct run *run = &player->runs[number];
    const struct task *task = &player->game->tasks[number];
    *run = (struct run){
        .request =
            {
                .kind = task->kind,
                .choice = &task->choice,
                .ids = fixture.ids,
                .count = task->count,
                .max_tokens = task->max_tokens,
                .sampling = {0, 0, 1, 0, 1, 1},
                .logprobs = task->max_tokens > 0,
                .likeliest = task->max_tokens > 0 ? LIKELIEST : 0,
                .goes_on_from = task->goes_on_from,
                .stays = task->stays,
            },
        .observer = {run, take_progress, take_token, take_scores, take_end},
    };
    if (task->kind != ENGINE_SAVE && task->kind != ENGINE_RESTORE)
        return STATUS_OK;
    close_port(player);
    TRY(open_port(player));
    run->request.port = &player->port;
    return task->kind == ENGINE_RESTORE ? list_owed(player, &task->choice) : STATUS_OK;
}

static enum status find_run(void *context, uint64_t number, struct engine_job *job)
{
    struct player *player = context;
    struct run *run = &player->runs[number];
    TRY(begin_run(player, number));
    *job = (struct engine_job){&run->request, &run->observer};
    return STATUS_OK;
}

static enum status run_task(struct player *player, struct run **run, const struct task *task)
{
    const int number = atomic_load(&player->game->admitted) + 1;
    bool busy;
    player->game->tasks[number] = *task;
    TRY(begin_run(player, (uint64_t)number));
    atomic_store(&player->game->admitted, number);
    *run = &player->runs[number];
    TRY(engine_admit(player->engine, (uint64_t)number, &(*run)->request, &(*run)->observer));
    while (!(*run)->done)
        TRY(engine_step(player->engine, &busy));
    return STATUS_OK;
}

static enum status choose(struct request_choice *choice, struct player *player)
{
    static const int64_t stages[] = {64, 0, 128, 50};
    const struct group_choice *group = engine_group(player->engine);
    const struct cost_table costs = cost_table_default();
    struct random *random = &player->game->random;
    struct chooser_request wanted = {
        .workers = group->workers,
        .context_tokens = CONTEXT,
        .kernels = group->kernels,
        .cache = group->cache,
        .partition = random_between(random, 0, 2) ? PARTITION_ZIGZAG : PARTITION_CONTIGUOUS,
        .schedule = -1,
        .queries = random_between(random, 0, 4) ? CHOICE_SHARDED : CHOICE_AUTO,
        .stage_tokens = stages[random_between(random, 0, 4)],
        .shared_memory_bus = true,
    };
    struct choice made;
    TRY(method_parse(&wanted.method, methods[player->game->scene->method],
                     engine_shape(player->engine)->trained_tokens));
    TRY(chooser_choose(&made, &wanted, engine_shape(player->engine), &costs));
    *choice = made.request;
    return STATUS_OK;
}

static enum status expect_ok(const struct run *run)
{
    return run->status == STATUS_OK ? STATUS_OK : fail(run->status, "%s", run->message);
}

/* ---- what rank 0 does ---- */

static enum status save(struct player *player, const struct request_choice *choice,
                        uint64_t resident, const char *path)
{
    struct game *game = player->game;
    const struct choice all = {*engine_group(player->engine), *choice};
    const struct task task = {.kind = ENGINE_SAVE,
                              .choice = *choice,
                              .count = game->scene->count,
                              .goes_on_from = resident};
    struct run *run;
    cache_header_plan(&game->header, &all, engine_shape(player->engine), game->scene->count);
    snprintf(game->header.model, sizeof game->header.model, "%032x", SEED);
    game->header.ids = fixture.ids;
    TRY(cache_writer_open(&game->writer, path, &game->header));
    TRY(run_task(player, &run, &task));
    TRY(expect_ok(run));
    return cache_writer_close(&game->writer);
}

/* Asks about the resident; none of its tokens is passed again. */
static enum status ask(struct player *player, struct said *said,
                       const struct request_choice *choice, uint64_t resident)
{
    const struct scene *scene = player->game->scene;
    const struct task task = {.choice = *choice,
                              .count = scene->count + scene->question,
                              .max_tokens = scene->answer,
                              .goes_on_from = resident};
    struct run *run;
    TRY(run_task(player, &run, &task));
    TRY(expect_ok(run));
    expect_on_rank(&(struct transport){0}, run->result.prefilled_tokens == scene->question);
    expect_on_rank(&(struct transport){0}, run->result.cached_tokens == scene->count);
    *said = run->said;
    return STATUS_OK;
}

/* The same in both runs of the scene. */
struct act {
    struct said said;
    const char *from, *to; /* files; `from` may be NULL: the text is read */
};

static struct act *act_of(struct player *player);

static enum status restore(struct player *player, struct run **run, struct request_choice *choice)
{
    struct game *game = player->game;
    const struct choice all = {*engine_group(player->engine), *choice};
    struct cache_header planned;
    const struct task task = {
        .kind = ENGINE_RESTORE, .choice = *choice, .count = game->scene->count, .stays = true};
    cache_header_plan(&planned, &all, engine_shape(player->engine), game->scene->count);
    snprintf(planned.model, sizeof planned.model, "%032x", SEED);
    game->header = game->reader.header;
    TRY(cache_header_match(&game->header, &planned, game->reader.name));
    return run_task(player, run, &task);
}

static enum status lead(struct player *player)
{
    struct act *act = act_of(player);
    struct game *game = player->game;
    struct task task = {.count = game->scene->count, .stays = true};
    struct run *run;
    TRY(choose(&task.choice, player));
    if (act->from) {
        TRY(cache_reader_open(&game->reader, act->from));
        game->damaged = true;
        TRY(restore(player, &run, &task.choice));
        expect_on_rank(&(struct transport){0}, run->status == STATUS_DATA_LOSS);
        game->damaged = false;
        TRY(restore(player, &run, &task.choice));
        TRY(expect_ok(run));
        expect_on_rank(&(struct transport){0}, run->result.prefilled_tokens == 0);
        cache_reader_close(&game->reader);
    } else {
        TRY(run_task(player, &run, &task));
        TRY(expect_ok(run));
    }
    const uint64_t resident = (uint64_t)atomic_load(&game->admitted);
    TRY(save(player, &task.choice, resident, act->to));
    TRY(choose(&task.choice, player));
    TRY(ask(player, &act->said, &task.choice, resident));
    TRY(engine_let_go(player->engine, resident));
    bool busy = true;
    while (busy)
        TRY(engine_step(player->engine, &busy));
    return STATUS_OK;
}

/* ---- ranks ---- */

struct stage {
    struct game game;
    struct act act;
};

static struct act *act_of(struct player *player)
{
    return &((struct stage *)(void *)player->game)->act;
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
    struct engine_options options = engine_ranks_options(
        standin ? NULL : "reference", CONTEXT, t, player->game->gpus ? &player->streams : NULL);
    struct model *model;
    options.group.sequences = SEQUENCES;
    options.group.pool_slots = POOL_SLOTS;
    options.int8_cache = player->game->scene->int8_cache;
    options.source = (struct engine_source){player, find_run};
    TRY(model_open(&model, fixture.path));
    const enum status status = engine_create(&player->engine, model, t, &options);
    model_close(model);
    return status;
}

static enum status play(struct transport *t, void *context)
{
    struct player *player = context;
    enum status status = make_engine(player, t);
    if (status == STATUS_OK)
        status = t->rank == 0 ? lead(player) : follow(player);
    if (t->rank == 0)
        atomic_store(&player->game->over, true);
    if (status == STATUS_OK && engine_pool_free(player->engine) != POOL_SLOTS)
        status = fail(STATUS_INTERNAL, "the pool does not end empty");
    if (status != STATUS_OK)
        transport_abort(t, status_message());
    else
        engine_destroy(player->engine);
    close_port(player);
    return status;
}

static enum status open_streams(struct transport **t, void *context)
{
    struct player *player = context;
    return player->game->gpus ? engine_ranks_open(t, &player->streams, player->game->gpus)
                              : STATUS_OK;
}

static void close_streams(void *context)
{
    cuda_streams_close(&((struct player *)context)->streams);
}

static void on_ranks(struct said *said, const struct scene *scene, struct random *random, int ranks,
                     const struct engine_gpus *gpus, const char *from, const char *to)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct stage *stage = calloc(1, sizeof *stage);
    struct player *players = calloc(MOST_RANKS, sizeof *players);
    void *contexts[MOST_RANKS];
    assert_non_null(stage);
    assert_non_null(players);
    stage->act = (struct act){.from = from, .to = to};
    stage->game.scene = scene;
    stage->game.gpus = gpus;
    stage->game.ranks = ranks;
    stage->game.random = *random;
    pthread_mutex_init(&stage->game.lock, NULL);
    for (int rank = 0; rank < ranks; rank++) {
        players[rank].game = &stage->game;
        players[rank].rank = rank;
        players[rank].random.state = random->state + (uint64_t)rank * RANDOM_STEP;
        contexts[rank] = &players[rank];
    }
    assert_int_equal(ranks_run_in(ranks, NULL, &setting, play, contexts), STATUS_OK);
    *random = stage->game.random;
    *said = stage->act.said;
    pthread_mutex_destroy(&stage->game.lock);
    free(players);
    free(stage);
}

/* ---- the tests ---- */

/* Both files have the same blocks, bit for bit. */
static void expect_same_blocks(const char *a_path, const char *b_path)
{
    struct cache_reader a, b;
    assert_int_equal(cache_reader_open(&a, a_path), STATUS_OK);
    assert_int_equal(cache_reader_open(&b, b_path), STATUS_OK);
    assert_int_equal(a.blocks, b.blocks);
    assert_int_equal(a.header_bytes, b.header_bytes);
    assert_memory_equal(a.data, b.data, a.header_bytes);
    for (int64_t n = 0; n < a.blocks; n++) {
        const struct cache_stored in_a = cache_reader_stored(&a, n);
        const struct cache_stored in_b = cache_reader_stored(&b, n);
        assert_int_equal(in_a.count, in_b.count);
        assert_memory_equal(in_a.bytes, in_b.bytes, in_a.count);
    }
    cache_reader_close(&a);
    cache_reader_close(&b);
}

/* The same ids; after a choice that was nearly a tie the answers may part. */
static void expect_alike(const struct said *a, const struct said *b)
{
    const struct golden_tolerance *allowed =
        golden_tolerance_of(standin ? GOLDEN_BF16_CACHE : GOLDEN_FLOAT32, CONTEXT, "rope");
    assert_int_equal(a->count, b->count);
    for (int64_t t = 0; t < a->count; t++) {
        if (a->tokens[t].ids[0] != b->tokens[t].ids[0]) {
            assert_true(b->tokens[t].likeliest[0] - b->tokens[t].likeliest[1] <= allowed->margin);
            return;
        }
        assert_true(fabs((double)a->tokens[t].chosen - b->tokens[t].chosen) <= allowed->token);
    }
}

static void save_and_restore(struct random *random, int method, int from_ranks, int to_ranks,
                             bool int8_cache)
{
    struct scene scene = {
        .method = method,
        .count = random_between(random, 1, CONTEXT - ANSWER_MOST - QUESTION_MOST),
        .question = random_between(random, 1, QUESTION_MOST + 1),
        .answer = random_between(random, 1, ANSWER_MOST + 1),
        .int8_cache = int8_cache,
    };
    const bool swapped = random_between(random, 0, 2);
    char again[PATH_BYTES + 8];
    struct said before, after;
    snprintf(scene.path, sizeof scene.path, "/tmp/longhaul-keys-XXXXXX");
    const int file = mkstemp(scene.path);
    assert_true(file >= 0);
    close(file);
    snprintf(again, sizeof again, "%s.again", scene.path);
    on_ranks(&before, &scene, random, from_ranks, swapped ? NULL : standin, NULL, scene.path);
    on_ranks(&after, &scene, random, to_ranks, swapped ? standin : NULL, scene.path, again);
    expect_same_blocks(scene.path, again);
    expect_alike(&before, &after);
    unlink(scene.path);
    unlink(again);
}

static void every_method(uint64_t seed, int rounds, bool int8_cache)
{
    struct random random = {seed};
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int method = 0; method < METHODS; method++)
        for (int round = 0; round < rounds; round++)
            save_and_restore(&random, method, (int)random_between(&random, 1, MOST_RANKS + 1),
                             (int)random_between(&random, 1, MOST_RANKS + 1), int8_cache);
}

static void every_pair(uint64_t seed, bool int8_cache)
{
    struct random random = {seed};
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int from = 1; from <= MOST_RANKS; from++)
        for (int to = 1; to <= MOST_RANKS; to++)
            save_and_restore(&random, (int)random_between(&random, 0, METHODS), from, to,
                             int8_cache);
}

static void every_method_comes_back_on_any_number_of_ranks(void **state)
{
    (void)state;
    every_method(SEED, standin ? 1 : 3, false);
}

static void every_pair_of_ranks_saves_and_restores(void **state)
{
    (void)state;
    every_pair(SEED + 1, false);
}

static void every_method_comes_back_in_8_bits(void **state)
{
    (void)state;
    every_method(SEED + 2, 1, true);
}

static void every_pair_of_ranks_saves_and_restores_in_8_bits(void **state)
{
    (void)state;
    every_pair(SEED + 3, true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_comes_back_on_any_number_of_ranks),
        cmocka_unit_test(every_pair_of_ranks_saves_and_restores),
        cmocka_unit_test(every_method_comes_back_in_8_bits),
        cmocka_unit_test(every_pair_of_ranks_saves_and_restores_in_8_bits),
    };
    enum { OF_BOTH = 2 }; /* GPUs have none in 8 bits */
    const struct engine_gpus gpus = {standin_runtime(), standin_kernels(), standin_nccl()};
    if (argc > 1 && strcmp(argv[1], "standin") == 0)
        standin = &gpus;
    if (standin && kernels_best()->cache != DTYPE_BF16) {
        printf("no kernels here keep bfloat16, as GPUs do\n");
        return 77;
    }
    log_configure(LOG_ERROR, -1);
    model_fixture_make(&fixture);
    const size_t count = standin ? OF_BOTH : sizeof tests / sizeof tests[0];
    const int failed = _cmocka_run_group_tests("saved_keys", tests, count, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
