# CUDA C by nvcc, linked by the C compiler: objects come out of a custom command, so that no target's linker becomes
# nvcc's and no program needs libstdc++. What ptxas says of registers and spills lands beside each object (.report).
find_package(CUDAToolkit 12.5 REQUIRED)
set(LONGHAUL_CUDA_ARCHITECTURES 80 90a CACHE STRING "Compute capabilities that kernels are compiled for")

# Warnings are errors for the compilers that they were seen with: a GPU machine is not the place to meet new ones.
set(strict)
if(CUDAToolkit_VERSION VERSION_LESS 13.1 AND CMAKE_C_COMPILER_VERSION VERSION_LESS 13)
  set(strict -Werror all-warnings -Xcompiler -Werror)
endif()

# longhaul_cuda_objects(OUT ARCHITECTURES 80 ... SOURCES file.cu ...): the objects of CUDA files of this folder, as a list
# in OUT.
function(longhaul_cuda_objects out)
  cmake_parse_arguments(PARSE_ARGV 1 cuda "" "" "ARCHITECTURES;SOURCES")
  set(targets)
  foreach(architecture ${cuda_ARCHITECTURES})
    list(APPEND targets -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  set(objects)
  foreach(source ${cuda_SOURCES})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${source}.o)
    add_custom_command(
      OUTPUT ${object}
      BYPRODUCTS ${object}.report
      COMMAND ${CMAKE_COMMAND} -E env ${CMAKE_SOURCE_DIR}/cmake/nvcc-report ${object}.report
          ${CUDAToolkit_NVCC_EXECUTABLE} -ccbin ${CMAKE_C_COMPILER} -std=c++17 -O3 -lineinfo -I ${CMAKE_SOURCE_DIR}
          -Xcompiler -Wall,-Wextra,-fvisibility=hidden
          -Xcompiler -fno-threadsafe-statics,-fno-exceptions,-fno-rtti
          ${strict} -Xptxas -v ${targets} --threads 2
          -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} ${CMAKE_SOURCE_DIR}/cmake/nvcc-report
      DEPFILE ${object}.d
      VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  set(${out} ${objects} PARENT_SCOPE)
endfunction()
