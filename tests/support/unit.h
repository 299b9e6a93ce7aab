/* What a cmocka test includes. cmocka has a macro fail(); ours is the function of proto/status.h. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#undef fail
