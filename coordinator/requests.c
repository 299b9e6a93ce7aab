/* Owns the list of requests under way. Promises that no two of a
 * tenant's have one name, and that no tenant learns of another's. */
#include "coordinator/requests.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"

struct requests {
    pthread_mutex_t lock;
    struct requests_entry *first, **last;
    size_t count;
    struct requests_tokens totals;
};

enum status requests_create(struct requests **requests)
{
    struct requests *r = calloc(1, sizeof *r);
    if (!r)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the list of requests");
    pthread_mutex_init(&r->lock, NULL);
    r->last = &r->first;
    *requests = r;
    return STATUS_OK;
}

void requests_destroy(struct requests *requests)
{
    if (!requests)
        return;
    pthread_mutex_destroy(&requests->lock);
    free(requests);
}

/* Under the lock. */
static struct requests_entry *find(struct requests *requests, const char *tenant, const char *name)
{
    struct requests_entry *entry = requests->first;
    while (entry && (strcmp(entry->name, name) != 0 || strcmp(entry->tenant, tenant) != 0))
        entry = entry->next;
    return entry;
}

enum status requests_enter(struct requests *requests, struct requests_entry *entry,
                           const char *tenant, const char *name, bool is_score)
{
    pthread_mutex_lock(&requests->lock);
    bool taken = find(requests, tenant, name) != NULL;
    if (!taken) {
        *entry = (struct requests_entry){.tenant = tenant,
                                         .name = name,
                                         .is_score = is_score,
                                         .entered_ns = clock_now_ns(),
                                         .link = requests->last};
        *requests->last = entry;
        requests->last = &entry->next;
        requests->count++;
    }
    pthread_mutex_unlock(&requests->lock);
    return taken ? fail(STATUS_ALREADY_EXISTS,
                        "a request named \"%s\" runs or waits already; give another request_id, or "
                        "none",
                        name)
                 : STATUS_OK;
}

void requests_leave(struct requests *requests, struct requests_entry *entry)
{
    pthread_mutex_lock(&requests->lock);
    *entry->link = entry->next;
    if (entry->next)
        entry->next->link = entry->link;
    else
        requests->last = entry->link;
    requests->count--;
    pthread_mutex_unlock(&requests->lock);
}

void requests_run(struct requests *requests, struct requests_entry *entry, const char *group_id)
{
    pthread_mutex_lock(&requests->lock);
    snprintf(entry->group_id, sizeof entry->group_id, "%s", group_id);
    pthread_mutex_unlock(&requests->lock);
}

void requests_count(struct requests *requests, struct requests_entry *entry,
                    const struct requests_tokens *tokens)
{
    pthread_mutex_lock(&requests->lock);
    requests->totals.prompt += tokens->prompt - entry->tokens.prompt;
    requests->totals.prompt_done += tokens->prompt_done - entry->tokens.prompt_done;
    requests->totals.completion += tokens->completion - entry->tokens.completion;
    entry->tokens = *tokens;
    pthread_mutex_unlock(&requests->lock);
}

void requests_set_plan(struct requests *requests, struct requests_entry *entry,
                       const struct requests_plan *plan)
{
    pthread_mutex_lock(&requests->lock);
    entry->plan = *plan;
    pthread_mutex_unlock(&requests->lock);
}

void requests_totals(struct requests *requests, struct requests_tokens *tokens)
{
    pthread_mutex_lock(&requests->lock);
    *tokens = requests->totals;
    pthread_mutex_unlock(&requests->lock);
}

enum status requests_cancel(struct requests *requests, const char *tenant, const char *name,
                            bool everybodys)
{
    pthread_mutex_lock(&requests->lock);
    struct requests_entry *own = find(requests, tenant, name);
    bool found = false;
    for (struct requests_entry *entry = requests->first; entry; entry = entry->next) {
        if (entry != own && (own || !everybodys || strcmp(entry->name, name) != 0))
            continue;
        atomic_store(&entry->cancelled, true);
        found = true;
    }
    pthread_mutex_unlock(&requests->lock);
    return found ? STATUS_OK
                 : fail(STATUS_NOT_FOUND, "no request named \"%s\" waits or runs here", name);
}

enum status requests_list(struct requests *requests, struct requests_view **views, size_t *count,
                          const char *tenant)
{
    pthread_mutex_lock(&requests->lock);
    struct requests_view *all = calloc(requests->count + 1, sizeof *all);
    size_t n = 0;
    for (struct requests_entry *entry = requests->first; all && entry; entry = entry->next) {
        if (tenant && strcmp(entry->tenant, tenant) != 0)
            continue;
        struct requests_view *view = &all[n++];
        snprintf(view->name, sizeof view->name, "%s", entry->name);
        view->is_score = entry->is_score;
        memcpy(view->group_id, entry->group_id, sizeof view->group_id);
        view->tokens = entry->tokens;
        view->plan = entry->plan;
        view->age_seconds = clock_seconds_since(entry->entered_ns);
    }
    pthread_mutex_unlock(&requests->lock);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to list the requests");
    *views = all;
    *count = n;
    return STATUS_OK;
}
