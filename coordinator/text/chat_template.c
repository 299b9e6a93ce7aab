/* Owns the reading of a template's tags. Promises that what it leaves out, nothing writes for a
 * conversation of system, user and assistant messages without tools; a template that is not well
 * formed comes out as something that equals no known one. */
#include "coordinator/text/chat_template.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    const char *place; /* in the template */
    char *tag;         /* the last tag in one spelling, ended by 0 */
    bool is_comment;
    bool trims_after; /* the last tag ends in a dash */
    bool line_starts; /* what stands at place begins a line */
};

/* What is written so far. */
struct writer {
    char *start;
    char *end;
};

/* Conditions that do not hold without tools, and of the branches at a message those that only
 * messages of tools reach. */
static const char *const idle_tags[] = {
    "{%if custom_tools is defined%}",
    "{%if builtin_tools is defined%}",
    "{%if builtin_tools is defined or tools is not none%}",
    "{%if tools%}",
    "{%if tools is not none%}",
    "{%if tools is not none and not tools_in_user_message%}",
    "{%if tools_in_user_message and not tools is none%}",
    "{%elif'tool_calls'in message%}",
    "{%elif message['role']=='tool'%}",
    "{%elif message['role']=='tool'or message['role']=='ipython'%}",
};

/* Where an if ends so, assistant messages that it does not hold for are those with tools. */
static const char plain_assistant[] = "(message['role']=='assistant'and not message.tool_calls)%}";
static const char other_assistant[] = "{%elif message['role']=='assistant'%}";

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

static bool ends_with(const char *text, const char *end)
{
    size_t bytes = strlen(text);
    return bytes >= strlen(end) && strcmp(text + bytes - strlen(end), end) == 0;
}

static bool is_word(char character)
{
    return isalnum((unsigned char)character) || character == '_';
}

/* Copies a quoted string, from its opening quote on; returns the place after it. One that is added
 * to another becomes a part of it. */
static const char *copy_quoted(char **out, const char *place)
{
    char quote = *place++;
    if ((*out)[-1] == '+' && (*out)[-2] == '\'')
        *out -= 2;
    else
        *(*out)++ = '\'';
    while (*place && *place != quote) {
        bool is_escaped = *place == '\\' && place[1];
        place += is_escaped;
        if (is_escaped && *place == 'n') {
            *(*out)++ = '\n';
        } else {
            if (*place == '\'' || (is_escaped && *place != '"'))
                *(*out)++ = '\\';
            *(*out)++ = *place;
        }
        place++;
    }
    *(*out)++ = '\'';
    return *place ? place + 1 : place;
}

/* A member of a message by its name, "message.role", as "message['role']"; 0 where none begins. */
static size_t copy_member(char **out, const char *place)
{
    static const struct {
        const char *name;
        const char *spelt;
    } members[] = {{".role", "['role']"}, {".content", "['content']"}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        size_t bytes = strlen(members[i].name);
        size_t spelt_bytes = strlen(members[i].spelt);
        if (!starts_with(place, members[i].name) || is_word(place[bytes]))
            continue;
        memcpy(*out, members[i].spelt, spelt_bytes);
        *out += spelt_bytes;
        return bytes;
    }
    return 0;
}

/* Copies one character; of white space nothing, unless it keeps two words apart, or what would be
 * the end of a tag. Returns the place after it. */
static const char *copy_plain(char **out, const char *place)
{
    char before = (*out)[-1];
    if (!isspace((unsigned char)*place)) {
        *(*out)++ = *place == '~' ? '+' : *place;
        return place + 1;
    }
    while (isspace((unsigned char)*place))
        place++;
    if ((is_word(before) && is_word(*place)) || (strchr("%}#", before) && *place == '}'))
        *(*out)++ = ' ';
    return place;
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
        bool is_quoted = (*place == '\'' || *place == '"') && !scan->is_comment;
        size_t member = copy_member(&out, place);
        if (is_quoted) {
            place = copy_quoted(&out, place);
        } else if (member > 0) {
            place += member;
        } else {
            place = copy_plain(&out, place);
        }
    }
    scan->trims_after = out[-1] == '-' && place[-1] == '-';
    out -= scan->trims_after;
    if (*place) {
        memcpy(out, closing, 2);
        out += 2;
        place += 2;
    }
    *out = 0;
    scan->place = place;
}

/* Passes the white space that does not count after the last tag: at a dash all of it, after a tag
 * that writes nothing one newline. */
static void pass_space(struct scan *scan)
{
    const char *start = scan->place;
    while (scan->trims_after && isspace((unsigned char)*scan->place))
        scan->place++;
    bool is_block = scan->is_comment || starts_with(scan->tag, "{%");
    if (!scan->trims_after && is_block && *scan->place == '\n')
        scan->place++;
    if (*scan->tag) /* not at the start of the template */
        scan->line_starts = scan->place > start && scan->place[-1] == '\n';
}

/* Without the white space that does not count before the tag that follows the text: at a dash all
 * of it, before a tag that writes nothing what indents it. */
static size_t bytes_before_tag(const char *text, size_t bytes, bool line_starts)
{
    const char *tag = text + bytes;
    size_t end = bytes;
    bool is_dash = *tag && tag[2] == '-';
    bool is_block = *tag && tag[1] != '{';
    while (end > 0 && isspace((unsigned char)text[end - 1]) && (is_dash || text[end - 1] != '\n'))
        end--;
    bool indents = end > 0 ? text[end - 1] == '\n' : line_starts;
    return is_dash || (is_block && indents) ? end : bytes;
}

/* Reads the text up to the next tag, and the tag; false where only text is left. */
static bool next_tag(struct scan *scan, const char **text, size_t *text_bytes)
{
    pass_space(scan);
    const char *tag = scan->place;
    while (*tag && !starts_with(tag, "{{") && !starts_with(tag, "{%") && !starts_with(tag, "{#"))
        tag++;
    *text = scan->place;
    *text_bytes = bytes_before_tag(scan->place, (size_t)(tag - scan->place), scan->line_starts);
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

static void append(struct writer *writer, const char *text, size_t bytes)
{
    memcpy(writer->end, text, bytes);
    writer->end += bytes;
}

/* What one tag after the other writes is written by one tag. */
static void append_output(struct writer *writer, const char *expression, size_t bytes)
{
    bool is_joined = writer->end - writer->start >= 4 && memcmp(writer->end - 2, "}}", 2) == 0;
    if (is_joined)
        writer->end -= 2;
    if (is_joined && writer->end[-1] == '\'' && *expression == '\'') {
        writer->end--;
        expression++;
        bytes--;
    } else {
        append(writer, is_joined ? "+" : "{{", is_joined ? 1 : 2);
    }
    append(writer, expression, bytes);
    append(writer, "}}", 2);
}

/* Text between tags, as a tag that writes it. `quoted` has room. */
static void append_text(struct writer *writer, char *quoted, const char *text, size_t bytes)
{
    char *out = quoted;
    if (bytes == 0)
        return;
    *out++ = '\'';
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\'' || text[i] == '\\')
            *out++ = '\\';
        *out++ = text[i];
    }
    *out++ = '\'';
    append_output(writer, quoted, (size_t)(out - quoted));
}

static void append_tag(struct writer *writer, const struct scan *scan)
{
    size_t bytes = strlen(scan->tag);
    bool is_output =
        bytes > 4 && starts_with(scan->tag, "{{") && strcmp(scan->tag + bytes - 2, "}}") == 0;
    if (is_output)
        append_output(writer, scan->tag + 2, bytes - 4);
    else
        append(writer, scan->tag, bytes);
}

static void normalise(struct writer *writer, struct scan *scan, char *quoted)
{
    const char *text;
    size_t text_bytes;
    bool had_assistant = false;
    while (next_tag(scan, &text, &text_bytes)) {
        append_text(writer, quoted, text, text_bytes);
        had_assistant |= ends_with(scan->tag, plain_assistant);
        if (is_idle(scan->tag) || (had_assistant && strcmp(scan->tag, other_assistant) == 0))
            skip_branch(scan);
        else if (!scan->is_comment)
            append_tag(writer, scan);
    }
    append_text(writer, quoted, text, text_bytes);
    *writer->end = 0;
}

enum status chat_template_normalise(char **normal, struct text_view template)
{
    size_t bytes = template.bytes;
    /* A character becomes at most two; text gets quotes and a tag, which four of its own end. */
    size_t room = 4 * bytes + 16;
    char *source = strndup(template.text, bytes);
    char *quoted = malloc(room);
    struct scan scan = {.tag = calloc(1, room), .line_starts = true};
    struct writer writer = {.start = malloc(room)};
    enum status status = STATUS_OK;
    if (!source || !quoted || !scan.tag || !writer.start) {
        status =
            fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat template of %zu bytes", bytes);
        free(writer.start);
        goto free_scratch;
    }
    size_t end = strlen(source);
    if (end > 0 && source[end - 1] == '\n') /* which ends the file, not the text */
        source[end - 1] = 0;
    scan.place = source;
    writer.end = writer.start;
    normalise(&writer, &scan, quoted);
    *normal = writer.start;
free_scratch:
    free(source);
    free(quoted);
    free(scan.tag);
    return status;
}
