# evener_find_packages(WHAT [VARIABLE MODULE DEBIAN_PACKAGE]...): find pkg-config modules as imported targets
# PkgConfig::VARIABLE. If any is missing, stop with one message that names all missing packages. WHAT begins the
# message.
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
        list(JOIN missing " " missing)
        list(JOIN missing_modules ", " missing_modules)
        message(FATAL_ERROR "${what} needs packages that are missing or too old: ${missing_modules}.\n"
            "On Debian: apt-get install ${missing}")
    endif()
endfunction()
