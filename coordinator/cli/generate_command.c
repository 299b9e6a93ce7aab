/* longhaul generate: one prompt by a coordinator that is running already. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/generate_options.h"
#include "coordinator/cli/interrupt.h"

static const char program[] = "longhaul generate";

static enum status answer(const struct generate_options *options, const struct config *config,
                          bool *incomplete)
{
    struct prompt_input prompt;
    struct generate_request request;
    struct connection connection = {0};
    TRY(prompt_input_read(&prompt, options->prompt_file, options->prompt, options->raw));
    enum status status = generate_request_set(&request, options, &prompt.message);
    method_option_set(&request.method, config);
    request.message.draft = method_option_draft(config);
    if (status == STATUS_OK)
        status = connection_open(&connection, &options->server, NULL);
    if (status == STATUS_OK)
        status = generate_options_ask(options, connection.client, &request, incomplete);
    status = connection_end(&connection, status);
    free(request.positions);
    prompt_input_deinit(&prompt);
    return status;
}

static int generate(const struct generate_options *options, const struct config *config)
{
    if (generate_options_check_prompt(options) != STATUS_OK ||
        server_option_require(&options->server) != STATUS_OK ||
        generate_options_check(options) != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    bool incomplete = false;
    enum status status = answer(options, config, &incomplete);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    if (status != STATUS_OK)
        return console_failure(program, status);
    return incomplete ? status_exit_code(STATUS_CANCELLED) : 0;
}

int generate_command(int argc, char **argv)
{
    struct generate_options options;
    struct flags_row rows[GENERATE_OPTIONS_ROWS + SERVER_OPTION_ADDRESS_ROWS];
    struct config *config = NULL;
    generate_options_init(&options, rows + SERVER_OPTION_ADDRESS_ROWS);
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[i] = server_option_address_row(&options.server, i);
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul generate --server 127.0.0.1:7711 \\\n"
                   "      --prompt-file report.txt --prompt \"What does the report recommend?\"\n",
        .summary =
            "Asks a running coordinator one question and prints the answer as it comes. File and\n"
            "text together are the document, an empty line, the question. Where there are no\n"
            "workers, it fails at once; with --timeout it waits for them.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_REQUEST,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = generate(&options, config);
    config_destroy(config);
    return exit_code;
}
