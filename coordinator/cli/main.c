/* longhaul: the command line. Owns which subcommand runs, and everything read from the
 * environment. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/command_list.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/run_lines.h"
#include "coordinator/cli/scale_hosts.h"
#include "coordinator/cli/trainer_process.h"
#include "coordinator/measured_costs.h"
#include "proto/standard_streams.h"

static const struct command_row commands[] = {
    {"run", run_command, "answer a prompt or a file of them: start everything, stop"},
    {"score", score_command, "log-probabilities of a text's tokens"},
    {"generate", generate_command, "answer one prompt by a running coordinator"},
    {"batch", batch_command, "many requests that outlive a connection"},
    {"document", document_command, "texts that a coordinator keeps for them"},
    {"store", store_command, "check and copy what a coordinator keeps"},
    {"session", session_command, "documents that workers keep read, and questions to them"},
    {"chat", chat_command, "a conversation of several turns"},
    {"status", status_command, "workers and requests of a running coordinator"},
    {"cancel", cancel_command, "end a request of a running coordinator"},
    {"plan", plan_command, "what a run would do and cost, without doing it"},
    {"bench", bench_command, "how fast prompts are read and answers decoded"},
    {"calibrate", calibrate_command, "measure what this machine takes, for plans to go by"},
    {"load", load_command, "how a coordinator serves many requests at once"},
    {"scale", scale_command, "how the time of a prompt scales over workers"},
    {"compare", compare_command, "two files of results, by more than their noise"},
    {"eval", eval_command, "how well long contexts are answered, by each method"},
    {"tune", tune_command, "the parameters of a method that suit a text and a length"},
    {"train", train_command, "train a model on text"},
    {"recipe", recipe_command, "extend a model's window: LongRecipe"},
    {"tokenize", tokenize_command, "a text's token ids"},
    {"convert", convert_command, "a model in another format or weight type"},
    {"inspect", inspect_command, "what is in a model file"},
    {"drain", drain_command, "end a running coordinator once its requests are done"},
    {"token", token_command, "a token for a tenant of a coordinator"},
    {"config", config_command, "check a configuration file, show all settings"},
    {"doctor", doctor_command, "whether this machine has what longhaul needs"},
};

static const struct command_list list = {
    .program = "longhaul",
    .example = "  longhaul run --model SmolLM2-135M-Instruct.Q4_1.gguf --workers 2 \\\n"
               "      --prompt-file report.txt --prompt \"What does the report recommend?\"\n",
    .summary = "longhaul answers questions about documents that are too long for one machine:\n"
               "the tokens are shared out over workers, which exchange only the keys and values\n"
               "that the attention method reads.\n",
    .rows = commands,
    .count = sizeof commands / sizeof commands[0],
};

/* Standard error is redrawn only on a terminal that can; colours follow no-color.org. */
static void configure_console(void)
{
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    bool live = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    console_configure(live, live && !(no_color && no_color[0]));
}

static int run(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        printf("longhaul %s\n", LONGHAUL_VERSION);
        return 0;
    }
    if (strcmp(word, "help") == 0 && argc > 2)
        return command_list_help(&list, argv[2]);
    if (strcmp(word, "help") == 0) {
        char flag[] = "--help";
        char *help[] = {argv[0], flag, NULL};
        return command_list_run(&list, 2, help);
    }
    return command_list_run(&list, argc, argv);
}

int main(int argc, char **argv)
{
    standard_streams_open();
    configure_console();
    run_lines_configure(getenv("TMPDIR"));
    measured_costs_configure(getenv("XDG_STATE_HOME"), getenv("HOME"));
    trainer_process_configure(getenv("PATH"), getenv("TMPDIR"));
    scale_hosts_configure(getenv("SLURM_JOB_NODELIST"));
    int exit_code = standard_output_check() == STATUS_OK ? run(argc, argv)
                                                         : console_failure("longhaul", STATUS_IO);
    return standard_streams_end("longhaul", exit_code);
}
