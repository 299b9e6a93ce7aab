/* Owns the change of letters. */
#include "coordinator/jinja/jinja_letters.h"

#include <string.h>
#include <utf8proc.h>

#include "coordinator/jinja/jinja_space.h"

enum { CHARACTER_BYTES_MAX = 4, CAPITAL_I_WITH_DOT = 0x130, CAPITAL_SIGMA = 0x3A3 };

/* Those whose upper case is several characters: Unicode's SpecialCasing. */
static bool is_wide_above(utf8proc_int32_t character)
{
    static const struct {
        utf8proc_int32_t first;
        utf8proc_int32_t last;
    } wide[] = {{0xDF, 0xDF},     {0x149, 0x149},  {0x1F0, 0x1F0},   {0x390, 0x390},
                {0x3B0, 0x3B0},   {0x587, 0x587},  {0x1E96, 0x1E9E}, {0x1F50, 0x1F56},
                {0x1F80, 0x1FFC}, {0xFB00, 0xFB17}};
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (character >= wide[i].first && character <= wide[i].last)
            return true;
    return false;
}

/* Those whose case is not known here: a sigma's lower case depends on what stands around it. */
static bool is_special(enum jinja_letters how, utf8proc_int32_t character, bool begins)
{
    if (how == JINJA_LETTERS_UPPER || (begins && how != JINJA_LETTERS_LOWER))
        return is_wide_above(character);
    return character == CAPITAL_SIGMA;
}

static bool is_letter(utf8proc_int32_t character)
{
    const utf8proc_category_t category = utf8proc_category(character);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT;
}

/* Whether the next character begins a word, after this one. */
static bool begins_next(enum jinja_letters how, const char *text, size_t bytes,
                        utf8proc_int32_t character)
{
    if (how == JINJA_LETTERS_TITLE)
        return !is_letter(character);
    return how == JINJA_LETTERS_WORDS &&
           (jinja_space_bytes(text, bytes) > 0 || (bytes == 1 && memchr("-({[<", *text, 5)));
}

static utf8proc_int32_t changed(enum jinja_letters how, utf8proc_int32_t character, bool begins)
{
    if (how == JINJA_LETTERS_UPPER || (begins && how == JINJA_LETTERS_WORDS))
        return utf8proc_toupper(character);
    if (begins && how != JINJA_LETTERS_LOWER)
        return utf8proc_totitle(character);
    return utf8proc_tolower(character);
}

/* Writes the other case of a character; returns its bytes. */
static size_t put_changed(char *to, enum jinja_letters how, utf8proc_int32_t character, bool begins)
{
    static const char i_and_dot[] = "i\xCC\x87";
    const utf8proc_int32_t other = changed(how, character, begins);
    const bool is_lower = how != JINJA_LETTERS_UPPER && !(begins && how != JINJA_LETTERS_LOWER);
    if (character == CAPITAL_I_WITH_DOT && is_lower) {
        memcpy(to, i_and_dot, sizeof i_and_dot - 1);
        return sizeof i_and_dot - 1;
    }
    return (size_t)utf8proc_encode_char(other, (utf8proc_uint8_t *)to);
}

/* The letters of one piece, which may be more bytes than before. */
static enum status change_piece(struct jinja_machine *machine, struct jinja_text *result,
                                const struct jinja_piece *piece, enum jinja_letters how,
                                bool *begins)
{
    char *to = jinja_arena_take(machine->arena, CHARACTER_BYTES_MAX * piece->bytes);
    size_t place = 0, count = 0;
    if (!to)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    while (place < piece->bytes) {
        const char *text = piece->text + place;
        utf8proc_int32_t character;
        const utf8proc_ssize_t read = utf8proc_iterate(
            (const utf8proc_uint8_t *)text, (utf8proc_ssize_t)(piece->bytes - place), &character);
        const size_t bytes = read > 0 ? (size_t)read : 1;
        if (read <= 0 || is_special(how, character, *begins))
            return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                      "the upper or lower case of U+%04X is not supported",
                                      read > 0 ? (unsigned)character : 0xFFFDu);
        count += put_changed(to + count, how, character, *begins);
        *begins = begins_next(how, text, bytes, character);
        place += bytes;
    }
    return jinja_text_add(result, to, count, piece->is_own);
}

enum status jinja_letters_change(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_string *string, enum jinja_letters how)
{
    struct jinja_text result = {.arena = machine->arena};
    const struct jinja_string *made;
    bool begins = true;
    TRY(jinja_machine_step_bytes(machine, 8 * string->bytes));
    for (size_t i = 0; i < string->count; i++)
        TRY(change_piece(machine, &result, &string->pieces[i], how, &begins));
    TRY(jinja_text_string(&result, &made));
    *out = jinja_value_string(made);
    return STATUS_OK;
}
