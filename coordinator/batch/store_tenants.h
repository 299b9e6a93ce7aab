/* The tenants as the writer has them in memory: their numbers in the database, and what each has.
 * Changes are collected here and written at the end of a turn; a turn that fails is followed by
 * store_tenants_load. Only the writer's thread comes here. */
#pragma once

#include "coordinator/batch/store.h"
#include "coordinator/batch/store_link.h"

struct store_tenant_entry {
    int64_t number;
    char *name;
    int64_t queued_lines, queued_tokens, running_lines, stored_bytes;
    bool changed;
};

struct store_tenants {
    struct store_tenant_entry **entries; /* by number - 1, which are given without gaps */
    int64_t count;
    int64_t *slots; /* a table by name: number, 0 for none */
    int64_t slots_count;
    int64_t growths; /* calls of store_tenants_grow */
};

/* All of them, from disk. */
MUST_CHECK enum status store_tenants_load(struct store_tenants *tenants, struct store_link *link);
void store_tenants_deinit(struct store_tenants *tenants);

/* Makes it where it is not there. */
MUST_CHECK enum status store_tenants_find(struct store_tenants *tenants, struct store_link *link,
                                          struct store_tenant_entry **entry, const char *name);

/* NULL where it is not there. */
struct store_tenant_entry *store_tenants_known(const struct store_tenants *tenants,
                                               const char *name);

struct store_tenant_entry *store_tenants_at(struct store_tenants *tenants, int64_t number);

struct store_tenant_growth {
    int64_t queued_lines, queued_tokens, running_lines, stored_bytes;
};

/* RESOURCE_EXHAUSTED where `growth` goes beyond the limits (NULL: none). */
MUST_CHECK enum status store_tenants_check(const struct store_tenant_entry *entry,
                                           const struct store_limits *limits,
                                           const struct store_tenant_growth *growth);

void store_tenants_grow(struct store_tenants *tenants, struct store_tenant_entry *entry,
                        const struct store_tenant_growth *growth);

/* Writes what has changed. */
MUST_CHECK enum status store_tenants_flush(struct store_tenants *tenants, struct store_link *link);

/* A tenant's number for a reader; 0: nobody of that name has anything here. */
MUST_CHECK enum status store_tenants_number(struct store_link *link, int64_t *number,
                                            const char *name);
