# What a build needs of the system. What is missing is collected, so that one message names all of it:
#
#     evener_find_packages("The library" CARES "libcares >= 1.18" libc-ares-dev)
#     evener_find_needed_program("EVENER_BUILD_PLUGIN" EVENER_PROTOC_C protoc-c protobuf-c-compiler)
#     evener_check_found()

# Record that WHAT lacks NAMES (one text), which these Debian packages have.
function(evener_is_missing what names)
    set_property(GLOBAL APPEND PROPERTY evener_missing "${what} needs ${names}")
    set_property(GLOBAL APPEND PROPERTY evener_missing_packages ${ARGN})
endfunction()

# evener_find_packages(WHAT [VARIABLE MODULE DEBIAN_PACKAGE]...): find the pkg-config modules that WHAT needs as
# imported targets PkgConfig::VARIABLE.
function(evener_find_packages what)
    set(missing "")
    set(missing_modules "")
    while(ARGN)
        list(POP_FRONT ARGN variable module package)
        pkg_check_modules(${variable} QUIET IMPORTED_TARGET GLOBAL "${module}")
        if(NOT ${variable}_FOUND)
            list(APPEND missing ${package})
            list(APPEND missing_modules "${module}")
        endif()
    endwhile()
    if(missing)
        list(JOIN missing_modules ", " missing_modules)
        evener_is_missing("${what}" "${missing_modules}" ${missing})
    endif()
endfunction()

# Find a program that WHAT needs, and store its path in the cache variable.
function(evener_find_needed_program what variable program package)
    find_program(${variable} NAMES ${program})
    if(NOT ${variable})
        evener_is_missing("${what}" ${program} ${package})
    endif()
endfunction()

# If anything is missing, stop with a message that names all of it.
function(evener_check_found)
    get_property(missing GLOBAL PROPERTY evener_missing)
    get_property(packages GLOBAL PROPERTY evener_missing_packages)
    if(missing)
        list(JOIN missing ".\n" missing)
        list(JOIN packages " " packages)
        message(FATAL_ERROR "Packages are missing or too old.\n${missing}.\nOn Debian: apt-get install ${packages}")
    endif()
endfunction()
