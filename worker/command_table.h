/* The commands that a rank has been told of and has not ended, by number, in the sequence in which
 * they came. No lock: the caller has one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/command.h"

/* One command and how far it is.
 *
 *   waiting  --the rank begins it (command_table_begin)-->  running
 *   any      --it is over (command_table_remove)-->         gone
 */
struct command_entry {
    struct command *command;
    bool running;
    enum status cut_short; /* why it should end early; OK: it should not */
};

struct command_table {
    struct command_entry *entries; /* [count] of [room], ascending numbers */
    int count, room;
    uint64_t newest; /* the highest number so far; 0: none */
    uint64_t *goers; /* [goer_count] runs that stayed and are to go */
    int goer_count, goer_room;
};

/* Room for `room` commands at a time. */
MUST_CHECK enum status command_table_init(struct command_table *table, int room);

/* Destroys the commands that are left. */
void command_table_deinit(struct command_table *table);

/* Takes the command; on failure it stays the caller's. INTERNAL where its number is not above all
 * before it, or more are there than the rank said it can hold: the coordinator counts wrongly. */
MUST_CHECK enum status command_table_add(struct command_table *table, struct command *command);

/* NULL where none of that number is there (any more). Valid until the next add or remove; its
 * command stays where it is. */
struct command_entry *command_table_find(struct command_table *table, uint64_t number);

/* The first that waits, which runs from now on; NULL when none waits. */
struct command *command_table_begin(struct command_table *table);

/* A run that stayed is to go. */
MUST_CHECK enum status command_table_let_go(struct command_table *table, uint64_t number);

/* Takes out one that is to go; false where there is none. Commands that came before it are in the
 * table. */
bool command_table_goer(struct command_table *table, uint64_t *number);

/* Hands the command back to the caller. It must be there. */
struct command *command_table_remove(struct command_table *table, uint64_t number);
