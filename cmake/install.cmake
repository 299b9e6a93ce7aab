# `cmake --install`: a tree that may be moved, since programs find each other from where they lie; and packages of it.
include(GNUInstallDirs)
# Packing does not build the tests first.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY TRUE)

set(manual ${CMAKE_BINARY_DIR}/manual)
set(programs longhaul longhaul-coordinator longhaul-trainer longhaul-worker)
set(awks cmake/completion-bash.awk cmake/completion-zsh.awk cmake/completion-fish.awk)
add_custom_command(
  OUTPUT ${manual}/man1/longhaul.1
  COMMAND ${CMAKE_SOURCE_DIR}/cmake/make-manual ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${manual}
  DEPENDS ${programs} cmake/make-manual ${awks}
  VERBATIM)
add_custom_target(manual ALL DEPENDS ${manual}/man1/longhaul.1)

install(TARGETS ${programs} RUNTIME)
install(DIRECTORY ${manual}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
install(FILES ${manual}/completions/bash RENAME longhaul
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${manual}/completions/zsh RENAME _longhaul DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${manual}/completions/fish RENAME longhaul.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
# bash-completion looks for a file of the program's name.
foreach(program longhaul-coordinator longhaul-trainer longhaul-worker)
  install(FILES ${manual}/completions/bash RENAME ${program}
      DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endforeach()

install(FILES deploy/modulefile RENAME ${PROJECT_VERSION} DESTINATION ${CMAKE_INSTALL_DATADIR}/modulefiles/longhaul)
# They name programs without a folder: systemd looks in those of a system, /usr/local/bin and /usr/bin among them.
install(FILES deploy/systemd/longhaul-coordinator.service deploy/systemd/longhaul-worker.service
    DESTINATION lib/systemd/system)
install(FILES deploy/systemd/longhaul.conf DESTINATION lib/sysusers.d)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/cluster.example.yaml deploy/train.example.yaml deploy/recipe.example.yaml deploy/haproxy.cfg DESTINATION ${CMAKE_INSTALL_DATADIR}/longhaul)
install(PROGRAMS deploy/wait-serving DESTINATION ${CMAKE_INSTALL_DATADIR}/longhaul)
install(DIRECTORY proto/longhaul/v1 DESTINATION ${CMAKE_INSTALL_DATADIR}/longhaul/proto/longhaul
    FILES_MATCHING PATTERN "*.proto")
install(FILES proto/rpc/status_details.proto DESTINATION ${CMAKE_INSTALL_DATADIR}/longhaul/proto/rpc)
install(DIRECTORY deploy/python deploy/clusters DESTINATION ${CMAKE_INSTALL_DATADIR}/longhaul
    USE_SOURCE_PERMISSIONS
    PATTERN "__pycache__" EXCLUDE PATTERN "*.egg-info" EXCLUDE PATTERN "build" EXCLUDE PATTERN "tests" EXCLUDE)

set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_NAME longhaul)
set(CPACK_PACKAGE_VENDOR longhaul)
set(CPACK_PACKAGE_CONTACT "longhaul <longhaul@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "long prompts through Llama-family models on a cluster")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES TRUE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/deploy/systemd/postinst)
# mpirun starts groups of several processes; wait-serving and the Python client speak gRPC.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "openmpi-bin, python3-grpcio")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "haproxy, slurm-client")
# The package is Debian's layout; the tarball is to be unpacked anywhere.
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_SOURCE_DIR}/cmake/package.cmake)
include(CPack)
