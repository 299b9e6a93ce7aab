# longhaul_messages_library(NAME ROOT dir PROTOS path ...): C code for .proto files, generated into the build tree.
# Includes read "longhaul/v1/inference.pb-c.h": the path of the .proto file below ROOT.
function(longhaul_messages_library name)
  cmake_parse_arguments(A "" "ROOT" "PROTOS" ${ARGN})
  set(generated ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  set(sources)
  foreach(proto ${A_PROTOS})
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${proto})
    add_custom_command(
      OUTPUT ${generated}/${stem}.c ${generated}/${stem}.h
      COMMAND ${PROTOC_C} -I ${A_ROOT} --c_out=${generated} ${A_ROOT}/${proto}
      DEPENDS ${A_ROOT}/${proto}
      VERBATIM)
    list(APPEND sources ${generated}/${stem}.c ${generated}/${stem}.h)
  endforeach()
  add_library(${name} STATIC ${sources})
  # The generated code is protoc-c's: it answers to its own warnings, not to ours, and sanitizers would take minutes over it.
  target_compile_options(${name} PRIVATE -w -O1 -fno-sanitize=all)
  target_include_directories(${name} SYSTEM PUBLIC ${generated})
  target_link_libraries(${name} PUBLIC longhaul_flags PkgConfig::PROTOBUF_C)
endfunction()
