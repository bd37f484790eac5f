#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run_perturb.sh BUILD SEEDS - the stress tests of the threads under SEEDS schedules.
#
# BUILD was configured with BITNET_PERTURB. Each seed takes about three seconds; two
# seeds run at once. A failing test prints its seed, with which it can be run again.
set -eu
build=$1
n_seeds=$2

# shellcheck disable=SC2016  # the inner shell expands them
seq 1 "$n_seeds" | xargs -P 2 -I SEED sh -c '
    for test in test_thread_stress test_team_stress; do
        if ! output=$("$0/tests/$test" SEED 1 2>&1); then
            echo "$test with seed SEED failed:" >&2
            printf "%s\n" "$output" >&2
            exit 1
        fi
    done' "$build"
echo "perturb: $n_seeds seeds passed"
