/* Owns one call's connection. */
#include "coordinator/cli/session_asking.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"

void session_asking_rows(struct session_asking *asking, struct flags_row rows[SESSION_ASKING_ROWS])
{
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[i] = server_option_address_row(&asking->server, i);
    rows[SERVER_OPTION_ADDRESS_ROWS] = server_option_timeout_row(&asking->server);
}

int session_asking_parse(const struct session_asking *asking, const struct flags_command *command,
                         int argc, char **argv, int *first_argument)
{
    const int exit_code = flags_parse(command, argc, argv, first_argument);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    return server_option_require(&asking->server) == STATUS_OK ? FLAGS_GO_ON
                                                               : console_usage(command->program);
}

enum status session_asking_begin(struct session_asking *asking)
{
    interrupt_install();
    return connection_open(&asking->connection, &asking->server, NULL);
}

int session_asking_end(struct session_asking *asking, const char *program, enum status status)
{
    status = connection_end(&asking->connection, status);
    console_clear();
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

void session_asking_name(char name[SESSION_ASKING_NAME_BYTES], const char *word)
{
    snprintf(name, SESSION_ASKING_NAME_BYTES, "%s%s", strchr(word, '/') ? "" : "sessions/", word);
}
