/* The subcommands of `longhaul batch`. Each takes its own argv (argv[0] is the subcommand) and
 * returns the exit code. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/cli/batch_client.h"
#include "coordinator/cli/connection.h"
#include "proto/flags.h"
#include "proto/status.h"

int batch_command_submit(int argc, char **argv);
int batch_command_status(int argc, char **argv);
int batch_command_watch(int argc, char **argv);
int batch_command_results(int argc, char **argv);
int batch_command_cancel(int argc, char **argv);
int batch_command_retry(int argc, char **argv);
int batch_command_estimate(int argc, char **argv);
int batch_command_list(int argc, char **argv);

/* What each of them has: the coordinator to ask, and how it tells. */
struct batch_asking {
    struct server_option server;
    bool json;
    struct connection connection;
    struct batch_client client;
};

enum { BATCH_ASKING_ROWS = SERVER_OPTION_ADDRESS_ROWS + 1, BATCH_ASKING_NAME_BYTES = 128 };

/* A batch's name as a command takes it: "batches/ID", or its ID. */
void batch_asking_name(char name[BATCH_ASKING_NAME_BYTES], const char *word);

/* The rows of --server and what goes with it, and of --json. */
void batch_asking_rows(struct batch_asking *asking, struct flags_row rows[BATCH_ASKING_ROWS]);

/* Parses a command line; FLAGS_GO_ON, or the exit code. The caller calls batch_asking_end, also
 * after a failure of batch_asking_begin. */
int batch_asking_parse(const struct batch_asking *asking, const struct flags_command *command,
                       int argc, char **argv, int *first_argument);
MUST_CHECK enum status batch_asking_begin(struct batch_asking *asking);

/* The exit code: `code` where `status` is OK. */
int batch_asking_end(struct batch_asking *asking, const char *program, enum status status,
                     int code);
