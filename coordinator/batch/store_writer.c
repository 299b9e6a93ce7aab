/* Owns the writer's thread and its transactions. Promises that a change is answered OK only after
 * its commit was synced, that a failure takes back everything of its transaction, in memory too,
 * and that a store whose disk is in doubt takes no change. */
#include "coordinator/batch/store_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_begin.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_sweep.h"
#include "proto/clock.h"
#include "proto/log.h"

enum {
    GROUP_MAX = 128,
    MESSAGE_BYTES = STORE_WRITER_MESSAGE_BYTES,
    SWEEP_MS = 250,
    LOG_LONG = 4 /* times the usual length: readers are waited for */
};

struct store_writer {
    struct store *store;
    int64_t retry_ms;
    int log_pages_home;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t come;
    struct store_change *first, **last;
    bool ending;
    pthread_t teller;
    pthread_cond_t told;                    /* there is something to tell, or the end */
    struct store_change *tell, **tell_last; /* on disk or refused, and not told */
    bool telling_ends;
    bool serving;
    char reason[MESSAGE_BYTES];
    struct store_facts facts;
    /* The thread's own. */
    int64_t retry_ns, sweep_ns;
    int log_pages;
    struct store_removal *removals;
    char cause[MESSAGE_BYTES]; /* of the last failure */
};

/* ---- the store's state ---- */

/* What fail() was told last, before anything else fails. */
static void note_cause(struct store_writer *writer)
{
    snprintf(writer->cause, sizeof writer->cause, "%s", status_message());
}

static void stop_serving(struct store_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    const bool was_serving = writer->serving;
    writer->serving = false;
    memcpy(writer->reason, writer->cause, sizeof writer->reason);
    pthread_mutex_unlock(&writer->lock);
    writer->retry_ns = clock_after_ms(writer->retry_ms);
    if (was_serving)
        log_line(LOG_ERROR, "store takes no changes", log_text("reason", writer->reason),
                 log_integer("retry_ms", writer->retry_ms));
}

/* Under the lock. */
static enum status refuse(struct store_writer *writer)
{
    writer->facts.refused++;
    return fail(STATUS_UNAVAILABLE, "the store takes no changes for now: %s", writer->reason);
}

bool store_writer_is_serving(struct store_writer *writer, char *reason, size_t bytes)
{
    pthread_mutex_lock(&writer->lock);
    const bool serving = writer->serving;
    if (bytes > 0)
        snprintf(reason, bytes, "%s", serving ? "" : writer->reason);
    pthread_mutex_unlock(&writer->lock);
    return serving;
}

void store_writer_facts(struct store_writer *writer, struct store_facts *facts)
{
    pthread_mutex_lock(&writer->lock);
    *facts = writer->facts;
    facts->serving = writer->serving;
    pthread_mutex_unlock(&writer->lock);
}

/* ---- a transaction ---- */

static void begin_turn(struct store_writer *writer, struct store_turn *turn)
{
    *turn = (struct store_turn){.store = writer->store,
                                .link = &writer->store->link,
                                .now_us = store_now_us(writer->store)};
}

enum status store_turn_remove(struct store_turn *turn, const char *name)
{
    char path[PATH_MAX];
    store_place_path(&turn->store->place, path, name);
    const size_t bytes = strlen(path) + 1;
    struct store_removal *removal = malloc(sizeof *removal + bytes);
    if (!removal)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to remove %s", name);
    memcpy(removal->path, path, bytes);
    removal->next = turn->removals;
    turn->removals = removal;
    return STATUS_OK;
}

static void forget_removals(struct store_removal *removals)
{
    while (removals) {
        struct store_removal *next = removals->next;
        free(removals);
        removals = next;
    }
}

/* Files that no row names any more. One that stays is found when the store is opened next. */
static void remove_files(struct store_writer *writer)
{
    if (!writer->removals || store_place_files_are_held(&writer->store->place))
        return;
    for (const struct store_removal *at = writer->removals; at; at = at->next)
        (void)writer->store->place.files->remove(at->path);
    forget_removals(writer->removals);
    writer->removals = NULL;
}

/* Takes everything back; the cause is noted before. */
static void roll_back(struct store_writer *writer, struct store_turn *turn)
{
    struct store *store = writer->store;
    note_cause(writer);
    store_link_reset(&store->link);
    if (!sqlite3_get_autocommit(store->link.database))
        (void)sqlite3_exec(store->link.database, "ROLLBACK", NULL, NULL, NULL);
    forget_removals(turn->removals);
    store_segment_abandon(&store->segment, &store->place);
    /* Without what the database says the writer cannot go on. */
    if (!sqlite3_get_autocommit(store->link.database) || store_begin_load(store) != STATUS_OK)
        stop_serving(writer);
}

static enum status commit(struct store_writer *writer, struct store_turn *turn, int64_t changes)
{
    struct store *store = writer->store;
    const int64_t start_ns = clock_now_ns();
    TRY(store_segment_sync(&store->segment, &store->place));
    TRY(store_tenants_flush(&store->tenants, &store->link));
    TRY(store_link_do_values(&store->link, "COMMIT", NULL, 0));
    pthread_mutex_lock(&writer->lock);
    writer->facts.commits++;
    writer->facts.changes += changes;
    writer->facts.commit_seconds += clock_seconds_since(start_ns);
    pthread_mutex_unlock(&writer->lock);
    store_waits_tell(store->waits, turn->touched_batches, turn->lines);
    struct store_removal **end = &turn->removals;
    while (*end)
        end = &(*end)->next;
    *end = writer->removals;
    writer->removals = turn->removals;
    remove_files(writer);
    return STATUS_OK;
}

enum status store_writer_begin_part(struct store_turn *turn)
{
    const struct store_segment *segment = &turn->store->segment;
    turn->part.growths = turn->store->tenants.growths;
    turn->part.segment = segment->descriptor >= 0 ? segment->number : 0;
    turn->part.removals = turn->removals;
    return store_link_do_values(turn->link, "SAVEPOINT part", NULL, 0);
}

/* What the database does not take back of a part: a segment that it began, files to be removed. */
static void undo_files(struct store_turn *turn)
{
    struct store *store = turn->store;
    if (store->segment.descriptor >= 0 && store->segment.number != turn->part.segment)
        store_segment_abandon(&store->segment, &store->place);
    while (turn->removals != turn->part.removals) {
        struct store_removal *removal = turn->removals;
        turn->removals = removal->next;
        free(removal);
    }
}

enum status store_writer_end_part(struct store_turn *turn, enum status status)
{
    if (status == STATUS_OK)
        return store_link_do_values(turn->link, "RELEASE part", NULL, 0);
    char message[MESSAGE_BYTES];
    snprintf(message, sizeof message, "%s", status_message());
    if (sqlite3_get_autocommit(turn->link->database))
        return status; /* the error has ended the whole transaction */
    store_link_reset(turn->link);
    TRY(store_link_run(turn->link, "ROLLBACK TO part; RELEASE part"));
    undo_files(turn);
    turn->undone = turn->store->tenants.growths == turn->part.growths;
    return fail(status, "%s", message);
}

/* ---- groups of changes ---- */

static void answer(struct store_change *change, enum status status, const char *message)
{
    change->status = status;
    snprintf(change->message, sizeof change->message, "%s", message);
}

static void answer_refused(struct store_writer *writer, struct store_change *change)
{
    pthread_mutex_lock(&writer->lock);
    const enum status status = refuse(writer);
    pthread_mutex_unlock(&writer->lock);
    answer(change, status, status_message());
}

/* Whether a change that was refused left something behind. */
static enum status apply_one(struct store_turn *turn, struct store_change *change, bool *spoilt)
{
    const int64_t before = sqlite3_total_changes64(turn->link->database);
    const int64_t growths = turn->store->tenants.growths;
    turn->undone = false;
    const enum status status = change->apply(turn, change->context);
    *spoilt = status != STATUS_OK &&
              (sqlite3_get_autocommit(turn->link->database) ||
               (sqlite3_total_changes64(turn->link->database) != before && !turn->undone) ||
               turn->store->tenants.growths != growths || status == STATUS_UNAVAILABLE);
    return status;
}

/* All of `group` in one transaction. Not OK: nothing of it is done, and `*changes` have not been
 * answered; the cause is this status. */
static enum status run_group(struct store_writer *writer, struct store_change *group)
{
    struct store_turn turn;
    begin_turn(writer, &turn);
    int64_t changes = 0;
    enum status status = store_link_do_values(&writer->store->link, "BEGIN IMMEDIATE", NULL, 0);
    for (struct store_change *change = group; status == STATUS_OK && change;
         change = change->next) {
        bool spoilt;
        const enum status applied = apply_one(&turn, change, &spoilt);
        answer(change, applied, applied == STATUS_OK ? "" : status_message());
        if (spoilt)
            status = applied;
        changes++;
    }
    if (status == STATUS_OK)
        status = commit(writer, &turn, changes);
    if (status != STATUS_OK)
        roll_back(writer, &turn);
    return status;
}

/* The disk is in doubt: nothing goes on. Everything else concerns one change or one moment. */
static bool is_disk(enum status status)
{
    return status == STATUS_UNAVAILABLE;
}

static void run_changes(struct store_writer *writer, struct store_change *group)
{
    enum status status = run_group(writer, group);
    if (status == STATUS_OK)
        return;
    if (is_disk(status))
        stop_serving(writer);
    if (is_disk(status) || !group->next) {
        for (struct store_change *change = group; change; change = change->next)
            if (is_disk(status))
                answer_refused(writer, change);
            else
                answer(change, status, writer->cause);
        return;
    }
    while (group) {
        struct store_change *next = group->next;
        group->next = NULL;
        run_changes(writer, group);
        group = next;
    }
}

/* Who waits has a semaphore, not a condition under the writer's lock: those of a group would queue
 * there. Everybody else is told by the teller, so that the writer goes on. */
static void finish(struct store_writer *writer, struct store_change *const *changes, int count)
{
    struct store_change *tell = NULL, **last = &tell;
    for (int i = 0; i < count; i++) {
        if (changes[i]->waiter) {
            sem_post(changes[i]->waiter);
            continue;
        }
        changes[i]->next = NULL;
        *last = changes[i];
        last = &changes[i]->next;
    }
    if (!tell)
        return;
    pthread_mutex_lock(&writer->lock);
    *writer->tell_last = tell;
    writer->tell_last = last;
    pthread_cond_signal(&writer->told);
    pthread_mutex_unlock(&writer->lock);
}

static void tell_one(struct store_change *change)
{
    enum status status = change->status;
    if (status != STATUS_OK)
        status = fail(status, "%s", change->message);
    change->ended(change, status);
}

static void *tell_all(void *context)
{
    struct store_writer *writer = context;
    for (;;) {
        pthread_mutex_lock(&writer->lock);
        while (!writer->tell && !writer->telling_ends)
            (void)clock_wait(&writer->told, &writer->lock, CLOCK_NEVER_NS);
        struct store_change *change = writer->tell;
        writer->tell = NULL;
        writer->tell_last = &writer->tell;
        pthread_mutex_unlock(&writer->lock);
        if (!change)
            return NULL;
        while (change) {
            struct store_change *next = change->next;
            tell_one(change);
            change = next;
        }
    }
}

/* ---- between groups ---- */

static int note_pages(void *context, sqlite3 *database, const char *name, int pages)
{
    (void)database;
    (void)name;
    ((struct store_writer *)context)->log_pages = pages;
    return SQLITE_OK;
}

/* Brings pages home when the log is long. */
static void checkpoint(struct store_writer *writer)
{
    if (writer->log_pages < writer->log_pages_home)
        return;
    const int mode = writer->log_pages < LOG_LONG * writer->log_pages_home
                         ? SQLITE_CHECKPOINT_PASSIVE
                         : SQLITE_CHECKPOINT_RESTART;
    struct store_link *link = &writer->store->link;
    const int code = sqlite3_wal_checkpoint_v2(link->database, "main", mode, NULL, NULL);
    writer->log_pages = 0;
    if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return;
    (void)!store_link_fail(link, "checkpoint");
    note_cause(writer);
    stop_serving(writer);
}

static void sweep(struct store_writer *writer)
{
    struct store_turn turn;
    begin_turn(writer, &turn);
    bool more = false;
    enum status status = store_link_run(&writer->store->link, "BEGIN IMMEDIATE");
    if (status == STATUS_OK)
        status = store_sweep_step(&turn, &more);
    if (status == STATUS_OK)
        status = commit(writer, &turn, 0);
    if (status != STATUS_OK) {
        roll_back(writer, &turn);
        if (is_disk(status))
            stop_serving(writer);
        else
            log_line(LOG_ERROR, "store cannot clear up", log_text("reason", writer->cause));
    }
    writer->sweep_ns = more && status == STATUS_OK ? 0 : clock_after_ms(SWEEP_MS);
}

/* Whether the disk takes a change again: a new connection, a commit, and a file of some size. */
static void probe(struct store_writer *writer)
{
    struct store *store = writer->store;
    store_link_close(&store->link);
    if (store_begin_probe(store) != STATUS_OK) {
        note_cause(writer);
        stop_serving(writer);
        return;
    }
    sqlite3_wal_hook(store->link.database, note_pages, writer);
    pthread_mutex_lock(&writer->lock);
    writer->serving = true;
    writer->reason[0] = '\0';
    pthread_mutex_unlock(&writer->lock);
    log_line(LOG_INFO, "store takes changes again");
}

/* Takes what waits, at most GROUP_MAX; sleeps until there is something to do. False at the end. */
static bool take(struct store_writer *writer, struct store_change **changes, int *count)
{
    *count = 0;
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        const int64_t due_ns = writer->serving ? writer->sweep_ns : writer->retry_ns;
        if (writer->first || writer->ending || !clock_wait(&writer->come, &writer->lock, due_ns))
            break;
    }
    while (writer->first && *count < GROUP_MAX) {
        changes[(*count)++] = writer->first;
        writer->first = writer->first->next;
    }
    if (!writer->first)
        writer->last = &writer->first;
    const bool go_on = !writer->ending || *count > 0;
    pthread_mutex_unlock(&writer->lock);
    return go_on;
}

static void *run(void *context)
{
    struct store_writer *writer = context;
    struct store_change *changes[GROUP_MAX];
    int count;
    while (take(writer, changes, &count)) {
        for (int i = 0; i < count; i++)
            changes[i]->next = i + 1 < count ? changes[i + 1] : NULL;
        if (count > 0 && writer->serving)
            run_changes(writer, changes[0]);
        else
            for (int i = 0; i < count; i++)
                answer_refused(writer, changes[i]);
        finish(writer, changes, count);
        if (writer->serving && clock_now_ns() >= writer->sweep_ns)
            sweep(writer);
        if (writer->serving)
            checkpoint(writer);
        if (!writer->serving && clock_now_ns() >= writer->retry_ns)
            probe(writer);
    }
    return NULL;
}

/* ---- from outside ---- */

static void end_teller(struct store_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->telling_ends = true;
    pthread_cond_signal(&writer->told);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->teller, NULL);
}

static void writer_free(struct store_writer *writer)
{
    pthread_cond_destroy(&writer->told);
    pthread_cond_destroy(&writer->come);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

enum status store_writer_create(struct store_writer **writer, struct store *store, int64_t retry_ms,
                                int log_pages)
{
    struct store_writer *w = calloc(1, sizeof *w);
    if (!w)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the store");
    w->store = store;
    w->retry_ms = retry_ms;
    w->log_pages_home = log_pages;
    w->last = &w->first;
    w->tell_last = &w->tell;
    w->serving = true;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->come, NULL);
    pthread_cond_init(&w->told, NULL);
    sqlite3_wal_hook(store->link.database, note_pages, w);
    int code = pthread_create(&w->teller, NULL, tell_all, w);
    if (code == 0) {
        code = pthread_create(&w->thread, NULL, run, w);
        if (code == 0) {
            *writer = w;
            return STATUS_OK;
        }
        end_teller(w);
    }
    writer_free(w);
    return fail(STATUS_RESOURCE_EXHAUSTED, "start the store's thread: %s", strerror(code));
}

void store_writer_destroy(struct store_writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->ending = true;
    pthread_cond_signal(&writer->come);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    end_teller(writer);
    if (writer->store->link.database)
        sqlite3_wal_hook(writer->store->link.database, NULL, NULL);
    forget_removals(writer->removals);
    writer_free(writer);
}

/* Puts the change among those that wait; not OK: the store takes none. */
static enum status add(struct store_writer *writer, struct store_change *change)
{
    enum status status = STATUS_OK;
    change->next = NULL;
    pthread_mutex_lock(&writer->lock);
    if (!writer->serving || writer->ending) {
        status = refuse(writer);
    } else {
        *writer->last = change;
        writer->last = &change->next;
        pthread_cond_signal(&writer->come);
    }
    pthread_mutex_unlock(&writer->lock);
    return status;
}

enum status store_writer_run(struct store_writer *writer, store_apply *apply, void *context)
{
    sem_t ended;
    struct store_change change = {.apply = apply, .context = context, .waiter = &ended};
    sem_init(&ended, 0, 0);
    enum status status = add(writer, &change);
    if (status == STATUS_OK) {
        while (sem_wait(&ended) != 0)
            ; /* a signal */
        status = change.status == STATUS_OK ? STATUS_OK : fail(change.status, "%s", change.message);
    }
    sem_destroy(&ended);
    return status;
}

void store_writer_post(struct store_writer *writer, struct store_change *change)
{
    change->waiter = NULL;
    const enum status status = add(writer, change);
    if (status != STATUS_OK)
        change->ended(change, status);
}
