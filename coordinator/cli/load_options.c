/* Owns the option rows. Promises that a load that was taken has requests and a kind. */
#include "coordinator/cli/load_options.h"
#include "coordinator/cli/report_option.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MOST = 1 << 28, OPEN_REQUESTS = 64, A_CLIENT = 8, CLOSED_REQUESTS_LEAST = 16 };

static const double RATE_MOST = 1e6;

/* ---- numbers ---- */

/* Up to a comma or the end; `*end` is behind it. */
static enum status read_real(double *value, const char **end, const char *option, const char *text,
                             double most)
{
    char *behind = NULL;
    const bool starts = (text[0] >= '0' && text[0] <= '9') || text[0] == '.';
    *value = strtod(text, &behind);
    if (!starts || behind == text || (*behind && *behind != ','))
        return fail(STATUS_INVALID_ARGUMENT, "--%s: \"%.*s\" is not a number", option,
                    (int)strcspn(text, ","), text);
    if (!isfinite(*value) || *value <= 0 || *value > most)
        return fail(STATUS_INVALID_ARGUMENT, "--%s: %.*s is outside 0 to %g", option,
                    (int)strcspn(text, ","), text, most);
    *end = behind;
    return STATUS_OK;
}

/* "ttft:200,tpot:50": milliseconds. */
static enum status read_goals(struct serving_goals *goals, const char *text)
{
    const struct {
        const char *name;
        double *goal;
    } known[] = {
        {"ttft:", &goals->ttft_ms}, {"tpot:", &goals->tpot_ms}, {"e2el:", &goals->e2el_ms}};
    enum { KNOWN = sizeof known / sizeof known[0] };
    for (const char *at = text; at;) {
        size_t i = 0;
        while (i < KNOWN && strncmp(at, known[i].name, strlen(known[i].name)) != 0)
            i++;
        if (i == KNOWN)
            return fail(STATUS_INVALID_ARGUMENT,
                        "--goodput: \"%.*s\" is none of ttft:MS, tpot:MS and e2el:MS",
                        (int)strcspn(at, ","), at);
        TRY(read_real(known[i].goal, &at, "goodput", at + strlen(known[i].name), 1e9));
        at = *at == ',' ? at + 1 : NULL;
    }
    return STATUS_OK;
}

/* ---- loads ---- */

static enum status add_point(struct load_point *points, size_t *count, struct load_point point)
{
    if (*count == LOAD_REPORT_POINTS_MOST)
        return fail(STATUS_INVALID_ARGUMENT,
                    "more than %d loads: give fewer of --concurrency and "
                    "--rate",
                    LOAD_REPORT_POINTS_MOST);
    points[(*count)++] = point;
    return STATUS_OK;
}

static enum status add_closed(const struct load_options *options, struct load_point *points,
                              size_t *count, const char *text)
{
    struct number_list list;
    TRY(number_list_parse(&list, "concurrency", text, 1, LOAD_POINT_CLIENTS_MOST));
    for (size_t i = 0; i < list.count; i++) {
        const int64_t clients = list.values[i];
        const int64_t usual =
            A_CLIENT * clients > CLOSED_REQUESTS_LEAST ? A_CLIENT * clients : CLOSED_REQUESTS_LEAST;
        TRY(add_point(points, count,
                      (struct load_point){
                          .concurrency = clients,
                          .count = (size_t)(options->requests ? options->requests : usual),
                      }));
    }
    return STATUS_OK;
}

static enum status add_open(const struct load_options *options, struct load_point *points,
                            size_t *count)
{
    for (const char *at = options->rates; at;) {
        struct load_point point = {
            .count = (size_t)(options->requests ? options->requests : OPEN_REQUESTS)};
        TRY(read_real(&point.rate, &at, "rate", at, RATE_MOST));
        TRY(add_point(points, count, point));
        at = *at == ',' ? at + 1 : NULL;
    }
    return STATUS_OK;
}

enum status load_options_read(const struct load_options *options, struct load_settings *settings,
                              struct load_point points[LOAD_REPORT_POINTS_MOST],
                              size_t *point_count)
{
    *settings = (struct load_settings){
        .shared = options->shared,
        .seed = options->seed,
        .timeout_ms = server_option_timeout_ms(&options->server, 0),
        .foreign = options->server.address != NULL,
    };
    *point_count = 0;
    TRY(server_option_check(&options->server));
    TRY(number_list_parse(&settings->prompts, "prompt", options->prompts, 1, TOKENS_MOST));
    TRY(number_list_parse(&settings->answers, "generate", options->answers, 1, TOKENS_MOST));
    if (options->goodput)
        TRY(read_goals(&settings->goals, options->goodput));
    const char *closed = options->concurrency || options->rates ? options->concurrency : "1,2,4,8";
    if (closed)
        TRY(add_closed(options, points, point_count, closed));
    return options->rates ? add_open(options, points, point_count) : STATUS_OK;
}

/* ---- rows ---- */

enum { LENGTH_ROWS = 8, TELL_ROWS = LOAD_OPTIONS_ROWS - LENGTH_ROWS };

static void set_load_rows(struct flags_row *rows, struct load_options *options)
{
    const struct flags_row all[LENGTH_ROWS] = {
        {.name = "concurrency",
         .letter = 'c',
         .type = FLAGS_TEXT,
         .target = &options->concurrency,
         .value = "N,N",
         .help = "closed loads: so many clients, each asks when it has its answer [1,2,4,8]"},
        {.name = "rate",
         .letter = 'R',
         .type = FLAGS_TEXT,
         .target = &options->rates,
         .value = "X,X",
         .help = "open loads: so many requests per second, at random (Poisson) times"},
        {.name = "requests",
         .letter = 'N',
         .type = FLAGS_INTEGER,
         .target = &options->requests,
         .value = "N",
         .help = "of each load [8 a client and at least 16; 64 of an open load]",
         .least = 1,
         .most = LOAD_POINT_REQUESTS_MOST},
        {.name = "prompt",
         .letter = 'p',
         .type = FLAGS_TEXT,
         .target = &options->prompts,
         .value = "N,N",
         .help = "tokens of a prompt; of several, each request draws one [512]"},
        {.name = "shared",
         .type = FLAGS_REAL,
         .target = &options->shared,
         .value = "SHARE",
         .help = "the part of each prompt that all have in common, from its beginning [0]",
         .least = 0,
         .most = 1},
        {.name = "generate",
         .letter = 'n',
         .type = FLAGS_TEXT,
         .target = &options->answers,
         .value = "N,N",
         .help = "tokens of an answer; of several, each request draws one [128]"},
        {.name = "seed",
         .type = FLAGS_UNSIGNED,
         .target = &options->seed,
         .value = "N",
         .help = "of lengths, words and times [1]"},
        {.name = "goodput",
         .type = FLAGS_TEXT,
         .target = &options->goodput,
         .value = "GOALS",
         .help = "count requests that meet ttft:MS,tpot:MS,e2el:MS, or some of these"},
    };
    memcpy(rows, all, sizeof all);
}

static void set_tell_rows(struct flags_row *rows, struct load_options *options)
{
    const struct flags_row all[TELL_ROWS] = {
        SERVER_OPTION_ADDRESS(&options->server),
        server_option_timeout_row(&options->server),
        report_option_out_row(
            &options->out,
            "keep load.jsonl and charts there; loads that ended stay when a later one fails"),
        report_option_chart_row(&options->chart),
        report_option_json_row(&options->json,
                               "JSON lines: a manifest, then each load with its requests"),
    };
    memcpy(rows, all, sizeof all);
}

void load_options_init(struct load_options *options, struct flags_row rows[LOAD_OPTIONS_ROWS])
{
    *options = (struct load_options){.prompts = "512", .answers = "128", .seed = 1};
    set_load_rows(rows, options);
    set_tell_rows(rows + LENGTH_ROWS, options);
}
