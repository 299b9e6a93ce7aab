/* Text from a file or a peer, made fit to be shown to a person.
 *
 * Such text may hold codes that steer a terminal (move the cursor, set the title, answer as if it
 * were typed), that end a line early, or that change the order in which a line is read. fail()
 * masks every sentence; whoever shows such text in another way masks it by one of these.
 *
 * What is masked is replaced by a point for each of its bytes, so that no text grows.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* For a text that is shown within a line. Masks control characters (newline and tab too, and those
 * of two bytes, U+0080 to U+009F), line and paragraph separators, the characters that override the
 * direction of writing, and bytes that are no UTF-8. */
void printable_mask_line(char *text, size_t bytes);

/* For a text of many lines. Masks what could steer a terminal: control characters other than
 * newline and tab, and bytes that are no UTF-8. */
void printable_mask_text(char *text, size_t bytes);

/* Write a text masked as the two above do it. As with fwrite, what cannot be written is found by
 * ferror. */
void printable_write_line(FILE *file, const char *text, size_t bytes);
void printable_write_text(FILE *file, const char *text, size_t bytes);
