/* The requests that wait or run, by their tenant and the name that their clients know: a name is
 * one request's of a tenant at a time, and whoever of that tenant knows it can cancel that
 * request. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum { REQUESTS_NAME_BYTES = 128, REQUESTS_PLAN_BYTES = 1024 };

/* How far a request is. */
struct requests_tokens {
    int64_t prompt, prompt_done, completion;
};

/* What is about to be done for it. */
struct requests_plan {
    char text[REQUESTS_PLAN_BYTES]; /* for people, a few lines; "": none is made yet */
    double seconds;                 /* predicted, until the prompt is read */
    int64_t max_tokens;             /* of the answer; 0: of a score */
};

struct requests;

/* One request's entry; its errand owns it from requests_enter to requests_leave. */
struct requests_entry {
    struct requests_entry *next, **link;
    const char *tenant, *name; /* borrowed */
    bool is_score;
    int64_t entered_ns;
    atomic_bool cancelled; /* its errand ends it soon */
    /* Under the list's lock. */
    char group_id[REQUESTS_NAME_BYTES]; /* where it runs; "": it waits */
    struct requests_tokens tokens;
    struct requests_plan plan;
};

MUST_CHECK enum status requests_create(struct requests **requests);

/* NULL is accepted. */
void requests_destroy(struct requests *requests);

/* ALREADY_EXISTS while one of the tenant's has that name. */
MUST_CHECK enum status requests_enter(struct requests *requests, struct requests_entry *entry,
                                      const char *tenant, const char *name, bool is_score);
void requests_leave(struct requests *requests, struct requests_entry *entry);

/* It runs, on this group. */
void requests_run(struct requests *requests, struct requests_entry *entry, const char *group_id);

void requests_count(struct requests *requests, struct requests_entry *entry,
                    const struct requests_tokens *tokens);

void requests_set_plan(struct requests *requests, struct requests_entry *entry,
                       const struct requests_plan *plan);

/* Tokens of all requests that have ever been, each counted when requests_count told of it. */
void requests_totals(struct requests *requests, struct requests_tokens *tokens);

/* NOT_FOUND where none of the tenant's has that name. `everybodys`: where it has none, all that
 * have it. */
MUST_CHECK enum status requests_cancel(struct requests *requests, const char *tenant,
                                       const char *name, bool everybodys);

/* A copy of an entry. */
struct requests_view {
    char name[REQUESTS_NAME_BYTES];
    char group_id[REQUESTS_NAME_BYTES];
    bool is_score;
    struct requests_tokens tokens;
    struct requests_plan plan;
    double age_seconds;
};

/* The tenant's, of NULL everybody's, in the order in which they came; the caller frees `*views`. */
MUST_CHECK enum status requests_list(struct requests *requests, struct requests_view **views,
                                     size_t *count, const char *tenant);
