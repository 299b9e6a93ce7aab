/* Programs that a command asks for a few lines. */
#pragma once

#include <stddef.h>

#include "proto/status.h"

/* The path of a program that is installed beside this one, for example "longhaul-worker". */
MUST_CHECK enum status subprocess_beside(char *path, size_t room, const char *program);

/* Runs argv (argv[0] is looked up in PATH unless it has a slash) and keeps the first room - 1 bytes
 * of its standard output. NOT_FOUND where it cannot be started, UNAVAILABLE where it fails,
 * DEADLINE_EXCEEDED after `seconds`, when it is killed. */
MUST_CHECK enum status subprocess_capture(char *output, size_t room, const char *const *argv,
                                          double seconds);
