/* The file of hosts that --hostfile names, as text for host_list_read_hostfile. */
#pragma once

#include "proto/status.h"

/* The caller frees it. NOT_FOUND where there is no such file, INVALID_ARGUMENT from 1 MiB on. */
MUST_CHECK enum status hostfile_read(char **text, const char *path);
