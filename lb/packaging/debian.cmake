# Debian packages: `cpack -G DEB` in the build folder makes libevener1, libevener-dev and evener-tools.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME evener)
# dpkg wants an address and the project has no mailbox: ".invalid" says so (RFC 2606). Whoever hands packages out gives
# their own, with -DCPACK_PACKAGE_CONTACT=.
if(NOT CPACK_PACKAGE_CONTACT)
    set(CPACK_PACKAGE_CONTACT "evener maintainers <maintainers@evener.invalid>")
endif()
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime development tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libevener${evener_abi})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
# Earlier builds of nghttp2 1.52 bounded neither CONTINUATION frames nor reset streams; its symbols do not show that.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "libnghttp2-14 (>= 1.52.0-1+deb12u2)")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "Client-side name resolution and load balancing for gRPC in C
 Finds the backends behind a name, keeps connections to them and chooses one
 for every call, on the public C API of the gRPC core.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libevener-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
# The static library needs the development files of all it stands on; evener.pc names them as private requirements.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION}), libgrpc-dev, libc-ares-dev, \
libconfig-dev, libuv1-dev, liburcu-dev, libjansson-dev, \
libnghttp2-dev, libssl-dev, zlib1g-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Development files of evener
 Headers, the static library, and what pkg-config and CMake's find_package()
 need to find them.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME evener-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR})
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "The command-line program evener
 Resolves names, checks configurations, makes calls and drives load through
 evener, to see what it would do for a service.")

include(CPack)
