# Flags and helpers that every folder uses. One internal static library a folder: mg_<folder>.
find_package(PkgConfig REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
pkg_check_modules(MHD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(PROTOBUFC REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
# libgrpc's module lists every library that it links itself; a C program needs these two.
add_library(mg_grpc INTERFACE)
target_link_libraries(mg_grpc INTERFACE grpc gpr)

set(MG_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wswitch-enum -Wundef -Wformat=2 -Wvla -Wcast-qual -Wwrite-strings -Wpointer-arith
    -Wimplicit-fallthrough)
# gcc's warnings are errors; clang, which only makes the fuzz targets, sees some things otherwise.
if(CMAKE_C_COMPILER_ID STREQUAL GNU)
  list(APPEND MG_WARNINGS -Werror)
endif()

# mg_flags(target): warnings and hardening of our own code (generated code goes without).
function(mg_flags target)
  target_compile_options(${target} PRIVATE ${MG_WARNINGS} -fstack-protector-strong)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${target} PRIVATE MESHGATE_VERSION="${PROJECT_VERSION}")
endfunction()

# mg_library(mg_x LIBS a b SOURCES x.c y.c)
function(mg_library name)
  cmake_parse_arguments(L "" "" "LIBS;SOURCES" ${ARGN})
  add_library(${name} STATIC ${L_SOURCES})
  mg_flags(${name})
  target_link_libraries(${name} PUBLIC ${L_LIBS})
endfunction()

function(mg_program name)
  cmake_parse_arguments(L "" "" "LIBS;SOURCES" ${ARGN})
  add_executable(${name} ${L_SOURCES})
  mg_flags(${name})
  target_link_libraries(${name} PRIVATE ${L_LIBS})
endfunction()

# mg_test(name LIBS mg_x): tests/unit/test_<name>.c as ctest unit.<name>, with cmocka.
function(mg_test name)
  cmake_parse_arguments(L "" "" "LIBS;SOURCES" ${ARGN})
  add_executable(test_${name} test_${name}.c ${L_SOURCES})
  mg_flags(test_${name})
  target_compile_definitions(test_${name} PRIVATE TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data")
  target_link_libraries(test_${name} PRIVATE ${L_LIBS} cmocka)
  add_test(NAME unit.${name} COMMAND test_${name})
  set_tests_properties(unit.${name} PROPERTIES TIMEOUT 120)
endfunction()
