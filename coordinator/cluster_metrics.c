/* Owns nothing: reads the groups' view. Groups have numbers here, from 1 in the sequence in which
 * they came: their names hold those of hosts. */
#include "coordinator/cluster_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/sessions_metrics.h"
#include "longhaul/v1/inference.pb-c.h"

enum { NUMBER_BYTES = 24, STATES = 4 };

#define GAUGE(row_name, text, ...)                                                                 \
    {                                                                                              \
        .name = row_name, .help = text, .type = METRICS_GAUGE, .labels = { __VA_ARGS__ }           \
    }

static const struct metrics_family running =
    GAUGE("longhaul_requests_running", "Requests that have a place in a group.", NULL);
static const struct metrics_family waiting =
    GAUGE("longhaul_requests_waiting", "Requests that wait for a place.", NULL);
static const struct metrics_family serving = GAUGE(
    "longhaul_serving", "1 while a group is complete, loaded and at work, as health says.", NULL);
static const struct metrics_family groups =
    GAUGE("longhaul_worker_groups", "Worker groups, by state.", "state");
static const struct metrics_family places =
    GAUGE("longhaul_worker_group_places", "Requests that a group can hold at a time.", "group");
static const struct metrics_family cache =
    GAUGE("longhaul_kv_cache_usage_ratio",
          "Of a group's pool for keys and values: what requests hold. 0 where there is no limit.",
          "group");
static const struct metrics_family cache_tokens = GAUGE(
    "longhaul_kv_cache_tokens",
    "Of the requests that a group runs: tokens read and answered, whose keys it holds.", "group");
static const struct metrics_family heartbeat =
    GAUGE("longhaul_worker_heartbeat_age_seconds", "Since a rank was last heard.", "group", "rank");
static const struct metrics_family work = GAUGE(
    "longhaul_worker_work_age_seconds",
    "Since a rank with requests last finished a piece of work, as it said last.", "group", "rank");
static const struct metrics_family build =
    GAUGE("longhaul_build_info", "1, with the version.", "version");
static const struct metrics_family config =
    GAUGE("longhaul_config_info", "1, with what the coordinator was started for.", "context_tokens",
          "group_requests");

#define COUNTER(row_name, text)                                                                    \
    {                                                                                              \
        .name = row_name, .help = text, .type = METRICS_COUNTER                                    \
    }

static const struct metrics_family store_commit_seconds =
    COUNTER("longhaul_store_commit_seconds", "In which the store wrote changes to its disk.");
static const struct metrics_family store_commits =
    COUNTER("longhaul_store_commits", "Transactions of the store.");
static const struct metrics_family store_changes =
    COUNTER("longhaul_store_changes", "Changes that the store's transactions carried.");
static const struct metrics_family store_refused =
    COUNTER("longhaul_store_refused", "Changes that the store could not take.");
static const struct metrics_family leases_expired =
    COUNTER("longhaul_leases_expired",
            "Leases of lines that ran out, or were held by a process that had ended.");
static const struct metrics_family store_wal =
    GAUGE("longhaul_store_wal_bytes", "Of the store's write-ahead log.", NULL);
static const struct metrics_family store_free =
    GAUGE("longhaul_store_free_bytes", "Free on the store's disk.", NULL);
static const struct metrics_family store_stored =
    GAUGE("longhaul_store_stored_bytes", "Lines, results and documents of all tenants.", NULL);
static const struct metrics_family store_memory =
    GAUGE("longhaul_store_memory_bytes", "Of SQLite: pages of the database that it keeps.", NULL);
static const struct metrics_family store_serving =
    GAUGE("longhaul_store_serving", "1 while the store takes changes.", NULL);

static void tell_store(struct metrics_writer *writer, struct store *store)
{
    struct store_facts facts;
    store_read_facts(store, &facts);
    const struct {
        const struct metrics_family *family;
        double value;
    } rows[] = {
        {&store_commit_seconds, facts.commit_seconds},
        {&store_commits, (double)facts.commits},
        {&store_changes, (double)facts.changes},
        {&store_refused, (double)facts.refused},
        {&leases_expired, (double)facts.leases_expired},
        {&store_wal, (double)facts.log_bytes},
        {&store_free, (double)facts.free_bytes},
        {&store_stored, (double)facts.stored_bytes},
        {&store_memory, (double)facts.memory_bytes},
        {&store_serving, facts.serving},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        metrics_tell(writer, rows[r].family);
        metrics_sample(writer, rows[r].value);
    }
}

static void tell_states(struct metrics_writer *writer, const struct workers_group_view *views,
                        int count)
{
    static const struct {
        Longhaul__V1__GroupState state;
        const char *word;
    } states[STATES] = {
        {LONGHAUL__V1__GROUP_STATE__GROUP_STATE_JOINING, "joining"},
        {LONGHAUL__V1__GROUP_STATE__GROUP_STATE_LOADING, "loading"},
        {LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY, "ready"},
        {LONGHAUL__V1__GROUP_STATE__GROUP_STATE_RUNNING, "running"},
    };
    metrics_tell(writer, &groups);
    for (int s = 0; s < STATES; s++) {
        int of_state = 0;
        for (int g = 0; g < count; g++)
            of_state += views[g].state == states[s].state;
        metrics_sample(writer, of_state, states[s].word);
    }
}

static void tell_groups(struct metrics_writer *writer, const struct workers_group_view *views,
                        int count)
{
    char group[NUMBER_BYTES];
    int holding = 0;
    for (int g = 0; g < count; g++)
        holding += views[g].running;
    metrics_tell(writer, &running);
    metrics_sample(writer, holding);
    metrics_tell(writer, &places);
    for (int g = 0; g < count; g++) {
        snprintf(group, sizeof group, "%llu", (unsigned long long)views[g].serial);
        metrics_sample(writer, views[g].places, group);
    }
    metrics_tell(writer, &cache);
    for (int g = 0; g < count; g++) {
        const double pool = (double)views[g].pool_bytes;
        snprintf(group, sizeof group, "%llu", (unsigned long long)views[g].serial);
        metrics_sample(writer, pool > 0 ? (double)views[g].taken_bytes / pool : 0, group);
    }
}

static void tell_cached(struct metrics_writer *writer, struct requests *requests,
                        const struct workers_group_view *views, int count)
{
    char group[NUMBER_BYTES];
    struct requests_view *all = NULL;
    size_t requests_count = 0;
    if (requests_list(requests, &all, &requests_count, NULL) != STATUS_OK)
        return; /* no memory: the next reader gets them */
    metrics_tell(writer, &cache_tokens);
    for (int g = 0; g < count; g++) {
        int64_t tokens = 0;
        for (size_t i = 0; i < requests_count; i++)
            if (strcmp(all[i].group_id, views[g].group_id) == 0)
                tokens += all[i].tokens.prompt_done + all[i].tokens.completion;
        snprintf(group, sizeof group, "%llu", (unsigned long long)views[g].serial);
        metrics_sample(writer, (double)tokens, group);
    }
    free(all);
}

static void tell_ranks(struct metrics_writer *writer, const struct workers_group_view *views,
                       int count, bool beats)
{
    char group[NUMBER_BYTES], rank[NUMBER_BYTES];
    metrics_tell(writer, beats ? &heartbeat : &work);
    for (int g = 0; g < count; g++) {
        snprintf(group, sizeof group, "%llu", (unsigned long long)views[g].serial);
        for (int r = 0; r < views[g].rank_count; r++) {
            const struct workers_rank_view *view = &views[g].ranks[r];
            snprintf(rank, sizeof rank, "%d", view->rank);
            metrics_sample(writer, beats ? view->heartbeat_age_seconds : view->work_age_seconds,
                           group, rank);
        }
    }
}

static void collect(struct metrics_writer *writer, void *context)
{
    const struct cluster_metrics *metrics = context;
    char tokens[NUMBER_BYTES], requests[NUMBER_BYTES];
    struct workers_group_view *views = NULL;
    int count = 0;
    metrics_tell(writer, &build);
    metrics_sample(writer, 1, LONGHAUL_VERSION);
    snprintf(tokens, sizeof tokens, "%lld", (long long)metrics->context_tokens);
    snprintf(requests, sizeof requests, "%d", metrics->group_requests);
    metrics_tell(writer, &config);
    metrics_sample(writer, 1, tokens, requests);
    metrics_tell(writer, &serving);
    metrics_sample(writer, workers_serving(metrics->workers));
    metrics_tell(writer, &waiting);
    metrics_sample(writer, (double)queue_waiting(metrics->queue));
    sessions_metrics_tell(writer, metrics->sessions);
    if (metrics->store)
        tell_store(writer, metrics->store);
    if (workers_view(metrics->workers, &views, &count) != STATUS_OK)
        return; /* no memory: the next reader gets them */
    tell_states(writer, views, count);
    tell_groups(writer, views, count);
    tell_cached(writer, metrics->requests, views, count);
    tell_ranks(writer, views, count, true);
    tell_ranks(writer, views, count, false);
    workers_view_free(views, count);
}

void cluster_metrics_begin(struct cluster_metrics *metrics)
{
    metrics->collector = (struct metrics_collector){.collect = collect, .context = metrics};
    metrics_collector_add(&metrics->collector);
}

void cluster_metrics_end(struct cluster_metrics *metrics)
{
    metrics_collector_remove(&metrics->collector);
}
