#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run_valgrind.sh BUILD - the thread pool's tests under helgrind, without suppressions.
#
# Helgrind follows pthreads and not atomics, so the compute team, which spins on
# atomics before it sleeps, is left to ThreadSanitizer. Valgrind runs one thread at a
# time; without --fair-sched one that looks again and again can keep the others out.
# On one CPU the pool's idle workers do not stay awake, looking at an atomic, either.
set -eu
build=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

first_cpu=$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//')

n_passed=0
n_failed=0
for test in "$build"/tests/test_thread_[!s]* "$build"/tests/test_thread_safe* \
    "$build"/tests/test_threading* "$build"/tests/test_cleanup* \
    "$build"/tests/test_error_state* "$build"/tests/test_queue \
    "$build"/tests/test_submit* "$build"/tests/test_short_jobs; do
    if timeout 300 taskset -c "$first_cpu" valgrind --tool=helgrind --fair-sched=yes --error-exitcode=9 --quiet \
            "$test" >"$log" 2>&1; then
        n_passed=$((n_passed + 1))
    else
        n_failed=$((n_failed + 1))
        echo "helgrind: $(basename "$test") failed:" >&2
        cat "$log" >&2
    fi
done
echo "valgrind: $n_passed passed, $n_failed failed"
[ "$n_failed" -eq 0 ]
