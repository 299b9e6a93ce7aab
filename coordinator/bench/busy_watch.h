/* Whether this host did something else while something was measured: what all processes used of its
 * cores, less what this process and those below it did. */
#pragma once

#include <stdbool.h>

struct json_writer;

/* {0} before the first interval. Seconds of processor time, over all intervals. */
struct busy_watch {
    double begun_ns, begun_all, begun_stolen, begun_own; /* of the interval that is open */
    double seconds;                                      /* by the clock */
    double all, stolen, own;
    double load; /* as the last interval ended; below 0: not known */
    int intervals;
    bool unknown; /* the kernel does not tell */
};

/* An interval begins, and ends: between them is what is measured. Each takes some milliseconds. */
void busy_watch_begin(struct busy_watch *watch);
void busy_watch_end(struct busy_watch *watch);

struct busy_findings {
    bool known; /* false: the intervals were too short for the kernel's count of 10 ms, or it is not
                   there */
    double other_cores;  /* how many cores others kept busy, on average */
    double stolen_cores; /* how many the machine below this one gave to its other guests */
    bool busy;           /* both together are over BUSY_WATCH_SHARE of the usable cores */
};

/* A twentieth: what a figure of that accuracy can be off by. */
#define BUSY_WATCH_SHARE 0.05

void busy_watch_find(struct busy_findings *findings, const struct busy_watch *watch);

/* {"busy", "other_cores", "stolen_cores", "load"} under `key`, null where it is not known. */
void busy_watch_write(struct json_writer *writer, const char *key, const struct busy_watch *watch);
