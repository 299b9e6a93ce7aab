/* Owns nothing. Promises that what was not asked for stays the coordinator's to choose. */
#include "coordinator/cli/method_option.h"

#include <string.h>

#include "proto/plan/method.h"

void method_option_set(struct method_option *option, const struct config *config)
{
    longhaul__v1__plan_options__init(&option->options);
    longhaul__v1__method__init(&option->method);
    if (config_origin(config, "engine.stage_tokens", NULL) != CONFIG_DEFAULT) {
        option->options.optional_stage_tokens_case =
            LONGHAUL__V1__PLAN_OPTIONS__OPTIONAL_STAGE_TOKENS_STAGE_TOKENS;
        option->options.stage_tokens = config_integer(config, "engine.stage_tokens");
    }
    if (config_origin(config, "engine.method", NULL) == CONFIG_DEFAULT)
        return;
    option->method.spelling = (char *)(size_t)config_text(config, "engine.method"); /* only read */
    option->options.method = &option->method;
}

Longhaul__V1__Draft method_option_draft(const struct config *config)
{
    if (config_origin(config, "engine.draft", NULL) == CONFIG_DEFAULT)
        return LONGHAUL__V1__DRAFT__DRAFT_UNSPECIFIED;
    return strcmp(config_text(config, "engine.draft"), "lookup") == 0
               ? LONGHAUL__V1__DRAFT__DRAFT_LOOKUP
               : LONGHAUL__V1__DRAFT__DRAFT_NONE;
}

enum status method_option_check(const struct config *config, int64_t trained_tokens)
{
    struct method method;
    return method_parse(&method, config_text(config, "engine.method"), trained_tokens);
}
