/* Owns the templates that come with longhaul. */
#include "coordinator/text/chat_builtin.h"

const char chat_builtin_names[] = "chatml, llama-3, llama-3.1";

static const char chatml[] =
    "{% for message in messages %}\n"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{{ '<|im_start|>assistant\\n' }}";

#define LLAMA_3_BEGIN                                                                              \
    "{% if bos_token is not defined %}\n"                                                          \
    "{{ raise_exception('the model names no token that begins a text') }}\n"                       \
    "{% endif %}\n"                                                                                \
    "{% macro begin(role) -%}\n"                                                                   \
    "{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}\n"                             \
    "{%- endmacro %}\n"                                                                            \
    "{{- bos_token }}\n"

#define LLAMA_3_TURNS                                                                              \
    "{%- for message in turns %}\n"                                                                \
    "{{- begin(message.role) + message.content | trim + '<|eot_id|>' }}\n"                         \
    "{%- endfor %}\n"                                                                              \
    "{{- begin('assistant') }}"

static const char llama_3[] = LLAMA_3_BEGIN "{%- set turns = messages %}\n" LLAMA_3_TURNS;

/* The system message stands behind two dates. No clock is read: the second is the one that the
 * published template has where it is given none (docs/decisions/chat-forms.md). */
static const char llama_31[] =
    LLAMA_3_BEGIN "{%- set has_system = messages[0].role == 'system' %}\n"
                  "{{- begin('system') + 'Cutting Knowledge Date: December 2023\\n'\n"
                  "   'Today Date: 26 Jul 2024\\n\\n' }}\n"
                  "{{- messages[0].content | trim if has_system }}\n"
                  "{{- '<|eot_id|>' }}\n"
                  "{%- set turns = messages[1:] if has_system else messages %}\n" LLAMA_3_TURNS;

static const struct {
    const char *name;
    const char *source;
} templates[] = {{"chatml", chatml}, {"llama-3", llama_3}, {"llama-3.1", llama_31}};

bool chat_builtin_find(struct text_view *source, const char *name)
{
    for (size_t i = 0; i < sizeof templates / sizeof templates[0]; i++)
        if (strcmp(name, templates[i].name) == 0) {
            *source = text_view_of(templates[i].source);
            return true;
        }
    return false;
}
