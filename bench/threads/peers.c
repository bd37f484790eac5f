/* SPDX-License-Identifier: MIT */
/*
 * peers.c - who takes part. The build defines BENCH_HAS_* for what it found.
 */
#include "peer.h"

const struct bench_peer bench_peers[] = {
    {
        .name = "libbitnet",
        .is_ours = true,
        .is_bounded = true,
        .queue = &bench_queue_bitnet,
        .team = &bench_team_bitnet,
    },
    {.name = "mutex ring", .is_bounded = true, .queue = &bench_queue_ring},
    {.name = "bounded channel", .is_bounded = true, .queue = &bench_queue_channel},
#ifdef BENCH_HAS_LIBUV
    {.name = "libuv", .queue = &bench_queue_libuv},
#endif
#ifdef BENCH_HAS_GLIB
    {.name = "GLib shared", .queue = &bench_queue_glib_shared},
    {.name = "GLib exclusive", .queue = &bench_queue_glib_exclusive},
#endif
#ifdef BENCH_HAS_TBB
    {.name = "oneTBB", .queue = &bench_queue_tbb, .team = &bench_team_tbb},
#endif
#ifdef BENCH_HAS_OPENMP
    {.name = "OpenMP", .team = &bench_team_openmp},
    {
        .name = "OpenMP passive",
        .environment = "OMP_WAIT_POLICY=passive",
        .team = &bench_team_openmp,
    },
#endif
};

const size_t bench_n_peers = sizeof(bench_peers) / sizeof(bench_peers[0]);
