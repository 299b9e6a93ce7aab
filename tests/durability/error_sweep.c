/* error_sweep [--steps N] [--kind K] [--from N] [--every N] [--seed S] [--folder DIR]: each call to
 * the disk, and each allocation, fails once.
 *
 * The same history is lived again and again; the n-th call that changes the disk fails with ENOSPC,
 * EIO or EROFS, for n = 1, 2, ... until a life comes to its end without a failure. A step that is
 * refused is taken again when the store serves again. Nothing that was acknowledged may be missing
 * at the end, in the store that lived and in the same opened anew. Then the same with allocations,
 * SQLite's and ours. At last on a disk that is really full.
 */
#include <errno.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "tests/durability/campaign.h"
#include "tests/durability/figure.h"
#include "tests/durability/store_history.h"
#include "tests/support/store_faults.h"
#include "tests/support/store_folder.h"

enum { RETRY_MS = 2, SERVING_MS = 10000 };

struct sweep {
    uint64_t seed;
    int64_t steps, every;
    int64_t from;     /* the first call that fails */
    const char *kind; /* of failure; NULL: all */
    char folder[STORE_FOLDER_BYTES];
    int64_t lives, fired, violations, facts;
    double slowest_seconds; /* until it served again */
};

/* ---- allocations that fail ---- */

static int64_t allocations, allocation_fails;

static bool allocation_is_to_fail(void)
{
    return __atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST) ==
           __atomic_load_n(&allocation_fails, __ATOMIC_SEQ_CST);
}

static void fail_allocation(int64_t at)
{
    __atomic_store_n(&allocations, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&allocation_fails, at, __ATOMIC_SEQ_CST);
}

/* The linker puts these in place of the store's calls (--wrap). */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t bytes)
{
    return allocation_is_to_fail() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return allocation_is_to_fail() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return allocation_is_to_fail() ? NULL : __real_realloc(old, bytes);
}

char *__wrap_strdup(const char *text)
{
    return allocation_is_to_fail() ? NULL : __real_strdup(text);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int bytes)
{
    return allocation_is_to_fail() ? NULL : sqlite_memory.xMalloc(bytes);
}

static void *sqlite_realloc(void *old, int bytes)
{
    return allocation_is_to_fail() ? NULL : sqlite_memory.xRealloc(old, bytes);
}

static void watch_sqlite_memory(void)
{
    sqlite3_mem_methods watched;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
        exit(70);
    watched = sqlite_memory;
    watched.xMalloc = sqlite_malloc;
    watched.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &watched) != SQLITE_OK)
        exit(70);
}

/* ---- one life ---- */

static void violate(struct sweep *sweep, const char *what)
{
    printf("violation: %s: %s\n", what, status_message());
    sweep->violations++;
}

static enum status open_at(struct store **store, const char *folder)
{
    const struct store_options options = {.folder = folder,
                                          .readers = 1,
                                          .retry_ms = RETRY_MS,
                                          .log_pages = 60,
                                          .vfs = STORE_FAULTS_VFS,
                                          .files = &store_faults_files};
    return store_open(store, &options);
}

/* Until it serves again. */
static bool wait_until_serving(struct sweep *sweep, struct store *store)
{
    char reason[256];
    const int64_t start_ns = clock_now_ns(), end_ns = start_ns + SERVING_MS * INT64_C(1000000);
    while (!store_is_serving(store, reason, sizeof reason)) {
        if (clock_now_ns() > end_ns) {
            printf("violation: it does not serve again: %s\n", reason);
            sweep->violations++;
            return false;
        }
        usleep(500);
    }
    const double seconds = clock_seconds_since(start_ns);
    if (seconds > sweep->slowest_seconds)
        sweep->slowest_seconds = seconds;
    return true;
}

/* Whether a call may say so when disk or memory fail. */
static bool is_refusal(enum status status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_RESOURCE_EXHAUSTED ||
           status == STATUS_IO;
}

static void take_steps(struct sweep *sweep, struct store_history *history, struct store *store)
{
    while (store_history_steps(history) < sweep->steps) {
        const enum status status = store_history_step(history, store);
        if (status == STATUS_OK)
            continue;
        if (!is_refusal(status)) {
            violate(sweep, "a step");
            return;
        }
        if (!wait_until_serving(sweep, store))
            return;
    }
}

/* Lives, with one failure somewhere; whether it came. */
static bool live(struct sweep *sweep, int64_t at, int reason)
{
    char folder[STORE_FOLDER_BYTES + 16];
    snprintf(folder, sizeof folder, "%s/life", sweep->folder);
    struct store_history *history = store_history_create(sweep->seed);
    struct store *store;
    store_faults_watch(folder, NULL);
    if (reason)
        store_faults_fail(at, reason, false);
    else
        fail_allocation(at);
    enum status status = open_at(&store, folder);
    if (status != STATUS_OK && is_refusal(status))
        status = open_at(&store, folder);
    if (status != STATUS_OK) {
        violate(sweep, "open");
        store_history_destroy(history);
        return false;
    }
    take_steps(sweep, history, store);
    const bool fired =
        reason ? store_faults_fired() : __atomic_load_n(&allocations, __ATOMIC_SEQ_CST) >= at;
    store_faults_fail(0, 0, false);
    fail_allocation(0);
    sweep->violations +=
        store_history_check(history, store, store_history_steps(history), false, &sweep->facts);
    store_close(store);
    if (open_at(&store, folder) != STATUS_OK) {
        violate(sweep, "open anew");
    } else {
        sweep->violations +=
            store_history_check(history, store, store_history_steps(history), true, &sweep->facts);
        store_close(store);
    }
    store_folder_remove(folder);
    store_history_destroy(history);
    sweep->lives++;
    sweep->fired += fired;
    return fired;
}

static void sweep_all(struct sweep *sweep, const char *name, int reason)
{
    const int64_t violations = sweep->violations, fired = sweep->fired;
    char line[96];
    if (sweep->kind && strcmp(sweep->kind, name) != 0)
        return;
    for (int64_t at = sweep->from; live(sweep, at, reason); at += sweep->every)
        if (sweep->violations > violations) {
            printf("error_sweep: again: error_sweep --kind %s --from %lld --seed %llu\n", name,
                   (long long)at, (unsigned long long)sweep->seed);
            break;
        }
    snprintf(line, sizeof line, "error_sweep.%s.failed_calls", name);
    (void)figure_at_least(line, (double)(sweep->fired - fired), 1, sweep->seed);
}

/* ---- a disk that is full ---- */

static void write_file(const char *path, int64_t bytes)
{
    FILE *file = fopen(path, "w");
    for (int64_t i = 0; file && i < bytes; i++)
        if (fputc('x', file) == EOF)
            break;
    if (file)
        (void)fclose(file);
}

/* On a file system of two MiB: filled until a step is refused, then freed. */
static void fill_disk(struct sweep *sweep, const char *folder)
{
    char store_folder[STORE_FOLDER_BYTES + 48], ballast[STORE_FOLDER_BYTES + 48];
    struct store_history *history = store_history_create(sweep->seed);
    struct store *store;
    snprintf(store_folder, sizeof store_folder, "%s/store", folder);
    snprintf(ballast, sizeof ballast, "%s/ballast", folder);
    const struct store_options options = {.folder = store_folder, .retry_ms = 100};
    if (store_open(&store, &options) != STATUS_OK) {
        violate(sweep, "open");
        return;
    }
    for (int i = 0; i < 10; i++)
        if (store_history_step(history, store) != STATUS_OK)
            violate(sweep, "a step on a disk with room");
    write_file(ballast, INT64_C(64) << 20);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && store_history_steps(history) < 200)
        status = store_history_step(history, store);
    if (status != STATUS_UNAVAILABLE ||
        (!strstr(status_message(), "full") && !strstr(status_message(), "No space")))
        violate(sweep, "a step on a full disk");
    /* What was acknowledged can be read meanwhile. */
    sweep->violations +=
        store_history_check(history, store, store_history_steps(history), false, &sweep->facts);
    (void)remove(ballast);
    if (wait_until_serving(sweep, store))
        take_steps(sweep, history, store);
    sweep->violations +=
        store_history_check(history, store, store_history_steps(history), false, &sweep->facts);
    store_close(store);
    store_history_destroy(history);
}

/* In a mount of its own, which goes with the process; 77: this machine allows none. */
static int fill_small_disk(struct sweep *sweep)
{
    char folder[STORE_FOLDER_BYTES + 16];
    snprintf(folder, sizeof folder, "%s/small", sweep->folder);
    if (mkdir(folder, 0700) != 0 ||
        (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, "size=2m") != 0)
        return 77;
    fill_disk(sweep, folder);
    fflush(stdout);
    return sweep->violations > 0;
}

static void sweep_small_disk(struct sweep *sweep)
{
    int code = 0;
    if (sweep->kind && strcmp(sweep->kind, "full") != 0)
        return;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0)
        _exit(fill_small_disk(sweep));
    if (waitpid(child, &code, 0) != child || !WIFEXITED(code))
        violate(sweep, "the process on a small disk");
    else if (WEXITSTATUS(code) == 77)
        printf("error_sweep: no mount of its own here: the full disk was left out\n");
    else
        sweep->violations += WEXITSTATUS(code);
}

static void parse(struct sweep *sweep, int count, char **arguments)
{
    const struct flags_row rows[] = {
        CAMPAIGN_COUNT("steps", &sweep->steps, "of the history [30]"),
        CAMPAIGN_COUNT("every", &sweep->every, "of so many calls one fails [1]"),
        CAMPAIGN_COUNT("from", &sweep->from, "the first call that fails [1]"),
        {.name = "kind",
         .type = FLAGS_TEXT,
         .target = &sweep->kind,
         .value = "K",
         .help = "ENOSPC, EIO, EROFS, memory or full [all]"},
        {.name = "seed",
         .type = FLAGS_UNSIGNED,
         .target = &sweep->seed,
         .value = "N",
         .help = "of what is drawn [1]"},
    };
    const struct campaign_command command = {
        .program = "error_sweep",
        .summary = "Each call to the disk, and each allocation, fails once.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    campaign_begin(&command, sweep->folder, count, arguments);
}

int main(int count, char **arguments)
{
    struct sweep sweep = {.seed = 1, .steps = 30, .every = 1, .from = 1};
    watch_sqlite_memory();
    parse(&sweep, count, arguments);
    log_configure(LOG_ERROR, -1);
    sweep_small_disk(&sweep);
    sweep_all(&sweep, "ENOSPC", ENOSPC);
    sweep_all(&sweep, "EIO", EIO);
    sweep_all(&sweep, "EROFS", EROFS);
    sweep_all(&sweep, "memory", 0);
    store_folder_remove(sweep.folder);
    printf("error_sweep: %lld lives, %lld facts held\n", (long long)sweep.lives,
           (long long)sweep.facts);
    bool passes = figure_at_most("error_sweep.violations", (double)sweep.violations, 0, sweep.seed);
    passes &=
        figure_at_most("error_sweep.serving_again_seconds", sweep.slowest_seconds, 10, sweep.seed);
    return passes ? 0 : 1;
}
