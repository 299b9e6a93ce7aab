/* A manual page in roff's man macros, as man(1) and mandoc show it. */
#pragma once

#include <stdio.h>

/* What every page begins with. */
struct manual_page {
    const char *program;   /* "longhaul run": the page is longhaul-run(1) */
    const char *summary;   /* sentences; the first one stands beside the name */
    const char *arguments; /* of the usage line; NULL: none but options */
};

/* NAME, SYNOPSIS and DESCRIPTION. */
void manual_page_begin(FILE *file, const struct manual_page *page);

void manual_page_section(FILE *file, const char *title);
/* Running text, filled; its line breaks do not count. */
void manual_page_text(FILE *file, const char *text);

/* One option of a list; the letter may be 0, and value, standard and choices NULL or "". */
struct manual_option {
    char letter;
    const char *name, *value, *help, *standard, *choices;
};
void manual_page_option(FILE *file, const struct manual_option *option);

/* A command of a program that has some: its page and what it does. */
void manual_page_command(FILE *file, const char *program, const char *name, const char *help);

/* EXIT STATUS, EXAMPLES and SEE ALSO. */
void manual_page_end(FILE *file, const char *examples);
