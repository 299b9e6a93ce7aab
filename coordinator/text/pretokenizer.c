/* Owns the compiled patterns of one pre-tokenizer and the walk over a text. Promises that the words
 * cover the text. */
#include "coordinator/text/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "coordinator/text/pretokenizer_rows.h"

struct pretokenizer {
    const struct pretokenizer_row *row;
    pcre2_code *codes[PRETOKENIZER_STAGES_MAX]; /* [stages] */
    int stages;
};

/* A piece of the text that one stage is cutting. */
struct piece {
    PCRE2_SPTR text;
    size_t bytes;
    size_t place;
};

struct pretokenizer_walk {
    const struct pretokenizer *pretokenizer;
    pcre2_match_data *match;
    struct piece pieces[PRETOKENIZER_STAGES_MAX];
    int stage; /* that cuts next */
};

static const struct pretokenizer_row *find(const char *name, size_t name_bytes)
{
    for (const struct pretokenizer_row *row = pretokenizer_rows; row->name; row++)
        if (strlen(row->name) == name_bytes && memcmp(row->name, name, name_bytes) == 0)
            return row;
    return NULL;
}

static enum status compile(pcre2_code **code, const char *pattern)
{
    int error;
    PCRE2_SIZE place;
    *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &place, NULL);
    if (!*code)
        return fail(STATUS_INTERNAL,
                    "PCRE2 refuses the pattern of a pre-tokenizer: error %d at %zu", error, place);
    /* Where memory may not be made executable, matching goes on without JIT, five times slower. */
    (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
    return STATUS_OK;
}

enum status pretokenizer_create(struct pretokenizer **pretokenizer, const char *name,
                                size_t name_bytes)
{
    const struct pretokenizer_row *row = find(name, name_bytes);
    if (!row)
        return fail(STATUS_UNIMPLEMENTED,
                    "pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not supported; "
                    "known: " PRETOKENIZER_NAMES,
                    (int)(name_bytes < 64 ? name_bytes : 64), name);
    struct pretokenizer *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a pre-tokenizer");
    created->row = row;
    for (int stage = 0; stage < PRETOKENIZER_STAGES_MAX && row->stages[stage]; stage++) {
        enum status status = compile(&created->codes[stage], row->stages[stage]);
        if (status != STATUS_OK) {
            pretokenizer_destroy(created);
            return status;
        }
        created->stages++;
    }
    *pretokenizer = created;
    return STATUS_OK;
}

bool pretokenizer_ignores_merges(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->row->ignores_merges;
}

bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->row->adds_bos;
}

bool pretokenizer_normalises(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->row->normalises;
}

void pretokenizer_destroy(struct pretokenizer *pretokenizer)
{
    if (!pretokenizer)
        return;
    for (int stage = 0; stage < pretokenizer->stages; stage++)
        pcre2_code_free(pretokenizer->codes[stage]);
    free(pretokenizer);
}

enum status pretokenizer_walk_create(struct pretokenizer_walk **walk,
                                     const struct pretokenizer *pretokenizer)
{
    struct pretokenizer_walk *created = calloc(1, sizeof *created);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!created || !match) {
        free(created);
        pcre2_match_data_free(match);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to walk over a text");
    }
    created->pretokenizer = pretokenizer;
    created->match = match;
    *walk = created;
    return STATUS_OK;
}

void pretokenizer_walk_destroy(struct pretokenizer_walk *walk)
{
    if (!walk)
        return;
    pcre2_match_data_free(walk->match);
    free(walk);
}

void pretokenizer_walk_begin(struct pretokenizer_walk *walk, const char *text, size_t bytes)
{
    walk->pieces[0] = (struct piece){(PCRE2_SPTR)text, bytes, 0};
    walk->stage = 0;
}

/* The next piece of what the walk's stage is cutting. */
static enum status cut(struct pretokenizer_walk *walk, PCRE2_SPTR *text, size_t *bytes)
{
    struct piece *piece = &walk->pieces[walk->stage];
    int found = pcre2_match(walk->pretokenizer->codes[walk->stage], piece->text, piece->bytes,
                            piece->place, PCRE2_NO_UTF_CHECK, walk->match, NULL);
    if (found <= 0)
        return fail(STATUS_INTERNAL, "the pre-tokenizer found no word at byte %zu: PCRE2 error %d",
                    piece->place, found);
    size_t end = pcre2_get_ovector_pointer(walk->match)[1];
    if (end <= piece->place || end > piece->bytes)
        return fail(STATUS_INTERNAL, "the pre-tokenizer found an empty word at byte %zu",
                    piece->place);
    *text = piece->text + piece->place;
    *bytes = end - piece->place;
    piece->place = end;
    return STATUS_OK;
}

enum status pretokenizer_walk_next(struct pretokenizer_walk *walk, const char **word, size_t *bytes)
{
    for (;;) {
        const struct piece *piece = &walk->pieces[walk->stage];
        PCRE2_SPTR text = piece->text + piece->bytes;
        size_t text_bytes = 0;
        if (piece->place < piece->bytes)
            TRY(cut(walk, &text, &text_bytes));
        else if (walk->stage > 0) {
            walk->stage--;
            continue;
        }
        if (text_bytes == 0 || walk->stage + 1 == walk->pretokenizer->stages) {
            *word = (const char *)text;
            *bytes = text_bytes;
            return STATUS_OK;
        }
        walk->pieces[++walk->stage] = (struct piece){text, text_bytes, 0};
    }
}
