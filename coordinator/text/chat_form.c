/* Owns what is known of templates. Promises that a template is taken for a form only where it is
 * that form's text, tag by tag, from beginning to end. */
#include "coordinator/text/chat_form.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/text/chat_template.h"

enum { QUOTED_BYTES = 60 };

/* A piece of a template as chat_template_normalise writes it, or the other one. */
struct piece {
    const char *text;
    const char *other; /* NULL: none; "": the piece may be missing */
};

#define LLAMA_3_TURN                                                                               \
    "'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'+message['content']|trim+"       \
    "'<|eot_id|>'"
#define LLAMA_3_ANSWER "{{'<|start_header_id|>assistant<|end_header_id|>\n\n'}}"
#define LLAMA_3_DATE "{%set date_string='26 Jul 2024'%}"

/* What the system block of Llama 3.1 and later begins with. Where a template would read the clock,
 * this is the date that it falls back to (docs/decisions/chat-forms.md). */
static const char llama_31_system[] =
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

/* ChatML is what its first users wrote, and what many wrote again in other words. A template sets a
 * variable that longhaul always sets, writes BOS or not, adds a system message or not, and writes
 * each message in one way for all roles or by role. */
static const char chatml_unset_prompt[] =
    "{%if not add_generation_prompt is defined%}{%set add_generation_prompt=false%}{%endif%}";
static const char chatml_loop[] = "{%for message in messages%}";
static const char chatml_without_system[] = "{%if messages[0]['role']!='system'%}";
static const char chatml_first_without_system[] =
    "{%if loop.first and messages[0]['role']!='system'%}";
static const char chatml_before_system[] = "{{'<|im_start|>system\n";
static const char chatml_after_system[] = "<|im_end|>\n'}}{%endif%}";
/* As Qwen2.5 writes it: behind an if for tools, which is left out, a system message of the
 * conversation's or its own, and then all others. */
static const char chatml_written_system[] =
    "{%else%}{%if messages[0]['role']=='system'%}"
    "{{'<|im_start|>system\n'+messages[0]['content']+'<|im_end|>\n'}}";
static const char chatml_written_otherwise[] = "{%else%}";
static const char chatml_if_not_written[] =
    "{%if(message['role']=='user')or(message['role']=='system'and not loop.first)"
    "or(message['role']=='assistant'and not message.tool_calls)%}";
static const char chatml_endif[] = "{%endif%}";
static const char chatml_message[] = "{{'<|im_start|>'+message['role']+'\n'+message['content']";
static const char chatml_after_content[] = "+'<|im_end|>\n'}}";
static const char chatml_answer[] = "{{'<|im_start|>assistant\n'}}";
static const char chatml_answer_if_asked[] =
    "{%if add_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}";

static const struct piece llama_3[] = {
    {"{%set loop_messages=messages%}{%for message in loop_messages%}{%set content=" LLAMA_3_TURN
     "%}"
     "{%if loop.index0==0%}{%set content=bos_token+content%}{%endif%}{{content}}{%endfor%}",
     NULL},
    {"{%if add_generation_prompt%}" LLAMA_3_ANSWER "{%endif%}", LLAMA_3_ANSWER},
};

static const struct piece llama_31[] = {
    {"{{bos_token}}", NULL},
    {"{%if not tools_in_user_message is defined%}{%set tools_in_user_message=true%}{%endif%}",
     NULL},
    {"{%if not date_string is defined%}", NULL},
    {"{%if strftime_now is defined%}{%set date_string=strftime_now('%d %b "
     "%Y')%}{%else%}" LLAMA_3_DATE "{%endif%}",
     LLAMA_3_DATE},
    {"{%endif%}", NULL},
    {"{%if not tools is defined%}{%set tools=none%}{%endif%}", ""},
    {"{%if messages[0]['role']=='system'%}{%set system_message=messages[0]['content']|trim%}"
     "{%set messages=messages[1:]%}{%else%}{%set system_message=''%}{%endif%}",
     NULL},
    {"{{'<|start_header_id|>system<|end_header_id|>\n\n"
     "Cutting Knowledge Date: December 2023\nToday Date: '+date_string+'\n\n'"
     "+system_message+'<|eot_id|>'}}",
     NULL},
    {"{%for message in messages%}"
     "{%if not(message['role']=='ipython'or message['role']=='tool'or'tool_calls'in message)%}"
     "{{" LLAMA_3_TURN "}}{%endif%}{%endfor%}",
     NULL},
    {"{%if add_generation_prompt%}" LLAMA_3_ANSWER "{%endif%}", NULL},
};

enum {
    LLAMA_3_PIECES = sizeof llama_3 / sizeof llama_3[0],
    LLAMA_31_PIECES = sizeof llama_31 / sizeof llama_31[0],
};

/* Moves *place past `text` where it stands there. */
static bool take(const char **place, const char *text)
{
    size_t bytes = strlen(text);
    if (strncmp(*place, text, bytes) != 0)
        return false;
    *place += bytes;
    return true;
}

static bool is_made_of(const char *template, const struct piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!take(&template, pieces[i].text) &&
            !(pieces[i].other && take(&template, pieces[i].other)))
            return false;
    return *template == 0;
}

static const struct chat_form chatml = {.family = "ChatML",
                                        .start = "<|im_start|>",
                                        .before_content = "\n",
                                        .end = "<|im_end|>",
                                        .after_end = "\n"};

/* A default system message under the condition, not empty and the only one; true without one. A
 * view into the template. */
static bool take_default_system(const char **place, struct text_view *system, const char *condition)
{
    if (!take(place, condition))
        return true;
    if (!take(place, chatml_before_system))
        return false;
    const char *end = strstr(*place, chatml_after_system);
    if (!end || end == *place || system->bytes > 0)
        return false;
    *system = (struct text_view){*place, (size_t)(end - *place)};
    *place = end + strlen(chatml_after_system);
    for (size_t i = 0; i < system->bytes; i++) {
        bool is_quote = system->text[i] == '\\' && system->text[i + 1] == '\'';
        if (system->text[i] == '\'' || (system->text[i] == '\\' && !is_quote))
            return false;
        i += is_quote;
    }
    return !memmem(system->text, system->bytes, "<|", 2);
}

/* if, elif and else over the three roles, each written as the others are. */
static bool take_message_by_role(const char **place)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    bool seen[3] = {false};
    for (int branch = 0; branch < 3; branch++) {
        bool is_else = branch == 2 && take(place, "{%else%}");
        if (!is_else &&
            !(take(place, branch == 0 ? "{%if " : "{%elif ") && take(place, "message['role']=='")))
            return false;
        int role = 0;
        while (role < 3 && (seen[role] || (!is_else && !take(place, roles[role]))))
            role++;
        if (role == 3 || !(is_else || take(place, "'%}")) || !take(place, "{{'<|im_start|>") ||
            !take(place, roles[role]) || !take(place, "\n'+message['content']") ||
            !take(place, chatml_after_content))
            return false;
        seen[role] = true;
    }
    return take(place, "{%endif%}");
}

static bool take_message(const char **place, struct chat_form *form)
{
    if (!take(place, chatml_message))
        return take_message_by_role(place);
    form->trims_content = take(place, "|trim");
    return take(place, chatml_after_content);
}

/* A system message that is written before the loop, with a default one or without; true where there
 * is none. */
static bool take_written_system(const char **place, struct text_view *system, bool *is_written)
{
    *is_written = take(place, chatml_written_system);
    if (!*is_written)
        return true;
    if (!take_default_system(place, system, chatml_written_otherwise))
        return false;
    return (system->bytes > 0 || take(place, chatml_endif)) && take(place, chatml_endif);
}

/* Where `template` is ChatML, in which of its ways; `system` is a view into it. */
static bool is_chatml(const char *template, struct chat_form *form, struct text_view *system)
{
    *form = chatml;
    *system = (struct text_view){"", 0};
    (void)take(&template, chatml_unset_prompt);
    form->begins_with_bos = take(&template, "{{bos_token}}");
    (void)take(&template, chatml_unset_prompt);
    bool is_written;
    if (!take_written_system(&template, system, &is_written) ||
        !take_default_system(&template, system, chatml_without_system) ||
        !take(&template, chatml_loop) || (is_written && !take(&template, chatml_if_not_written)) ||
        !take_default_system(&template, system, chatml_first_without_system) ||
        !take_message(&template, form) || (is_written && !take(&template, chatml_endif)) ||
        !take(&template, "{%endfor%}"))
        return false;
    return strcmp(template, chatml_answer) == 0 || strcmp(template, chatml_answer_if_asked) == 0;
}

static struct chat_form llama_form(bool has_system)
{
    return (struct chat_form){.family = has_system ? "Llama 3.1" : "Llama 3",
                              .start = "<|start_header_id|>",
                              .header_end = "<|end_header_id|>",
                              .before_content = "\n\n",
                              .end = "<|eot_id|>",
                              .after_end = "",
                              .begins_with_bos = true,
                              .trims_content = true,
                              .extends_system = has_system};
}

static bool recognise(struct chat_form *form, struct text_view *system, const char *template)
{
    if (is_chatml(template, form, system))
        return true;
    bool has_system = is_made_of(template, llama_31, LLAMA_31_PIECES);
    if (!has_system && !is_made_of(template, llama_3, LLAMA_3_PIECES))
        return false;
    *system = text_view_of(has_system ? llama_31_system : "");
    *form = llama_form(has_system);
    return true;
}

static enum status take_system(struct chat_form *form, struct text_view system)
{
    char *taken = malloc(system.bytes + 1);
    if (!taken)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat form");
    char *out = taken;
    for (size_t i = 0; i < system.bytes; i++)
        if (system.text[i] != '\\') /* before a quote */
            *out++ = system.text[i];
    *out = 0;
    form->default_system = taken;
    return STATUS_OK;
}

enum status chat_form_named(struct chat_form *form, const char *name)
{
    struct chat_form named = chatml;
    const char *system = "";
    if (strcmp(name, "llama-3") == 0) {
        named = llama_form(false);
    } else if (strcmp(name, "llama-3.1") == 0) {
        named = llama_form(true);
        system = llama_31_system;
    } else if (strcmp(name, "chatml") != 0) {
        return fail(STATUS_INVALID_ARGUMENT,
                    "chat form \"%s\" is not known: chatml, llama-3 or llama-3.1", name);
    }
    TRY(take_system(&named, text_view_of(system)));
    *form = named;
    return STATUS_OK;
}

enum status chat_form_read(struct chat_form *form, struct text_view template)
{
    struct chat_form read;
    struct text_view system;
    char *normal;
    if (template.bytes == 0)
        return fail(STATUS_UNIMPLEMENTED,
                    "the model has no chat template; name its form with --chat-template, or use "
                    "--raw to send a prompt without one");
    TRY(chat_template_normalise(&normal, template));
    if (memchr(template.text, 0, template.bytes) || !recognise(&read, &system, normal)) {
        free(normal);
        return fail(STATUS_UNIMPLEMENTED,
                    "the model's chat template (\"%.*s...\") is not one that is known (ChatML, "
                    "Llama 3); name its form with --chat-template, or use --raw to send a prompt "
                    "without one",
                    (int)(template.bytes < QUOTED_BYTES ? template.bytes : QUOTED_BYTES),
                    template.text);
    }
    enum status status = take_system(&read, system);
    free(normal);
    TRY(status);
    *form = read;
    return STATUS_OK;
}

void chat_form_deinit(struct chat_form *form)
{
    free(form->default_system);
}
