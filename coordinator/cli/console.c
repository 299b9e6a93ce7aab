/* Owns standard error's last line. Promises that a progress line never mixes with other text, and
 * that nothing but text goes out where no terminal looks on. */
#include "coordinator/cli/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/printable.h"

enum { LINE_BYTES = 512 };

static bool live;
static bool colours;
static bool line_shown;

void console_configure(bool is_live, bool with_colour)
{
    live = is_live;
    colours = with_colour;
}

bool console_is_live(void)
{
    return live;
}

void console_clear(void)
{
    if (!line_shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    line_shown = false;
}

int console_failure(const char *program, enum status status)
{
    console_clear();
    fprintf(stderr, "%s%s:%s %s\n", console_paint(CONSOLE_RED), program,
            console_paint(CONSOLE_PLAIN), status_message());
    return status_exit_code(status);
}

int console_usage(const char *program)
{
    console_say("%s: %s\nTry '%s --help'.", program, status_message(), program);
    return CONSOLE_EXIT_USAGE;
}

void console_say(const char *format, ...)
{
    console_clear();
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void console_show(const char *text)
{
    console_clear();
    printable_write_text(stderr, text, strlen(text));
    fputc('\n', stderr);
}

/* 80 where the terminal does not say. */
static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col < LINE_BYTES ? size.ws_col : LINE_BYTES - 1;
}

/* One column short: a full line would wrap and could not be taken back. */
static void draw(const char *line)
{
    fprintf(stderr, "\r\033[K%.*s", terminal_columns() - 1, line);
    fflush(stderr);
    line_shown = true;
}

void console_progress(const char *format, ...)
{
    if (!live)
        return;
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    draw(line);
}

void console_progress_fitting(const char *const *texts, size_t count)
{
    size_t i = 0;
    while (i + 1 < count && strlen(texts[i]) > (size_t)terminal_columns() - 1)
        i++;
    if (live)
        draw(texts[i]);
}

const char *console_paint(enum console_colour colour)
{
    static const char *const sequences[] = {"\033[0m", "\033[32m", "\033[33m", "\033[31m",
                                            "\033[2m"};
    return colours ? sequences[colour] : "";
}
