/* The calls of longhaul.v1.Sessions that take a session out of the workers' memory as the parts of
 * a file, and back. */
#pragma once

#include "proto/rpc/rpc_server.h"

/* `context` is the struct errand_tools. */
rpc_handler session_file_calls_save;
rpc_handler session_file_calls_restore;
