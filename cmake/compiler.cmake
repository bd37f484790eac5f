# Flags for every target. -ffp-contract=off is not a matter of taste: the bits of
# every answer depend on no multiplication and addition being fused unasked
# (docs/numerics.md).
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
                    -Wmissing-prototypes -ffp-contract=off -fno-math-errno
                    -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_compile_definitions(_GNU_SOURCE)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    add_compile_options(-Wthread-safety)
endif()

set(BITNET_SANITIZE "" CACHE STRING "value for -fsanitize=, such as thread")
if(BITNET_SANITIZE)
    add_compile_options(-fsanitize=${BITNET_SANITIZE} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${BITNET_SANITIZE})
endif()

option(BITNET_COVERAGE "instrument for gcov" OFF)
if(BITNET_COVERAGE)
    add_compile_options(--coverage -fprofile-update=atomic) # threads count too
    add_link_options(--coverage)
endif()

option(BITNET_PERTURB "disturb schedules, for tests: src/threads/perturb.h" OFF)
if(BITNET_PERTURB)
    add_compile_definitions(BNI_PERTURB=1)
endif()

# Tests ask for assertions in every build type.
add_compile_definitions($<$<CONFIG:Debug>:BNI_DEBUG=1>)
