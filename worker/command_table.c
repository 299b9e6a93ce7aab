/* Owns the commands between a Run message and the rank's RunDone. */
#include "worker/command_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum status command_table_init(struct command_table *table, int room)
{
    *table = (struct command_table){.room = room};
    table->entries = calloc((size_t)room, sizeof *table->entries);
    return table->entries ? STATUS_OK
                          : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d requests", room);
}

void command_table_deinit(struct command_table *table)
{
    for (int e = 0; e < table->count; e++)
        command_destroy(table->entries[e].command);
    free(table->entries);
    free(table->goers);
    *table = (struct command_table){0};
}

enum status command_table_add(struct command_table *table, struct command *command)
{
    if (command->number <= table->newest)
        return fail(STATUS_INTERNAL, "the coordinator sent run %llu after run %llu",
                    (unsigned long long)command->number, (unsigned long long)table->newest);
    if (table->count == table->room)
        return fail(STATUS_INTERNAL,
                    "the coordinator sent a request while %d were there, the most that this rank "
                    "can hold",
                    table->room);
    table->entries[table->count++] = (struct command_entry){.command = command};
    table->newest = command->number;
    return STATUS_OK;
}

struct command_entry *command_table_find(struct command_table *table, uint64_t number)
{
    for (int e = 0; e < table->count; e++)
        if (table->entries[e].command->number == number)
            return &table->entries[e];
    return NULL;
}

struct command *command_table_begin(struct command_table *table)
{
    for (int e = 0; e < table->count; e++) {
        if (table->entries[e].running)
            continue;
        table->entries[e].running = true;
        return table->entries[e].command;
    }
    return NULL;
}

enum status command_table_let_go(struct command_table *table, uint64_t number)
{
    if (table->goer_count == table->goer_room) {
        const int room = 2 * table->goer_room + 16;
        uint64_t *goers = reallocarray(table->goers, (size_t)room, sizeof *goers);
        if (!goers)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d runs that go", room);
        table->goers = goers;
        table->goer_room = room;
    }
    table->goers[table->goer_count++] = number;
    return STATUS_OK;
}

bool command_table_goer(struct command_table *table, uint64_t *number)
{
    if (table->goer_count == 0)
        return false;
    *number = table->goers[--table->goer_count];
    return true;
}

struct command *command_table_remove(struct command_table *table, uint64_t number)
{
    struct command_entry *entry = command_table_find(table, number);
    assert(entry);
    struct command *command = entry->command;
    struct command_entry *end = table->entries + table->count;
    memmove(entry, entry + 1, (size_t)(end - entry - 1) * sizeof *entry);
    table->count--;
    return command;
}
