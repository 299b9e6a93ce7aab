/* The table of settings, for config.c alone. */
#pragma once

#include <stddef.h>

#include "proto/config.h"

enum { CONFIG_ROWS_MAX = 128 };

extern const struct config_row config_rows[]; /* [config_rows_total] */
extern const size_t config_rows_total;
