# The packaged libraries. gRPC is found by header and library: its .pc file lists 90 libraries and costs 11 s.
find_package(PkgConfig REQUIRED)
find_package(MPI COMPONENTS C)

pkg_check_modules(CMOCKA REQUIRED cmocka)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)

find_path(GRPC_INCLUDE grpc/grpc.h REQUIRED)
find_library(GRPC_LIBRARY grpc REQUIRED)
find_library(GPR_LIBRARY gpr REQUIRED)
add_library(longhaul_grpc INTERFACE)
target_include_directories(longhaul_grpc SYSTEM INTERFACE ${GRPC_INCLUDE})
target_link_libraries(longhaul_grpc INTERFACE ${GRPC_LIBRARY} ${GPR_LIBRARY})

find_program(PROTOC_C protoc-c REQUIRED)
find_program(PROTOC protoc REQUIRED)
