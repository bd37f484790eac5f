/* SPDX-License-Identifier: MIT */
/*
 * sanitizers.h - for tests: what to tell the sanitizers, which look for functions of
 * the program by name. One call of each macro in a test program, at file scope.
 */
#ifndef TESTS_SUPPORT_SANITIZERS_H
#define TESTS_SUPPORT_SANITIZERS_H

/* Their libraries find it only if it is exported. */
#define SANITIZER_HOOK __attribute__((visibility("default"), used))

#define TSAN_OPTIONS_ARE(options) \
    SANITIZER_HOOK const char *__tsan_default_options(void); \
    const char *__tsan_default_options(void) \
    { \
        return options; \
    } \
    _Static_assert(1, "takes the semicolon")

/* Leaks are not looked for at exit while `condition` holds. */
#define LEAKS_ARE_FINE_IF(condition) \
    SANITIZER_HOOK int __lsan_is_turned_off(void); \
    int __lsan_is_turned_off(void) \
    { \
        return condition; \
    } \
    _Static_assert(1, "takes the semicolon")

#endif
