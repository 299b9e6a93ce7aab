/* longhaul inspect: a model in human form. */
#include <stdio.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "proto/flags.h"
#include "coordinator/cli/describe.h"

int inspect_command(int argc, char **argv)
{
    bool json = false;
    const struct flags_row rows[] = {
        {.name = "json", .type = FLAGS_SWITCH, .target = &json, .help = "one JSON object"},
    };
    const struct flags_command command = {
        .program = "longhaul inspect",
        .example = "  longhaul inspect SmolLM2-135M-Instruct.Q4_1.gguf\n",
        .summary =
            "Shows a model file, or a model's directory: its architecture, its tensors, its\n"
            "tokenizer, and what of it is not supported.\n",
        .arguments = "FILE",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    const char *path = argv[first];
    enum status status = json ? describe_json(stdout, path) : describe_text(stdout, path);
    return status == STATUS_OK ? 0 : console_failure(command.program, status);
}
