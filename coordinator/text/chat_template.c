/* Owns the reading of a template's tags. Promises that what it leaves out, nothing writes for a
 * conversation of system, user and assistant messages without tools; a template that is not well
 * formed comes out as something that equals no known one. */
#include "coordinator/text/chat_template.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    const char *place; /* in the template, its escaped newlines as newlines */
    char *tag;         /* the last tag in one spelling, ended by 0 */
    bool is_comment;
    bool trims_after; /* the last tag ends in a dash */
};

/* Conditions that do not hold without tools, and of the branches at a message those that only
 * messages of tools reach. */
static const char *const idle_tags[] = {
    "{%ifcustom_toolsisdefined%}",
    "{%ifbuiltin_toolsisdefined%}",
    "{%ifbuiltin_toolsisdefinedortoolsisnotnone%}",
    "{%iftoolsisnotnone%}",
    "{%iftoolsisnotnoneandnottools_in_user_message%}",
    "{%iftools_in_user_messageandnottoolsisnone%}",
    "{%elif'tool_calls'inmessage%}",
    "{%elifmessage.role=='tool'ormessage.role=='ipython'%}",
};

static bool is_idle(const char *tag)
{
    for (size_t i = 0; i < sizeof idle_tags / sizeof idle_tags[0]; i++)
        if (strcmp(tag, idle_tags[i]) == 0)
            return true;
    return false;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Copies a quoted string, from its opening quote on; returns the place after it. */
static const char *copy_quoted(char **out, const char *place)
{
    char quote = *place++;
    *(*out)++ = '\'';
    while (*place && *place != quote) {
        if (*place == '\\' && place[1])
            *(*out)++ = *place++;
        *(*out)++ = *place++;
    }
    *(*out)++ = '\'';
    return *place ? place + 1 : place;
}

/* Reads the tag that starts at scan->place. */
static void read_tag(struct scan *scan)
{
    const char *place = scan->place;
    char closing[3] = {place[1] == '{' ? '}' : place[1], '}', 0};
    char *out = scan->tag;
    scan->is_comment = place[1] == '#';
    *out++ = *place++;
    *out++ = *place++;
    place += *place == '-';
    while (*place && !starts_with(place, closing)) {
        if ((*place == '\'' || *place == '"') && !scan->is_comment)
            place = copy_quoted(&out, place);
        else if (isspace((unsigned char)*place))
            place++;
        else
            *out++ = *place++;
    }
    scan->trims_after = out[-1] == '-';
    out -= scan->trims_after;
    if (*place) {
        memcpy(out, closing, 2);
        out += 2;
        place += 2;
    }
    *out = 0;
    scan->place = place;
}

static bool is_space(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!isspace((unsigned char)text[i]))
            return false;
    return true;
}

/* Reads the text up to the next tag, and the tag; false where only text is left. White space at a
 * dash, and a newline that ends the template, is no text. */
static bool next_tag(struct scan *scan, const char **text, size_t *text_bytes)
{
    const char *tag = scan->place;
    while (*tag && !starts_with(tag, "{{") && !starts_with(tag, "{%") && !starts_with(tag, "{#"))
        tag++;
    *text = scan->place;
    *text_bytes = (size_t)(tag - scan->place);
    bool is_trimmed = scan->trims_after || (*tag && tag[2] == '-');
    bool is_last_newline = !*tag && *text_bytes == 1 && **text == '\n';
    if ((is_trimmed && is_space(*text, *text_bytes)) || is_last_newline)
        *text_bytes = 0;
    scan->place = tag;
    if (!*tag)
        return false;
    read_tag(scan);
    return true;
}

/* Leaves out the branch that the last tag begins: to the end of its if, which is left out too where
 * the tag was that if, or up to the next branch. */
static void skip_branch(struct scan *scan)
{
    bool is_whole = starts_with(scan->tag, "{%if");
    const char *text;
    size_t text_bytes;
    int depth = 0;
    for (;;) {
        struct scan before = *scan;
        if (!next_tag(scan, &text, &text_bytes))
            return;
        bool is_end = strcmp(scan->tag, "{%endif%}") == 0;
        bool is_branch = starts_with(scan->tag, "{%elif") || strcmp(scan->tag, "{%else%}") == 0;
        if (depth == 0 && is_end && is_whole)
            return;
        if (depth == 0 && (is_end || is_branch)) {
            *scan = before;
            return;
        }
        depth += starts_with(scan->tag, "{%if") - is_end;
    }
}

static void append(char **out, const char *text, size_t bytes)
{
    memcpy(*out, text, bytes);
    *out += bytes;
}

static void unescape_newlines(char *text)
{
    char *out = text;
    for (const char *place = text; *place; out++) {
        bool is_newline = place[0] == '\\' && place[1] == 'n';
        *out = is_newline ? '\n' : *place;
        place += 1 + is_newline;
    }
    *out = 0;
}

enum status chat_template_normalise(char **normal, struct text_view template)
{
    size_t bytes = template.bytes;
    char *source = strndup(template.text, bytes);
    /* A string that is cut off by the end gets a quote, a tag none of its closing: one more
     * each. */
    struct scan scan = {.tag = malloc(bytes + 3)};
    char *written = malloc(bytes + 3);
    if (!source || !scan.tag || !written) {
        free(source);
        free(scan.tag);
        free(written);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat template of %zu bytes", bytes);
    }
    unescape_newlines(source);
    scan.place = source;
    char *out = written;
    const char *text;
    size_t text_bytes;
    while (next_tag(&scan, &text, &text_bytes)) {
        append(&out, text, text_bytes);
        if (is_idle(scan.tag))
            skip_branch(&scan);
        else if (!scan.is_comment)
            append(&out, scan.tag, strlen(scan.tag));
    }
    append(&out, text, text_bytes);
    *out = 0;
    free(source);
    free(scan.tag);
    *normal = written;
    return STATUS_OK;
}
