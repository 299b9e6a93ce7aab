# Writes OUTPUT, a C file with the commit that SOURCE is at, as GIT tells it; empty without git.
set(commit "")
if(GIT)
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --show-toplevel
      OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  # An unpacked tarball may lie in a repository of somebody else's.
  if(top STREQUAL SOURCE)
    execute_process(COMMAND ${GIT} --no-optional-locks -C ${SOURCE} describe --always --abbrev=40 --dirty --exclude=*
        OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
set(text "#include \"coordinator/bench/build_commit.h\"\n\nconst char build_commit[] = \"${commit}\";\n")
set(before "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
