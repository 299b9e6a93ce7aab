/* store_load [--threads N] [--seconds S] [--queued N] [--lines N] [--folder DIR]: what a store
 * alone carries.
 *
 * 1. `threads` create batches of one line with a request id of its own, for `seconds`: a second,
 *    and the time that 99 of 100 of them take at most.
 * 2. With --queued, batches are made until so many lines wait; then 1. again, memory, and the time
 *    to open the store anew.
 * 3. With --lines, one batch of so many lines is uploaded, run and told, with memory before and
 *    after.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "tests/durability/campaign.h"
#include "tests/durability/figure.h"
#include "tests/support/store_folder.h"

enum { THREADS_MAX = 1024, TIMES_MAX = 1 << 22, TEXT_BYTES = 512, LINE_BYTES = 64, PART = 1000 };

struct load {
    struct store *store;
    int64_t threads;
    double seconds;
    int64_t queued, lines;
    char folder[STORE_FOLDER_BYTES];
    int64_t until_ns, wanted; /* a round ends at either */
    int64_t made;             /* atomic */
    float *times;             /* milliseconds */
};

static void fail_run(const char *what)
{
    fprintf(stderr, "store_load: %s: %s\n", what, status_message());
    exit(70);
}

static double resident_mib(void)
{
    long long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lld %lld", &pages, &resident) != 2)
        fail_run("statm");
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void create_one(struct load *load, int64_t index)
{
    char text[TEXT_BYTES], request_id[48];
    memset(text, 'x', sizeof text);
    snprintf(request_id, sizeof request_id, "request-%lld-%lld", (long long)getpid(),
             (long long)index);
    const struct store_request request = {request_id, text, sizeof text};
    const struct store_new_line line = {.custom_id = "request-1",
                                        .bytes = TEXT_BYTES,
                                        .digest = store_line_digest(text, sizeof text),
                                        .queued_tokens = 128,
                                        .order_key = "12345678",
                                        .order_key_bytes = 8};
    const struct store_batch_args args = {.tenant = "load",
                                          .request = &request,
                                          .endpoint = "/v1/completions",
                                          .expires_after_seconds = 86400,
                                          .retention_seconds = 86400,
                                          .input = text,
                                          .input_bytes = sizeof text,
                                          .lines = &line,
                                          .lines_count = 1};
    struct store_batch_answer answer;
    if (store_batch_create(load->store, &answer, &args) != STATUS_OK)
        fail_run("create a batch");
    store_batch_clear(&answer.batch);
}

static void *create_some(void *context)
{
    struct load *load = context;
    while (clock_now_ns() < load->until_ns) {
        const int64_t index = __atomic_fetch_add(&load->made, 1, __ATOMIC_RELAXED);
        if (index >= load->wanted)
            break;
        const int64_t start_ns = clock_now_ns();
        create_one(load, index);
        if (index < TIMES_MAX)
            load->times[index] = (float)(clock_seconds_since(start_ns) * 1e3);
    }
    return NULL;
}

/* Creates on so many threads; returns how many a second. */
static double create_round(struct load *load, int threads, double seconds, int64_t wanted)
{
    pthread_t running[THREADS_MAX];
    const int64_t start_ns = clock_now_ns();
    static int64_t before; /* so that request ids differ from round to round */
    load->made = before;
    load->wanted = before + wanted;
    load->until_ns = start_ns + (int64_t)(seconds * 1e9);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&running[i], NULL, create_some, load) != 0)
            fail_run("start a thread");
    for (int i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    const int64_t made = (load->made < load->wanted ? load->made : load->wanted) - before;
    memmove(load->times, load->times + before,
            (size_t)(before + made < TIMES_MAX ? made : 0) * sizeof *load->times);
    before += made;
    return (double)made / clock_seconds_since(start_ns);
}

static int compare_times(const void *a, const void *b)
{
    const float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static double slowest_ms(struct load *load, int64_t count)
{
    qsort(load->times, (size_t)count, sizeof *load->times, compare_times);
    return load->times[count * 99 / 100];
}

static bool measure_creates(struct load *load, const char *when, double *slowest)
{
    static const int threads[] = {1, 8, 64, 256};
    bool passes = true;
    for (int i = 0; i < 4; i++) {
        char name[64];
        if (load->threads && threads[i] != load->threads)
            continue;
        const double rate = create_round(load, threads[i], load->seconds, INT32_MAX);
        *slowest = slowest_ms(load, (int64_t)(rate * load->seconds * 0.9));
        const bool gated = threads[i] == 256;
        snprintf(name, sizeof name, "store_load.creates_a_second.%d%s", threads[i], when);
        passes &= figure_at_least(name, rate, gated ? 10000 : 0, 0);
        snprintf(name, sizeof name, "store_load.create_p99_ms.%d%s", threads[i], when);
        passes &= figure_at_most(name, *slowest, gated ? 100 : 1e9, 0);
    }
    return passes;
}

static void open_store(struct load *load)
{
    const struct store_options options = {.folder = load->folder};
    if (store_open(&load->store, &options) != STATUS_OK)
        fail_run("open the store");
}

static bool measure_queued(struct load *load, double slowest_empty)
{
    double slowest = 0;
    struct store_tenant tenant;
    if (store_read_tenant(load->store, "load", &tenant) != STATUS_OK)
        fail_run("read the tenant");
    (void)create_round(load, 256, 1e6, load->queued - tenant.queued_lines);
    bool passes = measure_creates(load, ".queued", &slowest);
    passes &= figure_at_most("store_load.queued_p99_over_empty", slowest / slowest_empty, 2, 0);
    passes &= figure_at_most("store_load.queued_resident_mib", resident_mib(), 1024, 0);
    store_close(load->store);
    const int64_t start_ns = clock_now_ns();
    open_store(load);
    passes &= figure_at_most("store_load.reopen_seconds", clock_seconds_since(start_ns),
                             load->queued > 100000 ? 5 : 2, 0);
    return passes;
}

/* ---- one long batch ---- */

static void upload(struct load *load, int64_t *number)
{
    const struct store_batch_args args = {
        .tenant = "load", .id = "long", .expires_after_seconds = 86400, .retention_seconds = 86400};
    struct store_batch_answer answer;
    enum { PIECE_LINES = 16384 };
    static char piece[PIECE_LINES * LINE_BYTES];
    if (store_batch_create(load->store, &answer, &args) != STATUS_OK)
        fail_run("create a batch");
    *number = answer.batch.number;
    store_batch_clear(&answer.batch);
    int64_t committed = 0;
    for (int64_t line = 0; line < load->lines;) {
        int64_t count = 0;
        for (; count < PIECE_LINES && line < load->lines; count++, line++) {
            char text[2 * LINE_BYTES];
            const int bytes =
                snprintf(text, sizeof text, "{\"custom_id\": \"request-%09lld\"}", (long long)line);
            memset(text + bytes, ' ', (size_t)(LINE_BYTES - bytes));
            text[LINE_BYTES - 1] = '\n';
            memcpy(piece + count * LINE_BYTES, text, LINE_BYTES);
        }
        if (store_batch_append(load->store, &committed, "load", "long", committed, piece,
                               (size_t)count * LINE_BYTES, NULL) != STATUS_OK)
            fail_run("upload");
    }
    if (store_batch_seal(load->store, "load", "long") != STATUS_OK)
        fail_run("seal");
}

static void validate(struct load *load, int64_t number)
{
    static char text[PART * LINE_BYTES], ids[PART][32];
    static struct store_new_line lines[PART];
    for (int64_t line = 0; line < load->lines; line += PART) {
        size_t bytes;
        if (store_batch_read_input(load->store, "load", number, line * LINE_BYTES, text,
                                   sizeof text, &bytes) != STATUS_OK)
            fail_run("read the input");
        const int count = (int)(bytes / LINE_BYTES);
        for (int i = 0; i < count; i++) {
            snprintf(ids[i], sizeof ids[i], "request-%09lld", (long long)line + i);
            lines[i] = (struct store_new_line){
                .custom_id = ids[i],
                .offset = (line + i) * LINE_BYTES,
                .bytes = LINE_BYTES - 1,
                .digest = store_line_digest(text + i * LINE_BYTES, LINE_BYTES - 1),
                .queued_tokens = 64,
                .order_key = text + i * LINE_BYTES + 20,
                .order_key_bytes = 8};
        }
        if (store_batch_add_lines(load->store, "load", number, line + 1, lines, (size_t)count,
                                  NULL) != STATUS_OK)
            fail_run("add lines");
    }
    if (store_batch_queue(load->store, "load", number, "/v1/completions") != STATUS_OK)
        fail_run("queue");
}

struct runner {
    struct load *load;
    int64_t number;
    int64_t first, end; /* lines */
};

static void *run_lines(void *context)
{
    const struct runner *runner = context;
    enum { LEASES = 64 };
    for (int64_t line = runner->first; line < runner->end; line += LEASES) {
        struct store_lease leases[LEASES];
        const int64_t rest = runner->end - line;
        const size_t count = rest < LEASES ? (size_t)rest : LEASES;
        for (size_t i = 0; i < count; i++)
            leases[i] = (struct store_lease){.batch = runner->number, .line = line + (int64_t)i};
        if (store_line_lease(runner->load->store, "load", leases, count, 0) != STATUS_OK)
            fail_run("lease");
        for (size_t i = 0; i < count; i++)
            if (!leases[i].granted ||
                store_folder_commit(runner->load->store, "load", runner->number, leases[i].line,
                                    leases[i].epoch, "{\"response\": 200}") != STATUS_OK)
                fail_run("commit");
    }
    return NULL;
}

static void run_all(struct load *load, int64_t number)
{
    enum { RUNNERS = 64 };
    pthread_t threads[RUNNERS];
    struct runner runners[RUNNERS];
    for (int i = 0; i < RUNNERS; i++) {
        runners[i] = (struct runner){load, number, 1 + load->lines * i / RUNNERS,
                                     1 + load->lines * (i + 1) / RUNNERS};
        if (pthread_create(&threads[i], NULL, run_lines, &runners[i]) != 0)
            fail_run("start a thread");
    }
    for (int i = 0; i < RUNNERS; i++)
        pthread_join(threads[i], NULL);
}

static enum status count_result(void *context, const struct store_told_result *result)
{
    *(int64_t *)context += result->status_code == 200;
    return STATUS_OK;
}

static bool measure_lines(struct load *load)
{
    int64_t number = 0, told = 0;
    const double resident = resident_mib();
    int64_t start_ns = clock_now_ns();
    upload(load, &number);
    bool passes =
        figure_at_most("store_load.lines_upload_seconds", clock_seconds_since(start_ns), 1e9, 0);
    start_ns = clock_now_ns();
    validate(load, number);
    passes &= figure_at_most("store_load.lines_add_seconds", clock_seconds_since(start_ns), 1e9, 0);
    start_ns = clock_now_ns();
    run_all(load, number);
    passes &= figure_at_least("store_load.results_a_second",
                              (double)load->lines / clock_seconds_since(start_ns), 0, 0);
    start_ns = clock_now_ns();
    struct store_result_walk walk = {.tenant = "load", .batch = number, .count = PART};
    while (!walk.complete)
        if (store_line_results(load->store, &walk, count_result, &told) != STATUS_OK)
            fail_run("read results");
    passes &=
        figure_at_most("store_load.lines_tell_seconds", clock_seconds_since(start_ns), 1e9, 0);
    passes &= figure_at_least("store_load.lines_told", (double)told, (double)load->lines, 0);
    return passes & figure_at_most("store_load.lines_resident_growth_mib",
                                   resident_mib() - resident, 256, 0);
}

static void parse(struct load *load, int count, char **arguments)
{
    const struct flags_row rows[] = {
        CAMPAIGN_COUNT("threads", &load->threads, "that create; 0: 1, 8, 64 and 256 [0]"),
        {.name = "seconds",
         .type = FLAGS_REAL,
         .target = &load->seconds,
         .value = "S",
         .help = "of a round [3]",
         .least = 0,
         .most = 3600},
        CAMPAIGN_COUNT("queued", &load->queued, "lines that wait, then the rounds again [0]"),
        CAMPAIGN_COUNT("lines", &load->lines, "of one batch, in and out [0]"),
    };
    const struct campaign_command command = {
        .program = "store_load",
        .summary = "What a store alone carries.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    campaign_begin(&command, load->folder, count, arguments);
}

int main(int count, char **arguments)
{
    struct load load = {.seconds = 3};
    double slowest = 1;
    bool passes = true;
    log_configure(LOG_ERROR, -1);
    parse(&load, count, arguments);
    load.times = malloc(TIMES_MAX * sizeof *load.times);
    if (!load.times)
        fail_run("memory");
    open_store(&load);
    if (load.seconds > 0)
        passes &= measure_creates(&load, "", &slowest);
    if (load.queued)
        passes &= measure_queued(&load, slowest);
    if (load.lines)
        passes &= measure_lines(&load);
    store_close(load.store);
    store_folder_remove(load.folder);
    free(load.times);
    return passes ? 0 : 1;
}
