/* Owns the losses of late and what is charged to lines. */
#include "coordinator/batch/loss_record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUPS_MAX = 256,  /* that are watched */
    LOSSES_MAX = 32,   /* that are remembered */
    LINES_MAX = 1024,  /* that something is charged to; of more the oldest is forgotten */
    LOOKS_RECENT = 20, /* each line of a loss tells of it; later a group has taken its name */
};

static const double usual_rate = 1.0 / 86400; /* losses a group and second */
static const double shortest_seconds = 0.001;
/* A line's rest, in group-seconds: where groups die all the time, some do meanwhile. */
static const double rest_of_a_second = 4, rest_least = 4, rest_most = 60;
/* At most so much is believed of one loss, and less where another one was seen: that may have been
 * the first of many. */
static const double bits_of_a_loss = 10, bits_beside_others = 7, bits_enough = 20;

struct loss {
    uint64_t group;
    double at;           /* group-seconds */
    int64_t batch, line; /* whom it is charged to; 0: nobody */
    int64_t look;        /* at which it was seen */
    bool seen;           /* a look has missed the group */
};

struct suspect {
    int64_t batch, line;
    double bits;
    double rests_until; /* group-seconds */
};

struct loss_record {
    uint64_t groups[GROUPS_MAX];
    int group_count;
    double group_seconds; /* for which groups were watched, all together */
    int64_t looks;
    struct loss losses[LOSSES_MAX]; /* the newest first */
    int loss_count;
    struct suspect suspects[LINES_MAX]; /* the oldest first */
    int suspect_count;
};

enum status loss_record_create(struct loss_record **record)
{
    *record = calloc(1, sizeof **record);
    return *record ? STATUS_OK
                   : fail(STATUS_RESOURCE_EXHAUSTED, "no memory to record which groups were lost");
}

void loss_record_destroy(struct loss_record *record)
{
    free(record);
}

/* ---- losses ---- */

static struct loss *add_loss(struct loss_record *record, uint64_t group)
{
    if (record->loss_count < LOSSES_MAX)
        record->loss_count++;
    memmove(record->losses + 1, record->losses,
            (size_t)(record->loss_count - 1) * sizeof record->losses[0]);
    record->losses[0] =
        (struct loss){.group = group, .at = record->group_seconds, .look = record->looks};
    return &record->losses[0];
}

/* A group that is gone may have been charged to a line already. */
static void see_loss(struct loss_record *record, uint64_t group)
{
    for (int i = 0; i < record->loss_count; i++)
        if (record->losses[i].group == group && !record->losses[i].seen) {
            record->losses[i].seen = true;
            return;
        }
    add_loss(record, group)->seen = true;
}

static bool is_among(uint64_t group, const uint64_t *groups, int count)
{
    for (int i = 0; i < count; i++)
        if (groups[i] == group)
            return true;
    return false;
}

void loss_record_look(struct loss_record *record, const uint64_t *groups, int count, double seconds)
{
    record->group_seconds += seconds * record->group_count;
    record->looks++;
    for (int i = 0; i < record->group_count; i++)
        if (!is_among(record->groups[i], groups, count))
            see_loss(record, record->groups[i]);
    record->group_count = count < GROUPS_MAX ? count : GROUPS_MAX;
    memcpy(record->groups, groups, (size_t)record->group_count * sizeof *groups);
}

/* ---- lines ---- */

/* How often groups are lost without the line: of the losses that are not charged to it, the last n
 * for that n by which it is most often; the oldest of them begins the time and does not count.
 * `*any`: there is such a loss. */
static double rate_without(const struct loss_record *record, const struct loss_charge *charge,
                           bool *any)
{
    double rate = usual_rate;
    int others = 0;
    for (int i = 0; i < record->loss_count; i++) {
        const struct loss *loss = &record->losses[i];
        if (loss->batch == charge->batch && loss->line == charge->line)
            continue;
        rate = fmax(rate, others / (record->group_seconds - loss->at));
        others++;
    }
    *any = others > 0;
    return rate;
}

static struct suspect *find_suspect(struct loss_record *record, int64_t batch, int64_t line)
{
    for (int i = 0; i < record->suspect_count; i++)
        if (record->suspects[i].batch == batch && record->suspects[i].line == line)
            return &record->suspects[i];
    return NULL;
}

static void remove_suspect(struct loss_record *record, struct suspect *suspect)
{
    const struct suspect *end = record->suspects + record->suspect_count--;
    memmove(suspect, suspect + 1, (size_t)(end - suspect - 1) * sizeof *suspect);
}

static struct suspect *take_suspect(struct loss_record *record, int64_t batch, int64_t line)
{
    struct suspect *suspect = find_suspect(record, batch, line);
    if (suspect)
        return suspect;
    if (record->suspect_count == LINES_MAX)
        remove_suspect(record, record->suspects);
    suspect = &record->suspects[record->suspect_count++];
    *suspect = (struct suspect){.batch = batch, .line = line};
    return suspect;
}

/* The loss that a line tells of: a look, or another line, may have been first. */
static struct loss *take_loss(struct loss_record *record, uint64_t group)
{
    for (int i = 0; i < record->loss_count; i++) {
        struct loss *loss = &record->losses[i];
        if (loss->group == group && loss->look + LOOKS_RECENT > record->looks)
            return loss;
    }
    return add_loss(record, group);
}

/* A line that has lost one group runs beside such as have lost none (line_outcome_may_begin). */
bool loss_record_charge(struct loss_record *record, const struct loss_charge *charge)
{
    struct loss *loss = take_loss(record, charge->group);
    if (charge->in_company && charge->losses != 1)
        return false;
    loss->batch = charge->batch;
    loss->line = charge->line;
    const double seconds = fmax(charge->seconds, shortest_seconds);
    bool any = false;
    const double chance = -expm1(-rate_without(record, charge, &any) * seconds);
    struct suspect *suspect = take_suspect(record, charge->batch, charge->line);
    suspect->bits += fmin(any ? bits_beside_others : bits_of_a_loss, -log2(chance));
    suspect->rests_until =
        record->group_seconds + fmin(rest_most, rest_least + rest_of_a_second * seconds);
    return !charge->in_company && suspect->bits >= bits_enough;
}

bool loss_record_rests(struct loss_record *record, int64_t batch, int64_t line)
{
    const struct suspect *suspect = find_suspect(record, batch, line);
    return suspect && record->group_seconds < suspect->rests_until;
}

void loss_record_forget(struct loss_record *record, int64_t batch, int64_t line)
{
    struct suspect *suspect = find_suspect(record, batch, line);
    if (suspect)
        remove_suspect(record, suspect);
}
