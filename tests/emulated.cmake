# emulated.cmake - the tests that run in an emulator of another CPU (cmake/arm64.cmake).
#
# It is there for what depends on the CPU: instructions, conversions, the floating-point
# mode, signedness and sizes of types. Not for the order of memory accesses, which stays
# that of the machine below: that is ThreadSanitizer's and the Spin model's to judge. It
# is ten to thirty times slower, so tests do less of the same in it (support/models.h),
# and of those that need an engine or the whole library only these are run. The others
# are built all the same, are labelled "long", and run by
#
#     ctest --test-dir build/arm64 --label-regex long
set(run_although_long
    test_golden test_forward test_generate # the arithmetic, the host's floating-point mode
    test_rope test_sampler test_not_finite # more of it
    test_kv_cache test_memory_bound test_stop test_request_events test_unload
    test_fuzz_grammar_corpus test_fuzz_json_schema_corpus)

# qemu cannot fork a process with threads, and a program in it cannot start itself again
# unless the system knows its format.
set(impossible test_exit test_fork test_fork_busy)

get_property(tests DIRECTORY PROPERTY TESTS)
foreach(test ${tests})
    get_test_property(${test} LABELS label)
    if(test IN_LIST impossible)
        set_tests_properties(${test} PROPERTIES DISABLED TRUE)
    elseif(label MATCHES "^(engine|system)$" AND NOT test IN_LIST run_although_long)
        set_tests_properties(${test} PROPERTIES LABELS "${label};long")
    endif()
endforeach()

# The program, as a user runs it: tests/cli starts it from Python, and does not here.
set(run_program run --verify --threads 2 --max-tokens 16 --file
    ${PROJECT_SOURCE_DIR}/models/prompts.txt)
add_test(NAME emulated_program COMMAND bitnet_cli ${run_program})

# Which kernels are chosen, and that the plain ones keep to the first version of the
# architecture: once more on a CPU without dot products.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    add_test(NAME emulated_choice COMMAND test_select dotprod)
    set(old_cpu qemu-aarch64 -cpu cortex-a53)
    add_test(NAME cortex_a53_choice COMMAND ${old_cpu} $<TARGET_FILE:test_select> neon)
    foreach(test test_cpu test_matmul_agreement test_vector_agreement)
        add_test(NAME cortex_a53_${test} COMMAND ${old_cpu} $<TARGET_FILE:${test}>)
    endforeach()
    add_test(NAME cortex_a53_program COMMAND ${old_cpu} $<TARGET_FILE:bitnet_cli>
             ${run_program})
endif()
