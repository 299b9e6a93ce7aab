/* The folder that --out names: the files of one measurement. */
#pragma once

#include <stdio.h>

#include "proto/status.h"

/* Makes the folder where it is not there. ALREADY_EXISTS where it holds `results`, which another
 * measurement left. */
MUST_CHECK enum status result_folder_prepare(const char *folder, const char *results);

/* A new file of that name. */
MUST_CHECK enum status result_folder_create(FILE **file, const char *folder, const char *name);

/* IO where not all of it could be written. `file` is closed. */
MUST_CHECK enum status result_folder_finish(FILE *file, const char *folder, const char *name);

/* Takes it away again, where it is of no use. */
void result_folder_remove(const char *folder, const char *name);
