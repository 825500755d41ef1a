# Debian packages: `cpack -G DEB` in the build folder makes libevener1, libevener-dev and evener-tools.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME evener)
# dpkg requires an address, and the project has no mailbox: ".invalid" says so (RFC 2606). Distributors set their own
# with -DCPACK_PACKAGE_CONTACT=.
if(NOT CPACK_PACKAGE_CONTACT)
    set(CPACK_PACKAGE_CONTACT "evener maintainers <maintainers@evener.invalid>")
endif()
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime development tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)

# Files that Debian policy requires of each package (copyright, changelog), and of one with a shared library (shlibs,
# symbols, the ldconfig trigger). The library's symbols are those that its headers declare; tests/check_symbols.sh holds
# that.
set(evener_debian ${CMAKE_CURRENT_BINARY_DIR}/debian)
string(TIMESTAMP evener_debian_date "%a, %d %b %Y %H:%M:%S +0000" UTC) # honours SOURCE_DATE_EPOCH
file(WRITE ${evener_debian}/changelog "evener (${PROJECT_VERSION}) unstable; urgency=medium\n
  * See CHANGELOG.md in the documentation of libevener-dev.\n
 -- ${CPACK_PACKAGE_CONTACT}  ${evener_debian_date}\n")
file(WRITE ${evener_debian}/triggers "activate-noawait ldconfig\n")
file(WRITE ${evener_debian}/shlibs "libevener ${evener_abi} libevener${evener_abi} (>= ${PROJECT_VERSION})\n")
file(GLOB evener_headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/include/evener/*.h)
set(evener_symbols "")
foreach(header ${evener_headers})
    file(READ ${header} text)
    string(REGEX MATCHALL "EVENER_API [^;{]*[ *]evener_[a-z0-9_]+[ \n]*[(;[]" declarations "${text}")
    foreach(declaration ${declarations})
        string(REGEX REPLACE "\\(.*" "(" declaration "${declaration}")
        string(REGEX MATCH "(evener_[a-z0-9_]+)[ \n]*[(;[]?$" ignored "${declaration}")
        list(APPEND evener_symbols ${CMAKE_MATCH_1})
    endforeach()
endforeach()
list(SORT evener_symbols)
list(REMOVE_DUPLICATES evener_symbols)
list(TRANSFORM evener_symbols REPLACE "(.+)" " \\1@Base ${PROJECT_VERSION}")
list(JOIN evener_symbols "\n" evener_symbols)
file(WRITE ${evener_debian}/symbols
    "libevener.so.${evener_abi} libevener${evener_abi} #MINVER#\n${evener_symbols}\n")
find_program(EVENER_GZIP gzip)
if(EVENER_GZIP)
    execute_process(COMMAND ${EVENER_GZIP} -9nf ${evener_debian}/changelog)
    foreach(component_package runtime:libevener${evener_abi} development:libevener-dev tools:evener-tools)
        string(REGEX MATCH "(.*):(.*)" ignored ${component_package})
        install(FILES lb/packaging/copyright ${evener_debian}/changelog.gz
            DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${CMAKE_MATCH_2} COMPONENT ${CMAKE_MATCH_1} EXCLUDE_FROM_ALL)
    endforeach()
endif()
install(FILES CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libevener-dev COMPONENT development
    EXCLUDE_FROM_ALL)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libevener${evener_abi})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
# Earlier builds of nghttp2 1.52 bounded neither CONTINUATION frames nor reset streams; its symbols do not show that.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "libnghttp2-14 (>= 1.52.0-1+deb12u2)")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${evener_debian}/triggers ${evener_debian}/shlibs ${evener_debian}/symbols)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "The shared library. It finds the backends behind a name, keeps connections to
them and chooses one for every call, on the public C API of the gRPC core.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libevener-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
# The static library needs the development files of its dependencies, the private requirements of evener.pc.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION}), libgrpc-dev, \
libc-ares-dev, libconfig-dev, libuv1-dev, liburcu-dev, libjansson-dev, libnghttp2-dev, libssl-dev, \
zlib1g-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Headers, the static library, and the files with which
pkg-config and CMake's find_package() find them.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME evener-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR})
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "The program evener: it resolves names, checks configurations, makes calls and
sends load through libevener, to see what it would do for a service.")

include(CPack)
