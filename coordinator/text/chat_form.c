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
#define LLAMA_3_DATE "{%setdate_string='26 Jul 2024'%}"

/* What the system block of Llama 3.1 and later begins with. Where a template would read the clock,
 * this is the date that it falls back to (docs/decisions/chat-forms.md). */
static const char llama_31_system[] =
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

/* What stands between the second and the third is the default system message; the three may be
 * missing. */
static const char chatml_loop[] = "{%formessageinmessages%}";
static const char chatml_before_system[] =
    "{%ifloop.firstandmessages[0]['role']!='system'%}{{'<|im_start|>system\n";
static const char chatml_after_system[] = "<|im_end|>\n'}}{%endif%}";
static const char chatml_turn[] =
    "{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>'+'\n'}}{%endfor%}"
    "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}";

static const struct piece llama_3[] = {
    {"{%setloop_messages=messages%}{%formessageinloop_messages%}{%setcontent=" LLAMA_3_TURN "%}"
     "{%ifloop.index0==0%}{%setcontent=bos_token+content%}{%endif%}{{content}}{%endfor%}",
     NULL},
    {"{%ifadd_generation_prompt%}" LLAMA_3_ANSWER "{%endif%}", LLAMA_3_ANSWER},
};

static const struct piece llama_31[] = {
    {"{{bos_token}}", NULL},
    {"{%ifnottools_in_user_messageisdefined%}{%settools_in_user_message=true%}{%endif%}", NULL},
    {"{%ifnotdate_stringisdefined%}", NULL},
    {"{%ifstrftime_nowisdefined%}{%setdate_string=strftime_now('%d %b %Y')%}{%else%}" LLAMA_3_DATE
     "{%endif%}",
     LLAMA_3_DATE},
    {"{%endif%}", NULL},
    {"{%ifnottoolsisdefined%}{%settools=none%}{%endif%}", ""},
    {"{%ifmessages[0]['role']=='system'%}{%setsystem_message=messages[0]['content']|trim%}"
     "{%setmessages=messages[1:]%}{%else%}{%setsystem_message=''%}{%endif%}",
     NULL},
    {"{{'<|start_header_id|>system<|end_header_id|>\n\n'}}"
     "{{'Cutting Knowledge Date: December 2023\n'}}{{'Today Date: '+date_string+'\n\n'}}"
     "{{system_message}}{{'<|eot_id|>'}}",
     NULL},
    {"{%formessageinmessages%}"
     "{%ifnot(message.role=='ipython'ormessage.role=='tool'or'tool_calls'inmessage)%}"
     "{{" LLAMA_3_TURN "}}{%endif%}{%endfor%}",
     NULL},
    {"{%ifadd_generation_prompt%}" LLAMA_3_ANSWER "{%endif%}", NULL},
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

/* Where `template` is ChatML, finds the default system message: a view into it. */
static bool is_chatml(const char *template, struct text_view *system)
{
    *system = (struct text_view){"", 0};
    if (!take(&template, chatml_loop))
        return false;
    if (take(&template, chatml_before_system)) {
        const char *end = strstr(template, chatml_after_system);
        if (!end)
            return false;
        *system = (struct text_view){template, (size_t)(end - template)};
        if (memchr(system->text, '\'', system->bytes) ||
            memchr(system->text, '\\', system->bytes) ||
            memmem(system->text, system->bytes, "<|", 2))
            return false;
        template = end + strlen(chatml_after_system);
    }
    return strcmp(template, chatml_turn) == 0;
}

static const struct chat_form chatml = {.family = "ChatML",
                                        .start = "<|im_start|>",
                                        .before_content = "\n",
                                        .end = "<|im_end|>",
                                        .after_end = "\n"};

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
    if (is_chatml(template, system)) {
        *form = chatml;
        return true;
    }
    bool has_system = is_made_of(template, llama_31, LLAMA_31_PIECES);
    if (!has_system && !is_made_of(template, llama_3, LLAMA_3_PIECES))
        return false;
    *system = text_view_of(has_system ? llama_31_system : "");
    *form = llama_form(has_system);
    return true;
}

static enum status take_system(struct chat_form *form, struct text_view system)
{
    form->default_system = strndup(system.text, system.bytes);
    return form->default_system ? STATUS_OK
                                : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat form");
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
