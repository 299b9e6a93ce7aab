/* The commands of `longhaul session` that files come into. Each takes its own argv (argv[0] is the
 * subcommand) and returns the exit code. */
#pragma once

#include "coordinator/cli/connection.h"
#include "proto/flags.h"
#include "proto/status.h"

int session_command_save(int argc, char **argv);
int session_command_restore(int argc, char **argv);
int session_command_inspect(int argc, char **argv);

/* What those have that ask a coordinator. */
struct session_asking {
    struct server_option server;
    struct connection connection;
};

enum { SESSION_ASKING_ROWS = SERVER_OPTION_ADDRESS_ROWS + 1, SESSION_ASKING_NAME_BYTES = 128 };

/* The options. */
void session_asking_rows(struct session_asking *asking, struct flags_row rows[SESSION_ASKING_ROWS]);

/* FLAGS_GO_ON, or the exit code. */
int session_asking_parse(const struct session_asking *asking, const struct flags_command *command,
                         int argc, char **argv, int *first_argument);

MUST_CHECK enum status session_asking_begin(struct session_asking *asking);

/* Tells a failure; the exit code. */
int session_asking_end(struct session_asking *asking, const char *program, enum status status);

/* "sessions/ID" of what a person calls it. */
void session_asking_name(char name[SESSION_ASKING_NAME_BYTES], const char *word);
