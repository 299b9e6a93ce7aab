# Flags of every target: warnings are errors; asserts stay in release (no NDEBUG).
add_library(longhaul_flags INTERFACE)
target_include_directories(longhaul_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(longhaul_flags INTERFACE
    _GNU_SOURCE LONGHAUL_VERSION="${PROJECT_VERSION}")
target_compile_options(longhaul_flags INTERFACE
    -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes
    -Wvla -Wwrite-strings -Wundef -fno-math-errno -ffp-contract=off -fvisibility=hidden)
target_link_libraries(longhaul_flags INTERFACE m pthread)
if(LONGHAUL_SANITIZE)
  target_compile_options(longhaul_flags INTERFACE
      -fsanitize=${LONGHAUL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(longhaul_flags INTERFACE -fsanitize=${LONGHAUL_SANITIZE})
endif()
if(LONGHAUL_FUZZ)
  # Without it libFuzzer sees the target's own branches only.
  target_compile_options(longhaul_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(longhaul_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# longhaul_library(NAME SOURCES ... LIBRARIES ...): a static library under the project's flags.
function(longhaul_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC longhaul_flags ${A_LIBRARIES})
endfunction()

# longhaul_timeout(SECONDS TEST ...): how long each of these tests may take, times the build's factor.
function(longhaul_timeout seconds)
  math(EXPR seconds "${seconds} * ${LONGHAUL_TIMEOUT_FACTOR}")
  set_tests_properties(${ARGN} PROPERTIES TIMEOUT ${seconds})
endfunction()

# longhaul_cost(SECONDS TEST ...): about how long they take. On a fresh build, too, ctest starts the longest first, so that no
# core waits for one that began last, and those that wait run beside those that compute.
function(longhaul_cost seconds)
  set_tests_properties(${ARGN} PROPERTIES COST ${seconds})
endfunction()

# longhaul_numbers(TEST ...): long tests of what is computed or measured. The code that they run is under sanitizers in shorter
# ones, so the preset `dev` leaves them out; .ci/long runs them there.
function(longhaul_numbers)
  set_property(TEST ${ARGN} APPEND PROPERTY LABELS numbers)
endfunction()

# longhaul_test(NAME SOURCES ... LIBRARIES ... [TIMEOUT seconds]): a cmocka program, run by ctest.
function(longhaul_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE longhaul_flags ${A_LIBRARIES} ${CMOCKA_LIBRARIES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 60)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  longhaul_timeout(${A_TIMEOUT} ${name})
endfunction()
