/* Owns the reading of tags. Promises that text and white space between them are what jinja2 makes
 * of them. */
#include "coordinator/jinja/jinja_lexer.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "coordinator/jinja/jinja_escape.h"
#include "coordinator/jinja/jinja_space.h"

enum { NESTING_MAX = 200 };

struct lexer {
    struct jinja_arena *arena;
    const char *place;
    const char *end;
    const char *counted; /* up to here lines are counted */
    const char *line_start;
    int line;
    bool line_starts; /* what stands at place begins a line */
    struct jinja_token *tokens;
    size_t count;
    size_t room;
    char open[NESTING_MAX]; /* the brackets that are open inside a tag, as what closes them */
    int open_count;
};

static void count_lines(struct lexer *lexer, const char *place)
{
    for (; lexer->counted < place; lexer->counted++)
        if (*lexer->counted == '\n') {
            lexer->line++;
            lexer->line_start = lexer->counted + 1;
        }
}

static enum status add(struct lexer *lexer, enum jinja_token_kind kind, const char *text,
                       size_t bytes)
{
    if (lexer->count == lexer->room) {
        const size_t room = lexer->room ? 2 * lexer->room : 64;
        struct jinja_token *tokens = jinja_arena_take(lexer->arena, room * sizeof *tokens);
        if (!tokens)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the chat template");
        if (lexer->count > 0)
            memcpy(tokens, lexer->tokens, lexer->count * sizeof *tokens);
        lexer->tokens = tokens;
        lexer->room = room;
    }
    count_lines(lexer, lexer->place);
    lexer->tokens[lexer->count++] = (struct jinja_token){
        .kind = kind,
        .line = lexer->line,
        .column = (int)(lexer->place - lexer->line_start) + 1,
        .text = text,
        .bytes = bytes,
    };
    return STATUS_OK;
}

static enum status refuse(struct lexer *lexer, const char *place, const char *what)
{
    count_lines(lexer, place);
    return fail(STATUS_INVALID_ARGUMENT, "chat template, line %d, column %d: %s", lexer->line,
                (int)(place - lexer->line_start) + 1, what);
}

static bool stands(const struct lexer *lexer, const char *place, const char *text)
{
    const size_t bytes = strlen(text);
    return place <= lexer->end && (size_t)(lexer->end - place) >= bytes &&
           memcmp(place, text, bytes) == 0;
}

static const char *skip_space(const struct lexer *lexer, const char *place)
{
    return place + jinja_space_before(place, (size_t)(lexer->end - place));
}

/* Moves to a place behind a tag's end or a token. */
static void move(struct lexer *lexer, const char *place)
{
    lexer->line_starts = place > lexer->place && place[-1] == '\n';
    lexer->place = place;
}

/* The place behind the end of a tag, "%}" or "#}", which stands at `place` with its sign; NULL
 * where none does. */
static const char *block_end(const struct lexer *lexer, const char *place, const char *closing)
{
    if (stands(lexer, place, closing)) {
        place += 2;
        return place + stands(lexer, place, "\n");
    }
    if (*place == '+' && stands(lexer, place + 1, closing))
        return place + 3;
    if (*place == '-' && stands(lexer, place + 1, closing))
        return skip_space(lexer, place + 3);
    return NULL;
}

static const char *output_end(const struct lexer *lexer, const char *place)
{
    if (stands(lexer, place, "}}"))
        return place + 2;
    return stands(lexer, place, "-}}") ? skip_space(lexer, place + 3) : NULL;
}

/* Adds the text up to the tag that stands at `tag` with `sign` behind its two characters, without
 * the white space that does not count. */
static enum status add_text(struct lexer *lexer, const char *tag, char sign, bool is_output)
{
    const char *text = lexer->place;
    size_t bytes = (size_t)(tag - text);
    if (sign == '-') {
        bytes -= jinja_space_behind(text, bytes);
    } else if (sign != '+' && !is_output) {
        const char *newline = memrchr(text, '\n', bytes);
        const size_t kept = newline ? (size_t)(newline - text) + 1 : 0;
        const bool begins_line = kept > 0 || lexer->line_starts;
        if (begins_line && jinja_space_before(text + kept, bytes - kept) == bytes - kept)
            bytes = kept;
    }
    return bytes > 0 ? add(lexer, JINJA_TOKEN_TEXT, text, bytes) : STATUS_OK;
}

static enum status read_comment(struct lexer *lexer, const char *place)
{
    const char *begin = lexer->place;
    for (; place < lexer->end; place++) {
        const char *end = block_end(lexer, place, "#}");
        if (end) {
            move(lexer, end);
            return STATUS_OK;
        }
    }
    return refuse(lexer, begin, "the comment that begins here does not end");
}

/* The place behind "{% raw %}" that stands at `place`, or NULL. */
static const char *raw_begin(const struct lexer *lexer, const char *place)
{
    place += 2;
    place += place < lexer->end && (*place == '-' || *place == '+');
    place = skip_space(lexer, place);
    if (!stands(lexer, place, "raw"))
        return NULL;
    place = skip_space(lexer, place + 3);
    if (stands(lexer, place, "-%}"))
        return skip_space(lexer, place + 3);
    return stands(lexer, place, "%}") ? place + 2 : NULL;
}

static enum status read_raw(struct lexer *lexer, const char *place)
{
    const char *begin = lexer->place;
    move(lexer, place);
    for (; place < lexer->end; place++) {
        if (!stands(lexer, place, "{%"))
            continue;
        const char *inside = place + 2;
        const char sign = inside < lexer->end && (*inside == '-' || *inside == '+') ? *inside : 0;
        inside = skip_space(lexer, inside + (sign != 0));
        if (!stands(lexer, inside, "endraw"))
            continue;
        inside = skip_space(lexer, inside + 6);
        const char *end = inside < lexer->end ? block_end(lexer, inside, "%}") : NULL;
        if (!end)
            continue;
        TRY(add_text(lexer, place, sign, false));
        move(lexer, end);
        return STATUS_OK;
    }
    return refuse(lexer, begin, "the raw block that begins here does not end");
}

static bool is_word(char character)
{
    return isalnum((unsigned char)character) || character == '_' || (character & 0x80);
}

/* The place behind digits, which may be grouped by underscores; `place` where none stand there. */
static const char *skip_digits(const struct lexer *lexer, const char *place)
{
    while (place < lexer->end &&
           (isdigit((unsigned char)*place) ||
            (*place == '_' && place + 1 < lexer->end && isdigit((unsigned char)place[1]))))
        place++;
    return place;
}

static enum status read_number(struct lexer *lexer)
{
    const char *place = lexer->place;
    const char *end = skip_digits(lexer, place);
    bool is_float = false;
    const bool behind_dot = lexer->count > 0 && place[-1] == '.';
    if (!behind_dot && end < lexer->end && *end == '.' && end + 1 < lexer->end &&
        isdigit((unsigned char)end[1])) {
        is_float = true;
        end = skip_digits(lexer, end + 1);
    }
    if (!behind_dot && end < lexer->end && (*end == 'e' || *end == 'E')) {
        const char *exponent = end + 1;
        exponent += exponent < lexer->end && (*exponent == '+' || *exponent == '-');
        if (exponent < lexer->end && isdigit((unsigned char)*exponent)) {
            is_float = true;
            end = skip_digits(lexer, exponent);
        }
    }
    TRY(add(lexer, is_float ? JINJA_TOKEN_FLOAT : JINJA_TOKEN_INTEGER, place,
            (size_t)(end - place)));
    move(lexer, end);
    return STATUS_OK;
}

static enum status read_string(struct lexer *lexer)
{
    const char *place = lexer->place;
    const char quote = *place++;
    while (place < lexer->end && *place != quote)
        place += *place == '\\' && place + 1 < lexer->end ? 2 : 1;
    if (place >= lexer->end)
        return refuse(lexer, lexer->place, "the string that begins here does not end");
    const char *text = lexer->place + 1;
    size_t bytes = (size_t)(place - text);
    const char *problem = NULL;
    if (memchr(text, '\\', bytes)) {
        char *read = jinja_arena_take(lexer->arena, bytes);
        if (!read)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the chat template");
        problem = jinja_escape_read(read, &bytes, text, bytes);
        text = read;
    }
    if (problem)
        return refuse(lexer, lexer->place, problem);
    TRY(add(lexer, JINJA_TOKEN_STRING, text, bytes));
    move(lexer, place + 1);
    return STATUS_OK;
}

static enum status note_bracket(struct lexer *lexer, char bracket)
{
    static const char opening[] = "([{", closing[] = ")]}";
    const char *opens = memchr(opening, bracket, 3);
    if (opens) {
        if (lexer->open_count == NESTING_MAX)
            return refuse(lexer, lexer->place, "more brackets in each other than 200");
        lexer->open[lexer->open_count++] = closing[opens - opening];
        return STATUS_OK;
    }
    if (memchr(closing, bracket, 3)) {
        if (lexer->open_count == 0 || lexer->open[lexer->open_count - 1] != bracket)
            return refuse(lexer, lexer->place, "a bracket that closes none");
        lexer->open_count--;
    }
    return STATUS_OK;
}

static enum status read_operator(struct lexer *lexer)
{
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (stands(lexer, lexer->place, operators[i]))
            bytes = 2;
    if (bytes == 0 && *lexer->place && strchr("+-/*%~[](){}><=.:|,;", *lexer->place))
        bytes = 1;
    if (bytes == 0)
        return refuse(lexer, lexer->place, "a character that begins nothing");
    if (bytes == 1)
        TRY(note_bracket(lexer, *lexer->place));
    TRY(add(lexer, JINJA_TOKEN_OPERATOR, lexer->place, bytes));
    move(lexer, lexer->place + bytes);
    return STATUS_OK;
}

static enum status read_in_tag(struct lexer *lexer)
{
    const char *place = lexer->place;
    const size_t space = jinja_space_before(place, (size_t)(lexer->end - place));
    if (space > 0) {
        move(lexer, place + space);
        return STATUS_OK;
    }
    if (isdigit((unsigned char)*place))
        return read_number(lexer);
    if (is_word(*place)) {
        while (place < lexer->end && is_word(*place))
            place++;
        TRY(add(lexer, JINJA_TOKEN_NAME, lexer->place, (size_t)(place - lexer->place)));
        move(lexer, place);
        return STATUS_OK;
    }
    return *place == '"' || *place == '\'' ? read_string(lexer) : read_operator(lexer);
}

/* From behind its two characters and sign to its end. */
static enum status read_tag(struct lexer *lexer, const char *inside, bool is_output)
{
    const char *begin = lexer->place;
    TRY(add(lexer, is_output ? JINJA_TOKEN_OUTPUT_BEGIN : JINJA_TOKEN_BLOCK_BEGIN, begin, 2));
    move(lexer, inside);
    lexer->open_count = 0;
    while (lexer->place < lexer->end) {
        const char *end =
            is_output ? output_end(lexer, lexer->place) : block_end(lexer, lexer->place, "%}");
        if (end && lexer->open_count == 0) {
            TRY(add(lexer, is_output ? JINJA_TOKEN_OUTPUT_END : JINJA_TOKEN_BLOCK_END, lexer->place,
                    2));
            move(lexer, end);
            return STATUS_OK;
        }
        TRY(read_in_tag(lexer));
    }
    return refuse(lexer, begin, "the tag that begins here does not end");
}

/* The text up to the next tag, and the tag. */
static enum status read_piece(struct lexer *lexer)
{
    const char *tag = lexer->place;
    while (tag < lexer->end &&
           !(stands(lexer, tag, "{%") || stands(lexer, tag, "{{") || stands(lexer, tag, "{#")))
        tag++;
    if (tag == lexer->end) {
        TRY(add(lexer, JINJA_TOKEN_TEXT, lexer->place, (size_t)(tag - lexer->place)));
        move(lexer, tag);
        return STATUS_OK;
    }
    const char *inside = tag + 2;
    const char sign = inside < lexer->end && (*inside == '-' || *inside == '+') ? *inside : 0;
    inside += sign != 0;
    TRY(add_text(lexer, tag, sign, tag[1] == '{'));
    lexer->place = tag;
    if (tag[1] == '#')
        return read_comment(lexer, inside);
    const char *raw = tag[1] == '%' ? raw_begin(lexer, tag) : NULL;
    return raw ? read_raw(lexer, raw) : read_tag(lexer, inside, tag[1] == '{');
}

/* Newlines of one kind, and none at the end. */
static size_t copy_source(char *to, const char *source, size_t bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (source[i] == '\r' && i + 1 < bytes && source[i + 1] == '\n')
            continue;
        to[count++] = source[i] == '\r' ? '\n' : source[i];
    }
    return count > 0 && to[count - 1] == '\n' ? count - 1 : count;
}

enum status jinja_lexer_read(struct jinja_arena *arena, const struct jinja_token **tokens,
                             const char *source, size_t bytes)
{
    char *copy = jinja_arena_take(arena, bytes + 1);
    if (!copy)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the chat template");
    const size_t count = copy_source(copy, source, bytes);
    copy[count] = 0;
    struct lexer lexer = {
        .arena = arena,
        .place = copy,
        .end = copy + count,
        .counted = copy,
        .line_start = copy,
        .line = 1,
        .line_starts = true,
    };
    while (lexer.place < lexer.end)
        TRY(read_piece(&lexer));
    TRY(add(&lexer, JINJA_TOKEN_END, lexer.place, 0));
    *tokens = lexer.tokens;
    return STATUS_OK;
}
