/* longhaul store: what a coordinator keeps, checked and copied, beside the coordinator or without
 * one. */
#include <stdio.h>

#include "coordinator/batch/store.h"
#include "coordinator/cli/command_list.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "proto/flags.h"

static void complain(void *context, const char *sentence)
{
    (void)context;
    printf("%s\n", sentence);
}

static enum status verify(const char *folder)
{
    struct store *store = NULL;
    TRY(store_look(&store, folder));
    enum status status = store_verify(store, complain, NULL);
    store_close(store);
    return status;
}

/* What cannot be read is not kept as a copy that one would rely on. */
static enum status backup(const char *folder, const char *copy)
{
    struct store *store = NULL;
    TRY(store_look(&store, folder));
    enum status status = store_backup(store, copy);
    store_close(store);
    TRY(status);
    return verify(copy);
}

static int verify_command(int argc, char **argv)
{
    const struct flags_command command = {
        .program = "longhaul store verify",
        .example = "  longhaul store verify /var/lib/longhaul\n",
        .summary =
            "Reads a whole store, database and files, and holds it against its checksums and\n"
            "counts. Prints a sentence for each thing that is wrong. Nothing is changed; a\n"
            "coordinator may go on with the store meanwhile.\n",
        .arguments = "DIR",
        .arguments_least = 1,
        .arguments_most = 1,
    };
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    const enum status status = verify(argv[first]);
    return status == STATUS_OK ? 0 : console_failure(command.program, status);
}

static int backup_command(int argc, char **argv)
{
    const struct flags_command command = {
        .program = "longhaul store backup",
        .example = "  longhaul store backup /var/lib/longhaul /var/lib/longhaul.monday\n",
        .summary =
            "Copies a store as it is at one moment into a new folder, and verifies the copy. A\n"
            "coordinator may go on with the store meanwhile. The folder must lie on the same\n"
            "file system: long texts become hard links. Copy it to another disk from there; a\n"
            "coordinator takes it by --store.\n",
        .arguments = "DIR NEW_DIR",
        .arguments_least = 2,
        .arguments_most = 2,
    };
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    const enum status status = backup(argv[first], argv[first + 1]);
    return status == STATUS_OK ? 0 : console_failure(command.program, status);
}

static const struct command_row commands[] = {
    {"verify", verify_command, "check everything that a store holds"},
    {"backup", backup_command, "a copy of one moment in a new folder"},
};

int store_command(int argc, char **argv)
{
    const struct command_list list = {
        .program = "longhaul store",
        .example = "  longhaul store backup /var/lib/longhaul /var/lib/longhaul.monday\n",
        .summary = "The folder that a coordinator keeps batches and documents in, its --store.\n",
        .rows = commands,
        .count = sizeof commands / sizeof commands[0],
    };
    return command_list_run(&list, argc, argv);
}
