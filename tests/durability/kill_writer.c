/* kill_writer [--kills N] [--seed S] [--folder DIR]: a process that writes a history is killed at
 * random moments, again and again, on one store.
 *
 * The child lives the history and tells each acknowledged step through a pipe; SIGKILL comes after
 * a random time. The parent follows the history step by step on a copy of its own, so that it
 * knows what was acknowledged, opens the store and holds it against that: lost 0, twice 0. It
 * also takes the time until the store serves again.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "tests/durability/campaign.h"
#include "tests/durability/figure.h"
#include "tests/support/random.h"
#include "tests/support/store_folder.h"

enum { WRITERS = 8, TEXT_BYTES = 200, LIFE_US_MAX = 30000 };

/* What the child tells of one batch: a request id by number, and how far it is. */
enum told { TOLD_CREATED, TOLD_DONE };
struct message {
    int64_t number; /* of the request id */
    enum told told;
};

struct run {
    uint64_t seed;
    int64_t kills;
    char folder[STORE_FOLDER_BYTES];
    struct random random;
    uint8_t *created, *done;  /* by number */
    int64_t room, first, end; /* numbers of the present life */
    int64_t lost, twice, acknowledged;
    double slowest_seconds;
};

static void fail_run(const char *what)
{
    printf("kill_writer: %s: %s\n", what, status_message());
    exit(70);
}

static struct store *open_store(const struct run *run)
{
    const struct store_options options = {.folder = run->folder, .readers = 2, .log_pages = 200};
    struct store *store;
    if (store_open(&store, &options) != STATUS_OK)
        fail_run("open");
    return store;
}

/* ---- the child ---- */

struct life {
    struct store *store;
    int pipe;
    int64_t next; /* atomic */
};

static void tell(const struct life *life, int64_t number, enum told told)
{
    const struct message message = {number, told};
    /* Shorter than PIPE_BUF: never in parts. */
    if (write(life->pipe, &message, sizeof message) != sizeof message)
        _exit(1);
}

/* A batch of one line for request `number`; returns the store's number of it. */
static int64_t create_batch(struct store *store, int64_t number, bool *repeated)
{
    char text[TEXT_BYTES], id[32];
    memset(text, 'a' + (int)(number % 26), sizeof text);
    snprintf(id, sizeof id, "request-%lld", (long long)number);
    const struct store_request request = {id, text, sizeof text};
    const struct store_new_line line = {
        .custom_id = id, .bytes = TEXT_BYTES, .digest = store_line_digest(text, sizeof text)};
    const struct store_batch_args args = {.tenant = "t",
                                          .request = &request,
                                          .expires_after_seconds = 86400,
                                          .retention_seconds = 86400,
                                          .input = text,
                                          .input_bytes = sizeof text,
                                          .lines = &line,
                                          .lines_count = 1};
    struct store_batch_answer answer;
    if (store_batch_create(store, &answer, &args) != STATUS_OK)
        fail_run("create");
    *repeated = answer.repeated;
    store_batch_clear(&answer.batch);
    return answer.batch.number;
}

static void *write_on(void *context)
{
    struct life *life = context;
    for (;;) {
        bool repeated;
        const int64_t number = __atomic_fetch_add(&life->next, 1, __ATOMIC_SEQ_CST);
        const int64_t batch = create_batch(life->store, number, &repeated);
        tell(life, number, TOLD_CREATED);
        const int64_t epoch = store_folder_lease(life->store, "t", batch, 1);
        if (store_folder_commit(life->store, "t", batch, 1, epoch, "result") != STATUS_OK)
            fail_run("commit");
        tell(life, number, TOLD_DONE);
    }
    return NULL;
}

__attribute__((noreturn)) static void live(const struct run *run, int pipe)
{
    struct life life = {open_store(run), pipe, run->end};
    pthread_t thread;
    for (int i = 1; i < WRITERS; i++)
        if (pthread_create(&thread, NULL, write_on, &life) != 0)
            _exit(1);
    (void)write_on(&life);
    _exit(1);
}

/* ---- the parent ---- */

static void note(struct run *run, const struct message *message)
{
    if (message->number >= run->room) {
        const int64_t room = 2 * message->number + 4096;
        run->created = realloc(run->created, (size_t)room);
        run->done = realloc(run->done, (size_t)room);
        if (!run->created || !run->done)
            fail_run("memory");
        memset(run->created + run->room, 0, (size_t)(room - run->room));
        memset(run->done + run->room, 0, (size_t)(room - run->room));
        run->room = room;
    }
    if (message->number >= run->end)
        run->end = message->number + 1;
    run->created[message->number] = 1;
    run->done[message->number] |= message->told == TOLD_DONE;
    run->acknowledged++;
}

/* A life, until it is killed. */
static void one_life(struct run *run)
{
    int ends[2];
    struct message message;
    if (pipe(ends) != 0)
        fail_run("pipe");
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        live(run, ends[1]);
    }
    close(ends[1]);
    /* The first word says that it lives; from then on any moment. */
    if (read(ends[0], &message, sizeof message) != sizeof message)
        fail_run("the child said nothing");
    note(run, &message);
    usleep((useconds_t)random_between(&run->random, 0, LIFE_US_MAX));
    kill(child, SIGKILL);
    while (read(ends[0], &message, sizeof message) == sizeof message)
        note(run, &message);
    close(ends[0]);
    waitpid(child, NULL, 0);
    run->end += WRITERS; /* numbers that were in the making */
}

static enum status count_result(void *context, const struct store_told_result *result)
{
    *(int64_t *)context += result->status_code == 200 && result->damaged == STATUS_OK;
    return STATUS_OK;
}

/* Every request of this life again: it has its first answer, and one result where one was told. */
static void check(struct run *run)
{
    const int64_t start_ns = clock_now_ns();
    struct store *store = open_store(run);
    const double seconds = clock_seconds_since(start_ns);
    if (seconds > run->slowest_seconds)
        run->slowest_seconds = seconds;
    for (int64_t number = run->first; number < run->end && number < run->room; number++) {
        int64_t results = 0;
        bool repeated;
        if (!run->created[number])
            continue;
        const int64_t batch = create_batch(store, number, &repeated);
        struct store_result_walk walk = {.tenant = "t", .batch = batch, .count = 10};
        if (store_line_results(store, &walk, count_result, &results) != STATUS_OK)
            fail_run("results");
        run->lost += !repeated || results < run->done[number];
        run->twice += results > 1;
    }
    run->first = run->end;
    store_close(store);
}

static void complain(void *context, const char *sentence)
{
    printf("violation: %s\n", sentence);
    ++*(int64_t *)context;
}

static enum status count_batch(void *context, const struct store_batch *batch)
{
    (void)batch;
    ++*(int64_t *)context;
    return STATUS_OK;
}

static void parse(struct run *run, int count, char **arguments)
{
    const struct flags_row rows[] = {
        CAMPAIGN_COUNT("kills", &run->kills, "of the writer [1000]"),
        {.name = "seed",
         .type = FLAGS_UNSIGNED,
         .target = &run->seed,
         .value = "N",
         .help = "of what is drawn [1]"},
    };
    const struct campaign_command command = {
        .program = "kill_writer",
        .summary = "A process that writes is killed at random moments, again and again.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    campaign_begin(&command, run->folder, count, arguments);
    run->random.state = run->seed;
}

int main(int count, char **arguments)
{
    struct run run = {.seed = 1, .kills = 1000};
    int64_t wrong = 0, batches = 0;
    log_configure(LOG_ERROR, -1);
    parse(&run, count, arguments);
    for (int64_t i = 0; i < run.kills; i++) {
        one_life(&run);
        check(&run);
    }
    struct store *store = open_store(&run);
    if (store_verify(store, complain, &wrong) != STATUS_OK)
        printf("violation: %s\n", status_message());
    if (store_batch_list(store, "t", 0, 0, INT64_MAX, count_batch, &batches) != STATUS_OK)
        fail_run("list");
    store_close(store);
    printf("kill_writer: %lld answers were told, %lld batches are there\n",
           (long long)run.acknowledged, (long long)batches);
    run.twice += batches > run.end; /* a second one of some request */
    bool passes = figure_at_least("kill_writer.kills", (double)run.kills, 1, run.seed);
    passes &= figure_at_most("kill_writer.lost", (double)run.lost, 0, run.seed);
    passes &= figure_at_most("kill_writer.twice", (double)run.twice, 0, run.seed);
    passes &= figure_at_most("kill_writer.wrong", (double)wrong, 0, run.seed);
    passes &= figure_at_most("kill_writer.reopen_seconds", run.slowest_seconds, 2, run.seed);
    store_folder_remove(run.folder);
    free(run.created);
    free(run.done);
    return passes ? 0 : 1;
}
