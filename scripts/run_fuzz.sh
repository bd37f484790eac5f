#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run_fuzz.sh BUILD SECONDS - each fuzz target for so long, from its committed corpus
# tests/fuzz/corpus/<target>. What it finds anew stays in BUILD; a crash leaves its
# input there too and fails the run.
set -eu
build=$1
seconds=$2
cd "$(dirname "$0")/.."

n_run=0
for target in "$build"/tests/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=$(basename "$target")
    mkdir -p "$build/corpus/$name" "tests/fuzz/corpus/$name"
    echo "fuzz: $name for $seconds s"
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -verbosity=0 \
        -artifact_prefix="$build/crash-$name-" \
        "$build/corpus/$name" "tests/fuzz/corpus/$name" </dev/null
    n_run=$((n_run + 1))
done
echo "fuzz: $n_run targets ran, none failed"
[ "$n_run" -gt 0 ]
