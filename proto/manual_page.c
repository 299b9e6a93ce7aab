/* Owns nothing. Promises that no text of ours is taken for a request of roff's. */
#include "proto/manual_page.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static const struct {
    int code;
    const char *meaning;
} exit_codes[] = {
    {0, "done"},
    {2, "the command line makes no sense"},
    {65, "the input can never work"},
    {66, "a named file or request does not exist"},
    {69, "no coordinator or workers, no memory, a full queue; a retry may help"},
    {70, "a bug"},
    {74, "the operating system refused to read or write"},
    {75, "cut short by a cancel, a drain or a deadline; ask again"},
    {77, "a secret or a token is missing or wrong"},
    {78, "the configuration or the installation is wrong"},
};

/* Up to `bytes` of a text: hyphens as they are typed, and no line that begins with a request. */
static void put(FILE *file, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes && text[i]; i++) {
        const bool begins = i == 0 || text[i - 1] == '\n';
        if (begins && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", file);
        if (text[i] == '\\')
            fputs("\\e", file);
        else if (text[i] == '-')
            fputs("\\-", file);
        else
            fputc(text[i], file);
    }
}

static void put_all(FILE *file, const char *text)
{
    put(file, text, strlen(text));
}

/* "longhaul run" as "longhaul-run". */
static void put_name(FILE *file, const char *program, bool upper)
{
    for (const char *at = program; *at; at++)
        if (*at == ' ' || *at == '-')
            fputs("\\-", file);
        else
            fputc(upper ? toupper((unsigned char)*at) : *at, file);
}

void manual_page_section(FILE *file, const char *title)
{
    fprintf(file, ".SH %s\n", title);
}

void manual_page_text(FILE *file, const char *text)
{
    put_all(file, text);
    if (!text[0] || text[strlen(text) - 1] != '\n')
        fputc('\n', file);
}

/* Lines as they are. */
static void put_lines(FILE *file, const char *text)
{
    fputs(".nf\n", file);
    manual_page_text(file, text);
    fputs(".fi\n", file);
}

/* The first sentence, on one line and without its full stop. */
static void put_first_sentence(FILE *file, const char *text)
{
    size_t bytes = 0;
    while (text[bytes] && !(text[bytes] == '.' && isspace((unsigned char)text[bytes + 1])))
        bytes++;
    for (size_t i = 0; i < bytes; i++)
        if (text[i] == '\n')
            fputc(' ', file);
        else
            put(file, text + i, 1);
    fputc('\n', file);
}

void manual_page_begin(FILE *file, const struct manual_page *page)
{
    fputs(".TH ", file);
    put_name(file, page->program, true);
    fputs(" 1 \"\" \"longhaul " LONGHAUL_VERSION "\" \"longhaul\"\n.nh\n.ad l\n", file);
    manual_page_section(file, "NAME");
    put_name(file, page->program, false);
    fputs(" \\- ", file);
    put_first_sentence(file, page->summary);
    manual_page_section(file, "SYNOPSIS");
    fprintf(file, ".B ");
    manual_page_text(file, page->program);
    fputs("[OPTIONS]", file);
    if (page->arguments) {
        fputc(' ', file);
        put_all(file, page->arguments);
    }
    fputc('\n', file);
    manual_page_section(file, "DESCRIPTION");
    manual_page_text(file, page->summary);
}

void manual_page_option(FILE *file, const struct manual_option *option)
{
    fputs(".TP\n", file);
    if (option->letter)
        fprintf(file, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB\\-\\-", file);
    put_all(file, option->name);
    fputs("\\fR", file);
    if (option->value) {
        fputs(" \\fI", file);
        put_all(file, option->value);
        fputs("\\fR", file);
    }
    fputc('\n', file);
    put_all(file, option->help);
    if (option->choices && option->choices[0]) {
        fputs("; one of ", file);
        for (const char *at = option->choices; *at; at++)
            if (*at == '|')
                fputs(", ", file);
            else
                put(file, at, 1);
    }
    if (option->standard && option->standard[0]) {
        fputs(" [", file);
        put_all(file, option->standard);
        fputc(']', file);
    }
    fputc('\n', file);
}

void manual_page_command(FILE *file, const char *program, const char *name, const char *help)
{
    fputs(".TP\n.BR ", file);
    put_name(file, program, false);
    fputs("\\-", file);
    put_name(file, name, false);
    fputs(" (1)\n", file);
    manual_page_text(file, help);
}

void manual_page_end(FILE *file, const char *examples)
{
    manual_page_section(file, "EXIT STATUS");
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        fprintf(file, ".TP\n%d\n%s\n", exit_codes[i].code, exit_codes[i].meaning);
    fputs(".TP\n128 + n\nended by signal n\n", file);
    manual_page_section(file, "EXAMPLES");
    put_lines(file, examples);
    manual_page_section(file, "SEE ALSO");
    fputs(".BR longhaul (1),\n.BR longhaul\\-coordinator (1),\n.BR longhaul\\-worker (1)\n", file);
}
