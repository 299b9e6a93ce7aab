/* crash_points [--steps N] [--points N] [--seed S] [--folder DIR]: power loss at every storage call
 * of a drawn history.
 *
 * A store lives through three stretches of a history: made new; opened after a kill; opened after
 * a clean end. Each is recorded call by call. Then, for every prefix of the record and every mode
 * of loss, what is left is opened by the real code and held against what had been acknowledged.
 * With --points, so many of them, drawn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/log.h"
#include "tests/durability/campaign.h"
#include "tests/durability/figure.h"
#include "tests/durability/store_history.h"
#include "tests/support/random.h"
#include "tests/support/store_faults.h"
#include "tests/support/store_folder.h"

enum { STRETCHES = 3, LOG_PAGES = 60, RETRY_MS = 20 };

struct campaign {
    uint64_t seed;
    int64_t steps;         /* of one stretch */
    int64_t points_wanted; /* 0: all */
    char folder[STORE_FOLDER_BYTES];
    struct store_history *history;
    struct random random;
    int64_t points, violations, facts;
};

static void fail_run(const char *what)
{
    fprintf(stderr, "crash_points: %s: %s\n", what, status_message());
    exit(70);
}

static enum status open_at(struct store **store, const char *folder, bool watched)
{
    const struct store_options options = {.folder = folder,
                                          .readers = 1,
                                          .retry_ms = RETRY_MS,
                                          .log_pages = LOG_PAGES,
                                          .vfs = watched ? STORE_FAULTS_VFS : NULL,
                                          .files = watched ? &store_faults_files : NULL};
    return store_open(store, &options);
}

static void make_folder(const char *folder)
{
    static const char *const names[] = {"", "/segments", "/documents", "/documents/new"};
    for (int i = 0; i < 4; i++) {
        char path[STORE_FOLDER_BYTES + 32];
        snprintf(path, sizeof path, "%s%s", folder, names[i]);
        if (mkdir(path, 0700) != 0)
            fail_run(path);
    }
}

/* Opens what is left and holds it against the first `steps` steps. */
static int64_t check_left(struct campaign *campaign, const char *folder, int64_t steps)
{
    struct store *store;
    struct store_batch_answer answer;
    if (open_at(&store, folder, false) != STATUS_OK) {
        printf("violation: after %lld steps of seed %llu it does not open: %s\n", (long long)steps,
               (unsigned long long)campaign->seed, status_message());
        return 1;
    }
    int64_t wrong = store_history_check(campaign->history, store, steps, true, &campaign->facts);
    /* And it goes on. */
    const struct store_batch_args args = {.tenant = "t", .id = "afterwards"};
    if (store_batch_create(store, &answer, &args) != STATUS_OK) {
        printf("violation: it takes no new batch: %s\n", status_message());
        wrong++;
    } else {
        store_batch_clear(&answer.batch);
    }
    store_close(store);
    return wrong;
}

/* One point: what this mode leaves of the disk now. */
static void take_point(struct campaign *campaign, const struct crash_replay *replay,
                       enum crash_mode mode, int64_t event, int64_t steps)
{
    char folder[STORE_FOLDER_BYTES + 16];
    snprintf(folder, sizeof folder, "%s/left", campaign->folder);
    make_folder(folder);
    crash_replay_leave(replay, folder, mode, campaign->seed + (uint64_t)event);
    const int64_t wrong = check_left(campaign, folder, steps);
    if (wrong > 0)
        fprintf(stderr, "crash_points: that was event %lld, mode %d, seed %llu\n", (long long)event,
                (int)mode, (unsigned long long)campaign->seed);
    campaign->violations += wrong;
    campaign->points++;
    store_folder_remove(folder);
}

static int64_t count_events(struct crash_disk *disk)
{
    struct crash_replay *replay = crash_replay_begin(disk);
    int64_t events = 0;
    while (crash_replay_next(replay))
        events++;
    crash_replay_end(replay);
    return events;
}

/* Every point of a stretch that began with `before` steps acknowledged, or a share of them. */
static void take_points(struct campaign *campaign, struct crash_disk *disk, int64_t before)
{
    const int64_t all = count_events(disk) * CRASH_MODES;
    const int64_t wanted = campaign->points_wanted ? campaign->points_wanted / STRETCHES : all;
    struct crash_replay *replay = crash_replay_begin(disk);
    for (int64_t event = 0; crash_replay_next(replay); event++)
        for (int mode = 0; mode < CRASH_MODES; mode++)
            if (random_between(&campaign->random, 0, all) < wanted)
                take_point(campaign, replay, (enum crash_mode)mode, event,
                           before + crash_replay_acknowledged(replay));
    crash_replay_end(replay);
}

/* One stretch, recorded; then its points. `killed` (NULL: it is closed) is a new folder that gets
 * the store as a killed process leaves it. */
static void live(struct campaign *campaign, const char *folder, const char *killed)
{
    struct crash_disk *disk = crash_disk_create();
    struct store *store;
    const int64_t before = store_history_steps(campaign->history);
    store_faults_watch(folder, disk);
    if (open_at(&store, folder, true) != STATUS_OK)
        fail_run("open the store");
    for (int64_t i = 0; i < campaign->steps; i++) {
        if (store_history_step(campaign->history, store) != STATUS_OK)
            fail_run("a step");
        crash_disk_acknowledge(disk);
    }
    campaign->violations += store_history_check(
        campaign->history, store, store_history_steps(campaign->history), false, &campaign->facts);
    if (killed)
        store_faults_watch(folder, NULL);
    store_close(store);
    store_faults_watch(folder, NULL);
    store_history_reopened(campaign->history);
    if (killed) {
        struct crash_replay *replay = crash_replay_begin(disk);
        while (crash_replay_next(replay))
            continue;
        make_folder(killed);
        crash_replay_leave(replay, killed, CRASH_KEEP_ALL, 0);
        crash_replay_end(replay);
    }
    take_points(campaign, disk, before);
    crash_disk_destroy(disk);
}

static void parse(struct campaign *campaign, int count, char **arguments)
{
    const struct flags_row rows[] = {
        CAMPAIGN_COUNT("steps", &campaign->steps, "of one stretch of the history [60]"),
        CAMPAIGN_COUNT("points", &campaign->points_wanted, "so many prefixes, drawn; 0: all [0]"),
        {.name = "seed",
         .type = FLAGS_UNSIGNED,
         .target = &campaign->seed,
         .value = "N",
         .help = "of what is drawn [1]"},
    };
    const struct campaign_command command = {
        .program = "crash_points",
        .summary = "Power loss at every storage call of a drawn history.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    campaign_begin(&command, campaign->folder, count, arguments);
}

int main(int count, char **arguments)
{
    struct campaign campaign = {.seed = 1, .steps = 60};
    char first[STORE_FOLDER_BYTES + 16], second[STORE_FOLDER_BYTES + 16];
    log_configure(LOG_ERROR, -1);
    parse(&campaign, count, arguments);
    campaign.random.state = campaign.seed;
    campaign.history = store_history_create(campaign.seed);
    snprintf(first, sizeof first, "%s/first", campaign.folder);
    snprintf(second, sizeof second, "%s/second", campaign.folder);
    make_folder(first);
    live(&campaign, first, second);
    live(&campaign, second, NULL);
    live(&campaign, second, NULL);
    store_history_destroy(campaign.history);
    store_folder_remove(campaign.folder);
    printf("crash_points: %lld facts held\n", (long long)campaign.facts);
    const int64_t wanted = campaign.points_wanted ? campaign.points_wanted / 2 : 10000;
    bool passes = figure_at_least("crash_points.points", (double)campaign.points, (double)wanted,
                                  campaign.seed);
    passes &=
        figure_at_most("crash_points.violations", (double)campaign.violations, 0, campaign.seed);
    return passes ? 0 : 1;
}
