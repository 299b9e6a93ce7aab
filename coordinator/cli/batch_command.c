/* longhaul batch: batches of a running coordinator. Owns which subcommand runs. */
#include "coordinator/cli/batch_command.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/cli/command_list.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"

enum { PATIENCE_MS = 30000 };

static const struct command_row commands[] = {
    {"submit", batch_command_submit, "upload a file of lines; prints the batch's name"},
    {"status", batch_command_status, "how far a batch is"},
    {"watch", batch_command_watch, "the same, until it has ended"},
    {"results", batch_command_results, "results as they come, into a file"},
    {"cancel", batch_command_cancel, "end a batch; what is done stays"},
    {"retry", batch_command_retry, "a new batch of the lines that failed"},
    {"estimate", batch_command_estimate, "what lines would take, or a batch has taken"},
    {"list", batch_command_list, "the batches that there are"},
};

int batch_command(int argc, char **argv)
{
    const struct command_list list = {
        .program = "longhaul batch",
        .example =
            "  longhaul batch submit --server 127.0.0.1:7711 questions.jsonl\n"
            "  longhaul batch results --server 127.0.0.1:7711 batches/NAME -o answers.jsonl\n",
        .summary =
            "Many requests that outlive a connection: a line of a file each, as OpenAI's Batch "
            "has\n"
            "them. Lines that begin alike, or name one document, are read once and run side by\n"
            "side. The coordinator needs --store DIR.\n",
        .rows = commands,
        .count = sizeof commands / sizeof commands[0],
    };
    return command_list_run(&list, argc, argv);
}

/* ---- what all of them do ---- */

void batch_asking_name(char name[BATCH_ASKING_NAME_BYTES], const char *word)
{
    snprintf(name, BATCH_ASKING_NAME_BYTES, "%s%s", strchr(word, '/') ? "" : "batches/", word);
}

void batch_asking_rows(struct batch_asking *asking, struct flags_row rows[BATCH_ASKING_ROWS])
{
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[i] = server_option_address_row(&asking->server, i);
    rows[SERVER_OPTION_ADDRESS_ROWS] = (struct flags_row){.name = "json",
                                                          .type = FLAGS_SWITCH,
                                                          .target = &asking->json,
                                                          .help = "JSON, one object a line"};
}

int batch_asking_parse(const struct batch_asking *asking, const struct flags_command *command,
                       int argc, char **argv, int *first_argument)
{
    const int exit_code = flags_parse(command, argc, argv, first_argument);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    return server_option_require(&asking->server) == STATUS_OK ? FLAGS_GO_ON
                                                               : console_usage(command->program);
}

enum status batch_asking_begin(struct batch_asking *asking)
{
    interrupt_install();
    TRY(connection_open(&asking->connection, &asking->server, NULL));
    asking->client =
        (struct batch_client){.rpc = asking->connection.client, .patience_ms = PATIENCE_MS};
    return STATUS_OK;
}

int batch_asking_end(struct batch_asking *asking, const char *program, enum status status, int code)
{
    status = connection_end(&asking->connection, status);
    console_clear();
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? code : console_failure(program, status);
}
