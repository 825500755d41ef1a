# Debian packages: `cpack -G DEB` in the build folder makes libevener1, libevener-dev, evener-tools, for the gRPC C core
# libevener-grpc1 and libevener-grpc-dev, for calls with types libevener-protobuf-c1 and libevener-protobuf-c-dev, and for
# services in etcd libevener-etcd1 and libevener-etcd-dev.
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
if(EVENER_BUILD_GRPC)
    list(APPEND CPACK_COMPONENTS_ALL grpc_runtime grpc_development)
endif()
if(EVENER_BUILD_PROTOBUF_C)
    list(APPEND CPACK_COMPONENTS_ALL protobuf_c_runtime protobuf_c_development)
endif()
if(EVENER_BUILD_ETCD)
    list(APPEND CPACK_COMPONENTS_ALL etcd_runtime etcd_development)
endif()
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
# evener_debian_library(FOLDER LIBRARY HEADER...): write shlibs and symbols of lib<LIBRARY> to FOLDER, the symbols as the
# headers declare them.
function(evener_debian_library folder library)
    set(package lib${library}${evener_abi})
    file(WRITE ${folder}/shlibs "lib${library} ${evener_abi} ${package} (>= ${PROJECT_VERSION})\n")
    set(symbols "")
    foreach(header ${ARGN})
        file(READ ${header} text)
        string(REGEX MATCHALL "EVENER_(API|SIBLING) [^;{]*[ *\n]evener_[a-z0-9_]+[ \n]*[(;[]" declarations "${text}")
        foreach(declaration ${declarations})
            string(REGEX REPLACE "\\(.*" "(" declaration "${declaration}")
            string(REGEX MATCH "(evener_[a-z0-9_]+)[ \n]*[(;[]?$" ignored "${declaration}")
            list(APPEND symbols ${CMAKE_MATCH_1})
        endforeach()
    endforeach()
    list(SORT symbols)
    list(REMOVE_DUPLICATES symbols)
    list(TRANSFORM symbols REPLACE "(.+)" " \\1@Base ${PROJECT_VERSION}")
    list(JOIN symbols "\n" symbols)
    file(WRITE ${folder}/symbols "lib${library}.so.${evener_abi} ${package} #MINVER#\n${symbols}\n")
endfunction()

set(evener_headers ${CMAKE_CURRENT_SOURCE_DIR}/include/evener)
file(GLOB evener_library_headers CONFIGURE_DEPENDS ${evener_headers}/*.h ${CMAKE_CURRENT_SOURCE_DIR}/lb/*/*.h)
# The public headers of libevener-protobuf-c; tests/check_symbols.sh has the same list.
set(evener_protobuf_c_headers descriptors.h http_routes.h json.h protobuf_c.h reflection.h)
list(TRANSFORM evener_protobuf_c_headers PREPEND ${evener_headers}/)
list(REMOVE_ITEM evener_library_headers ${evener_headers}/grpc.h ${evener_headers}/etcd.h
    ${evener_protobuf_c_headers})
evener_debian_library(${evener_debian} evener ${evener_library_headers})
evener_debian_library(${evener_debian}/grpc evener-grpc ${evener_headers}/grpc.h)
evener_debian_library(${evener_debian}/protobuf_c evener-protobuf-c ${evener_protobuf_c_headers})
evener_debian_library(${evener_debian}/etcd evener-etcd ${evener_headers}/etcd.h)
if(EVENER_GZIP)
    execute_process(COMMAND ${EVENER_GZIP} -9nf ${evener_debian}/changelog)
    foreach(component_package runtime:libevener${evener_abi} development:libevener-dev tools:evener-tools
            grpc_runtime:libevener-grpc${evener_abi} grpc_development:libevener-grpc-dev
            protobuf_c_runtime:libevener-protobuf-c${evener_abi} protobuf_c_development:libevener-protobuf-c-dev
            etcd_runtime:libevener-etcd${evener_abi} etcd_development:libevener-etcd-dev)
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
# OpenSSL is loaded and not linked (lb/base/openssl.h), so it is named here; Debian 13 calls it libssl3t64.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "libnghttp2-14 (>= 1.52.0-1+deb12u2), libssl3 | libssl3t64")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${evener_debian}/triggers ${evener_debian}/shlibs ${evener_debian}/symbols)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "The shared library. It finds the backends behind a name, keeps connections to
them and chooses one for every call, over HTTP/2 connections of its own. With
libevener-grpc, calls can also go over the gRPC C core.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libevener-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
# The static library needs the development files of its dependencies, the private requirements of evener.pc.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION}), libc-ares-dev, \
libconfig-dev, libuv1-dev, liburcu-dev, libjansson-dev, libnghttp2-dev, zlib1g-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Headers, the static library, and the files with which
pkg-config and CMake's find_package() find them.")

# The libraries share inner functions, which change with any version.
set(CPACK_DEBIAN_GRPC_RUNTIME_PACKAGE_NAME libevener-grpc${evener_abi})
set(CPACK_DEBIAN_GRPC_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_GRPC_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_GRPC_RUNTIME_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_GRPC_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${evener_debian}/triggers ${evener_debian}/grpc/shlibs ${evener_debian}/grpc/symbols)
set(CPACK_COMPONENT_GRPC_RUNTIME_DESCRIPTION "The transport of evener over the gRPC C core. It is
the default of programs that link it; others load it when they ask for the
transport by name.")

set(CPACK_DEBIAN_GRPC_DEVELOPMENT_PACKAGE_NAME libevener-grpc-dev)
set(CPACK_DEBIAN_GRPC_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_GRPC_DEVELOPMENT_PACKAGE_DEPENDS "libevener-grpc${evener_abi} (= ${PROJECT_VERSION}), \
libevener-dev (= ${PROJECT_VERSION}), libgrpc-dev")
set(CPACK_COMPONENT_GRPC_DEVELOPMENT_DESCRIPTION "The static library libevener-grpc, and the files with
which pkg-config and CMake's find_package() find both forms of it. The header
is in libevener-dev.")

set(CPACK_DEBIAN_PROTOBUF_C_RUNTIME_PACKAGE_NAME libevener-protobuf-c${evener_abi})
set(CPACK_DEBIAN_PROTOBUF_C_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PROTOBUF_C_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PROTOBUF_C_RUNTIME_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PROTOBUF_C_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${evener_debian}/triggers ${evener_debian}/protobuf_c/shlibs ${evener_debian}/protobuf_c/symbols)
set(CPACK_COMPONENT_PROTOBUF_C_RUNTIME_DESCRIPTION "Calls with types over evener: descriptors of
messages and services at run time, their JSON form, server reflection, and
services of protobuf-c.")

set(CPACK_DEBIAN_PROTOBUF_C_DEVELOPMENT_PACKAGE_NAME libevener-protobuf-c-dev)
set(CPACK_DEBIAN_PROTOBUF_C_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PROTOBUF_C_DEVELOPMENT_PACKAGE_DEPENDS "libevener-protobuf-c${evener_abi} (= ${PROJECT_VERSION}), \
libevener-dev (= ${PROJECT_VERSION}), libprotobuf-c-dev")
set(CPACK_DEBIAN_PROTOBUF_C_DEVELOPMENT_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PROTOBUF_C_DEVELOPMENT_PACKAGE_RECOMMENDS "protobuf-c-compiler, protobuf-compiler, libprotobuf-dev")
set(CPACK_COMPONENT_PROTOBUF_C_DEVELOPMENT_DESCRIPTION "The static library libevener-protobuf-c, the files
with which pkg-config and CMake's find_package() find both forms of it, and
protoc's plugin protoc-gen-evener, which writes typed calls. The headers are
in libevener-dev.")

set(CPACK_DEBIAN_ETCD_RUNTIME_PACKAGE_NAME libevener-etcd${evener_abi})
set(CPACK_DEBIAN_ETCD_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_ETCD_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_ETCD_RUNTIME_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_ETCD_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${evener_debian}/triggers ${evener_debian}/etcd/shlibs ${evener_debian}/etcd/symbols)
set(CPACK_COMPONENT_ETCD_RUNTIME_DESCRIPTION "Services in etcd for evener: a resolver that follows
them with a watch, and registration of servers with a lease.")

set(CPACK_DEBIAN_ETCD_DEVELOPMENT_PACKAGE_NAME libevener-etcd-dev)
set(CPACK_DEBIAN_ETCD_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_ETCD_DEVELOPMENT_PACKAGE_DEPENDS "libevener-etcd${evener_abi} (= ${PROJECT_VERSION}), \
libevener-dev (= ${PROJECT_VERSION})")
set(CPACK_COMPONENT_ETCD_DEVELOPMENT_DESCRIPTION "The static library libevener-etcd, and the files with
which pkg-config and CMake's find_package() find both forms of it. The header
is in libevener-dev.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME evener-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libevener${evener_abi} (= ${PROJECT_VERSION}), \
libevener-protobuf-c${evener_abi} (= ${PROJECT_VERSION})")
if(EVENER_BUILD_GRPC)
    string(APPEND CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS ", libevener-grpc${evener_abi} (= ${PROJECT_VERSION})")
endif()
if(EVENER_BUILD_ETCD)
    string(APPEND CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS ", libevener-etcd${evener_abi} (= ${PROJECT_VERSION})")
endif()
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR})
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "The program evener: it resolves names, checks configurations, makes calls and
sends load through libevener, to see what it would do for a service.")

include(CPack)
