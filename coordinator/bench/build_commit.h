/* Of which commit this program was built; made by cmake/commit.cmake. */
#pragma once

/* 40 hexadecimal digits, with "-dirty" behind where files differed from it; "" where the sources
 * were not in git. */
extern const char build_commit[];
