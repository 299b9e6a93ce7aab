/* Owns nothing. Promises that what was not asked for stays the coordinator's to choose. */
#include "coordinator/cli/method_option.h"

#include <string.h>

/* Parameters that follow from the model are those that differ between two imagined ones. */
static enum status set_unresolved(struct method_message *message, const char *text)
{
    struct method method, other;
    TRY(method_parse(&method, text, 4096));
    TRY(method_parse(&other, text, 1 << 20));
    method_message_set(message, &method);
    const char *shift = strstr(text, "shift=");
    if (method.shift != other.shift && shift && strncmp(shift, "shift=auto", 10) != 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--method: give shift in tokens: only the coordinator knows the model");
    if (method.shift != other.shift)
        message->string.optional_shift_case = LONGHAUL__V1__STRING_METHOD__OPTIONAL_SHIFT__NOT_SET;
    if (method.window != other.window)
        message->lm_infinite.optional_window_case =
            LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_WINDOW__NOT_SET;
    if (method.ceiling != other.ceiling)
        message->lm_infinite.optional_ceiling_case =
            LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_CEILING__NOT_SET;
    return STATUS_OK;
}

enum status method_option_set(struct method_option *option, const struct config *config,
                              int64_t trained_tokens)
{
    option->options = (Longhaul__V1__PlanOptions)LONGHAUL__V1__PLAN_OPTIONS__INIT;
    if (config_origin(config, "engine.stage_tokens", NULL) != CONFIG_DEFAULT) {
        option->options.optional_stage_tokens_case =
            LONGHAUL__V1__PLAN_OPTIONS__OPTIONAL_STAGE_TOKENS_STAGE_TOKENS;
        option->options.stage_tokens = config_integer(config, "engine.stage_tokens");
    }
    if (config_origin(config, "engine.method", NULL) == CONFIG_DEFAULT)
        return STATUS_OK;
    const char *text = config_text(config, "engine.method");
    struct method method;
    if (trained_tokens) {
        TRY(method_parse(&method, text, trained_tokens));
        method_message_set(&option->method, &method);
    } else {
        TRY(set_unresolved(&option->method, text));
    }
    option->options.method = &option->method.message;
    return STATUS_OK;
}
