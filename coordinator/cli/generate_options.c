/* Owns the shared option rows. Promises that an option not given stays absent in the request. */
#include "coordinator/cli/generate_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/answer.h"
#include "coordinator/cli/position_file.h"
#include "coordinator/cli/trace_file.h"
#include "coordinator/sampling_request.h"

enum { TEXT_ROWS = 9 };

static void set_prompt_rows(struct flags_row *rows, struct generate_options *options)
{
    const struct flags_row all[] = {
        {.name = "prompt-file",
         .letter = 'f',
         .type = FLAGS_TEXT,
         .target = &options->prompt_file,
         .value = "FILE",
         .help = "the document, UTF-8 text; - for standard input"},
        {.name = "prompt",
         .letter = 'p',
         .type = FLAGS_TEXT,
         .target = &options->prompt,
         .value = "TEXT",
         .help = "the question; with a file, it follows the document"},
        {.name = "raw",
         .type = FLAGS_SWITCH,
         .target = &options->raw,
         .help = "continue the text as it is, without the model's chat form"},
        {.name = "positions",
         .type = FLAGS_TEXT,
         .target = &options->positions_file,
         .value = "FILE",
         .help = "where rope sees each token of a --raw prompt: rising whole numbers"},
        {.name = "trace",
         .type = FLAGS_TEXT,
         .target = &options->trace_file,
         .value = "FILE",
         .help = "write what each worker did when, for Perfetto (ui.perfetto.dev)"},
    };
    _Static_assert(sizeof all / sizeof all[0] == GENERATE_OPTIONS_PROMPT_ROWS, "one slot a row");
    memcpy(rows, all, sizeof all);
}

/* How long the answer is, and how it is told. */
static void set_text_rows(struct flags_row *rows, struct generate_options *options)
{
    const struct flags_row all[] = {
        {.name = "max-tokens",
         .letter = 'n',
         .type = FLAGS_INTEGER,
         .target = &options->max_tokens,
         .value = "N",
         .help = "longest answer [256, or what the context leaves]",
         .least = 1,
         .most = 1 << 24},
        {.name = "stop",
         .type = FLAGS_TEXTS,
         .target = &options->stop,
         .value = "TEXT",
         .help = "end the answer before this text; may be given several times"},
        {.name = "min-tokens",
         .type = FLAGS_INTEGER,
         .target = &options->min_tokens,
         .value = "N",
         .help = "the model does not end the answer within the first N tokens [0]",
         .least = 0,
         .most = 1 << 24},
        {.name = "ignore-eos",
         .type = FLAGS_SWITCH,
         .target = &options->ignore_end,
         .help = "go on to --max-tokens behind the tokens with which the model ends an answer"},
        {.name = "no-prefix-reuse",
         .type = FLAGS_SWITCH,
         .target = &options->no_prefix_reuse,
         .help = "read the whole prompt, even where its beginning was read before"},
        {.name = "json",
         .type = FLAGS_SWITCH,
         .target = &options->json,
         .help = "one JSON object at the end instead of text"},
        {.name = "logprobs",
         .type = FLAGS_INTEGER,
         .target = &options->logprobs,
         .value = "N",
         .help = "with --json: each token's log-probability, and of the N likeliest",
         .least = 0,
         .most = SAMPLING_LIKELIEST_MAX,
         .given = &options->logprobs_given},
        {.name = "verbose",
         .letter = 'v',
         .type = FLAGS_SWITCH,
         .target = &options->verbose,
         .help = "tell the plan and the rates on standard error"},
        server_option_timeout_row(&options->server),
    };
    _Static_assert(sizeof all / sizeof all[0] == TEXT_ROWS, "one slot a row");
    memcpy(rows, all, sizeof all);
}

/* How the next token is chosen. */
static void set_sampling_rows(struct flags_row *rows, struct generate_options *options)
{
    const struct flags_row all[] = {
        {.name = "temperature",
         .type = FLAGS_REAL,
         .target = &options->temperature,
         .value = "T",
         .help = "0: always the likeliest token [0]",
         .least = 0,
         .most = 100,
         .given = &options->temperature_given},
        {.name = "top-k",
         .type = FLAGS_INTEGER,
         .target = &options->top_k,
         .value = "N",
         .help = "draw from the N likeliest; 0: from all [0]",
         .least = 0,
         .most = 1 << 30},
        {.name = "top-p",
         .type = FLAGS_REAL,
         .target = &options->top_p,
         .value = "P",
         .help = "draw from the likeliest that reach P together [1]",
         .least = 0,
         .most = 1,
         .given = &options->top_p_given},
        {.name = "min-p",
         .type = FLAGS_REAL,
         .target = &options->min_p,
         .value = "P",
         .help = "leave out what is below P times the likeliest [0]",
         .least = 0,
         .most = 1},
        {.name = "repetition-penalty",
         .type = FLAGS_REAL,
         .target = &options->repetition_penalty,
         .value = "X",
         .help = "above 1: repeat less [1]",
         .least = 0.01,
         .most = 100,
         .given = &options->penalty_given},
        {.name = "presence-penalty",
         .type = FLAGS_REAL,
         .target = &options->presence_penalty,
         .value = "X",
         .help = "off the logit of each token that the answer has [0]",
         .least = -2,
         .most = 2},
        {.name = "frequency-penalty",
         .type = FLAGS_REAL,
         .target = &options->frequency_penalty,
         .value = "X",
         .help = "the same, as often as the answer has it [0]",
         .least = -2,
         .most = 2},
        {.name = "logit-bias",
         .type = FLAGS_TEXTS,
         .target = &options->logit_bias,
         .value = "ID:BIAS",
         .help = "add to a token's logit, -100 to 100; may be given several times"},
        {.name = "seed",
         .type = FLAGS_UNSIGNED,
         .target = &options->seed,
         .value = "N",
         .help = "the same draws each time, 0 to 2^64 - 1 [by chance]",
         .given = &options->seed_given},
    };
    _Static_assert(sizeof all / sizeof all[0] == GENERATE_OPTIONS_ANSWER_ROWS - TEXT_ROWS,
                   "one slot a row");
    memcpy(rows, all, sizeof all);
}

void generate_options_init_answer(struct generate_options *options,
                                  struct flags_row rows[GENERATE_OPTIONS_ANSWER_ROWS])
{
    *options = (struct generate_options){0};
    set_text_rows(rows, options);
    set_sampling_rows(rows + TEXT_ROWS, options);
}

void generate_options_init(struct generate_options *options,
                           struct flags_row rows[GENERATE_OPTIONS_ROWS])
{
    generate_options_init_answer(options, rows + GENERATE_OPTIONS_PROMPT_ROWS);
    set_prompt_rows(rows, options);
}

static enum status read_bias(Longhaul__V1__LogitBias *bias, const char *text)
{
    char *id_end = NULL, *end = NULL;
    const long id = text[0] >= '0' && text[0] <= '9' ? strtol(text, &id_end, 10) : -1;
    longhaul__v1__logit_bias__init(bias);
    if (id >= 0 && id <= INT32_MAX && *id_end == ':' && id_end[1])
        bias->bias = strtof(id_end + 1, &end);
    if (!end || *end)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--logit-bias %s: give a token's id, a colon and a number", text);
    bias->id = (int32_t)id;
    return STATUS_OK;
}

/* The texts were read before: generate_options_check. */
static void set_biases(struct generate_request *request, const struct generate_options *options)
{
    Longhaul__V1__Sampling *sampling = &request->sampling;
    for (size_t b = 0; b < options->logit_bias.count; b++) {
        Longhaul__V1__LogitBias *place = &request->biases[sampling->n_logit_bias];
        request->bias_places[sampling->n_logit_bias] = place;
        if (read_bias(place, options->logit_bias.texts[b]) == STATUS_OK)
            sampling->n_logit_bias++;
    }
    sampling->logit_bias = request->bias_places;
}

static void set_sampling(Longhaul__V1__Sampling *sampling, const struct generate_options *options)
{
    *sampling = (Longhaul__V1__Sampling)LONGHAUL__V1__SAMPLING__INIT;
    sampling->presence_penalty = (float)options->presence_penalty;
    sampling->frequency_penalty = (float)options->frequency_penalty;
    sampling->top_k = (int32_t)options->top_k;
    sampling->min_p = (float)options->min_p;
    if (options->temperature_given) {
        sampling->optional_temperature_case =
            LONGHAUL__V1__SAMPLING__OPTIONAL_TEMPERATURE_TEMPERATURE;
        sampling->temperature = (float)options->temperature;
    }
    if (options->top_p_given) {
        sampling->optional_top_p_case = LONGHAUL__V1__SAMPLING__OPTIONAL_TOP_P_TOP_P;
        sampling->top_p = (float)options->top_p;
    }
    if (options->penalty_given) {
        sampling->optional_repetition_penalty_case =
            LONGHAUL__V1__SAMPLING__OPTIONAL_REPETITION_PENALTY_REPETITION_PENALTY;
        sampling->repetition_penalty = (float)options->repetition_penalty;
    }
    if (options->seed_given) {
        sampling->optional_seed_case = LONGHAUL__V1__SAMPLING__OPTIONAL_SEED_SEED;
        sampling->seed = options->seed;
    }
}

enum status generate_options_check_prompt(const struct generate_options *options)
{
    if (!options->prompt_file && !options->prompt)
        return fail(STATUS_INVALID_ARGUMENT,
                    "nothing is asked; give --prompt TEXT, --prompt-file FILE, or both");
    return STATUS_OK;
}

enum status generate_options_check(const struct generate_options *options)
{
    struct generate_request request;
    struct sampling_request sampling;
    const char *field;
    TRY(server_option_check(&options->server));
    for (size_t b = 0; b < options->logit_bias.count; b++)
        TRY(read_bias(&request.biases[b], options->logit_bias.texts[b]));
    if (options->max_tokens > 0 && options->min_tokens > options->max_tokens)
        return fail(STATUS_INVALID_ARGUMENT, "--min-tokens is above --max-tokens");
    if (options->logprobs_given && !options->json)
        return fail(STATUS_INVALID_ARGUMENT, "--logprobs is told in JSON: add --json");
    set_sampling(&request.sampling, options);
    set_biases(&request, options);
    return sampling_request_read(&sampling, &field, &request.sampling);
}

enum status generate_request_set(struct generate_request *request,
                                 const struct generate_options *options,
                                 Longhaul__V1__Prompt *prompt)
{
    size_t positions = 0;
    request->positions = NULL;
    if (options->positions_file)
        TRY(position_file_read(&request->positions, &positions, options->positions_file));
    request->message = (Longhaul__V1__GenerateRequest)LONGHAUL__V1__GENERATE_REQUEST__INIT;
    set_sampling(&request->sampling, options);
    set_biases(request, options);
    request->message.min_tokens = options->min_tokens;
    request->message.ignore_end = options->ignore_end;
    request->message.prompt = prompt;
    request->message.sampling = &request->sampling;
    request->message.options = &request->method.options;
    if (options->max_tokens > 0) {
        request->message.optional_max_tokens_case =
            LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
        request->message.max_tokens = options->max_tokens;
    }
    request->message.no_prefix_reuse = options->no_prefix_reuse;
    request->message.trace = options->trace_file != NULL;
    if (options->logprobs_given) {
        request->message.optional_logprobs_case =
            LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_LOGPROBS_LOGPROBS;
        request->message.logprobs = (int32_t)options->logprobs;
    }
    for (size_t i = 0; i < options->stop.count; i++)
        request->stop[i] = (char *)(size_t)options->stop.texts[i]; /* only read */
    request->message.stop = request->stop;
    request->message.n_stop = options->stop.count;
    request->message.positions = request->positions;
    request->message.n_positions = positions;
    return STATUS_OK;
}

enum status generate_options_ask(const struct generate_options *options, struct rpc_client *client,
                                 const struct generate_request *request, bool *incomplete)
{
    struct answer answer = {
        .progress = {.verbose = options->verbose,
                     .rates = options->verbose || isatty(STDERR_FILENO),
                     .text_on_screen = !options->json && isatty(STDOUT_FILENO)},
        .stream = !options->json,
        .placed = options->verbose && !options->server.address ? client : NULL,
        .timeout_ms = server_option_timeout_ms(&options->server, 0),
    };
    FILE *trace = NULL;
    if (options->trace_file)
        TRY(trace_file_open(&trace, options->trace_file));
    enum status status = answer_ask(&answer, client, &request->message);
    if (trace && status == STATUS_OK)
        status = trace_file_write(trace, options->trace_file, answer.traces, answer.trace_count);
    else if (trace)
        fclose(trace);
    if (status == STATUS_OK && options->json)
        answer_print_json(&answer);
    *incomplete = status == STATUS_OK && answer.finished->finish_reason ==
                                             LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED;
    answer_deinit(&answer);
    return status;
}
