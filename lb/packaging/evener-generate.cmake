# evener_generate(TARGET PROTOS FILE... [IMPORT_DIRS FOLDER...] [OUTPUT_DIR FOLDER] [MESSAGES TARGET]): generate C from .proto
# files and add it to a target, which is to be linked with evener::evener_protobuf_c or evener::evener_protobuf_c_static.
#
#     find_package(evener REQUIRED COMPONENTS protobuf-c)
#     add_executable(client client.c)
#     evener_generate(client PROTOS orders/orders.proto orders/item.proto IMPORT_DIRS proto)
#     target_link_libraries(client PRIVATE evener::evener_protobuf_c)
#
# Each FILE, relative to one of IMPORT_DIRS (default: the current source folder), gives FILE.pb-c.[ch] by protoc-c (messages)
# and FILE.evener.[ch] by protoc-gen-evener (calls). They are included as "orders/orders.evener.h". Name the imported files
# too, unless their code comes from elsewhere. MESSAGES: the target that gets the messages' code instead.
function(evener_generate target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "OUTPUT_DIR;MESSAGES" "PROTOS;IMPORT_DIRS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_PROTOS)
        message(FATAL_ERROR "evener_generate(${target}): PROTOS FILE... is needed; not known: "
            "\"${arg_UNPARSED_ARGUMENTS}\"")
    endif()
    find_program(EVENER_PROTOC_C NAMES protoc-c)
    find_program(EVENER_PROTOC NAMES protoc)
    if(NOT EVENER_PROTOC_C OR NOT EVENER_PROTOC)
        message(FATAL_ERROR "evener_generate(${target}) needs protoc-c and protoc.\n"
            "On Debian: apt-get install protobuf-c-compiler protobuf-compiler")
    endif()
    if(NOT arg_IMPORT_DIRS)
        set(arg_IMPORT_DIRS ${CMAKE_CURRENT_SOURCE_DIR})
    endif()
    if(NOT arg_OUTPUT_DIR)
        set(arg_OUTPUT_DIR ${CMAKE_CURRENT_BINARY_DIR}/${target}_generated)
    endif()
    if(NOT arg_MESSAGES)
        set(arg_MESSAGES ${target})
    endif()
    set(folders "")
    foreach(folder ${arg_IMPORT_DIRS})
        get_filename_component(folder ${folder} ABSOLUTE)
        list(APPEND folders ${folder})
    endforeach()
    list(TRANSFORM folders PREPEND --proto_path= OUTPUT_VARIABLE proto_paths)
    list(GET folders 0 first_folder)
    set(inputs "")
    foreach(proto ${arg_PROTOS})
        set(input ${first_folder}/${proto}) # possibly generated, too
        foreach(folder ${folders})
            if(EXISTS ${folder}/${proto})
                set(input ${folder}/${proto})
                break()
            endif()
        endforeach()
        list(APPEND inputs ${input})
    endforeach()
    foreach(proto ${arg_PROTOS})
        string(REGEX REPLACE "\\.proto$" "" stem ${arg_OUTPUT_DIR}/${proto})
        # protoc creates the folders below an existing one.
        add_custom_command(OUTPUT ${stem}.pb-c.c ${stem}.pb-c.h ${stem}.evener.c ${stem}.evener.h
            COMMAND ${CMAKE_COMMAND} -E make_directory ${arg_OUTPUT_DIR}
            COMMAND ${EVENER_PROTOC_C} ${proto_paths} --c_out=${arg_OUTPUT_DIR} ${proto}
            COMMAND ${EVENER_PROTOC} --plugin=protoc-gen-evener=$<TARGET_FILE:evener::protoc-gen-evener> ${proto_paths}
                --evener_out=${arg_OUTPUT_DIR} ${proto}
            DEPENDS ${inputs} evener::protoc-gen-evener VERBATIM)
        # Not compiled with the target's warnings: the code of messages is protobuf-c's.
        set_source_files_properties(${stem}.pb-c.c TARGET_DIRECTORY ${arg_MESSAGES} PROPERTIES COMPILE_OPTIONS -w)
        target_sources(${arg_MESSAGES} PRIVATE ${stem}.pb-c.c)
        target_sources(${target} PRIVATE ${stem}.evener.c)
    endforeach()
    target_include_directories(${arg_MESSAGES} SYSTEM PUBLIC ${arg_OUTPUT_DIR})
    if(NOT arg_MESSAGES STREQUAL target)
        target_include_directories(${target} SYSTEM PUBLIC ${arg_OUTPUT_DIR})
        add_dependencies(${target} ${arg_MESSAGES})
    endif()
endfunction()
