/* Owns nothing. Promises that what a manifest is told can be read back. */
#include "coordinator/cli/scale_settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS_MOST = 1024 };

static enum status read_mode(struct scale_settings *settings)
{
    const char *mode = settings->mode_text;
    if (!mode || (strcmp(mode, "strong") != 0 && strcmp(mode, "weak") != 0))
        return fail(STATUS_INVALID_ARGUMENT,
                    "--mode strong (one prompt, whatever the workers) or weak (--prompt-tokens for "
                    "each worker)");
    settings->weak = strcmp(mode, "weak") == 0;
    return STATUS_OK;
}

/* Whether a number of workers can be shared out over one of the numbers of hosts. */
static enum status check_nodes(const struct scale_settings *settings)
{
    for (size_t n = 0; n < settings->nodes.count; n++) {
        bool some = false;
        for (size_t w = 0; w < settings->workers.count; w++)
            some |= settings->workers.values[w] % settings->nodes.values[n] == 0;
        if (!some)
            return fail(STATUS_INVALID_ARGUMENT,
                        "--nodes %" PRId64 ": none of --workers %s is a multiple of it",
                        settings->nodes.values[n], settings->workers_text);
    }
    return STATUS_OK;
}

enum status scale_settings_read(struct scale_settings *settings)
{
    if (!settings->workers_text)
        return fail(STATUS_INVALID_ARGUMENT, "--workers LIST is missing: 1,2,4");
    if (!settings->methods_text)
        return fail(STATUS_INVALID_ARGUMENT, "--method LIST is missing: rope,string,lm_infinite");
    if (settings->prompt_tokens < 1)
        return fail(STATUS_INVALID_ARGUMENT, "--prompt-tokens N is missing");
    TRY(number_list_parse(&settings->workers, "workers", settings->workers_text, 1, WORKERS_MOST));
    if (settings->nodes_text && settings->nodes_text[0])
        TRY(number_list_parse(&settings->nodes, "nodes", settings->nodes_text, 1, WORKERS_MOST));
    TRY(read_mode(settings));
    return check_nodes(settings);
}

enum status scale_settings_read_methods(struct scale_settings *settings, int64_t trained_tokens)
{
    return method_list_parse(&settings->methods, settings->methods_text, trained_tokens);
}

int64_t scale_settings_tokens(const struct scale_settings *settings, int64_t workers)
{
    return settings->prompt_tokens * (settings->weak ? workers : 1);
}

int64_t scale_settings_most_tokens(const struct scale_settings *settings)
{
    return scale_settings_tokens(settings, number_list_most(&settings->workers));
}

void scale_settings_tell(const struct scale_settings *settings, struct scale_settings_texts *texts,
                         struct manifest *manifest)
{
    snprintf(texts->prompt_tokens, sizeof texts->prompt_tokens, "%" PRId64,
             settings->prompt_tokens);
    snprintf(texts->repetitions, sizeof texts->repetitions, "%" PRId64, settings->repetitions);
    snprintf(texts->warmup_tokens, sizeof texts->warmup_tokens, "%" PRId64,
             settings->warmup_tokens);
    const struct manifest_setting told[] = {
        {"workers", settings->workers_text},
        {"nodes", settings->nodes_text ? settings->nodes_text : ""},
        {"mode", settings->mode_text},
        {"method", settings->methods_text},
        {"prompt_tokens", texts->prompt_tokens},
        {"repetitions", texts->repetitions},
        {"warmup_tokens", texts->warmup_tokens},
        {"rates_measured", settings->rates_text},
    };
    _Static_assert(sizeof told / sizeof told[0] <= (size_t)MANIFEST_SETTINGS_MAX, "there is room");
    memcpy(manifest->settings, told, sizeof told);
    manifest->settings_count = sizeof told / sizeof told[0];
}
