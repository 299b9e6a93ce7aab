/* The names of the requests that run or wait: one of them is never used twice at a time. */
#pragma once

#include "proto/status.h"

struct request_names;

/* One request's name; the caller owns it, and `text` with it, from enter to leave. */
struct request_name {
    struct request_name *next, **link; /* of the list */
    const char *text;
};

MUST_CHECK enum status request_names_create(struct request_names **names);

/* Every name must have left. NULL is accepted. */
void request_names_destroy(struct request_names *names);

/* ALREADY_EXISTS while a request of this name is there. */
MUST_CHECK enum status request_names_enter(struct request_names *names, struct request_name *name,
                                           const char *text);
void request_names_leave(struct request_names *names, struct request_name *name);
