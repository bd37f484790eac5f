/* SPDX-License-Identifier: MIT */
/*
 * limits.h - for benchmarks: what this machine does at most, and how close work comes.
 *
 * Work reads bytes and does arithmetic. However well a program overlaps the two, it
 * takes at least as long as the slower of them alone would; that is its limit, and
 * drawn over the arithmetic for each byte it is the roof of a roofline.
 */
#ifndef BENCH_COMMON_LIMITS_H
#define BENCH_COMMON_LIMITS_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

enum { BENCH_N_TEAMS = 2 }; /* of one thread, and of as many as compute */

/* A rate with each number of threads: GB/s read, or 10^9 multiply-adds per second. */
struct bench_peak {
    const char *name; /* NULL: not known here */
    double g_per_s[BENCH_N_TEAMS];
};

struct bench_limits {
    unsigned n_threads[BENCH_N_TEAMS];
    struct bench_peak memory;  /* reading what no cache holds */
    struct bench_peak cache;   /* reading what the first-level cache holds */
    struct bench_peak integer; /* bytes times bytes, summed in 32 bits */
    struct bench_peak narrow;  /* the same, summed in 16 bits */
    struct bench_peak fused;   /* floats */
};

/* The limits that bind most, measured beside some work with one number of threads; 0:
 * not measured. */
struct bench_sample {
    double memory_gb_s;
    double integer_g_per_s;
};

/* The limits as they were beside the work: what a shared machine can do changes from
 * one second to the next, and a share tells more than the neighbours' load if both of
 * its parts are of the same second. */
struct bench_limits bench_limits_beside(const struct bench_limits *limits, size_t team,
                                        const struct bench_sample *sample);

/* What some work takes at least, whoever does it. */
struct bench_work {
    double memory_bytes; /* read from memory */
    double cache_bytes;  /* read from the first-level cache */
    double n_integer;    /* multiply-adds of bytes */
    double n_float;      /* of floats; other arithmetic on floats counts the same */
};

/*
 * The seconds that the limits with `team` leave it, and the name of the one that binds.
 * Integers and floats are done by the same units, one after the other. 0 seconds and
 * NULL if the binding limit is not known.
 */
double bench_least_s(const struct bench_limits *limits, size_t team,
                     const struct bench_work *work, const char **name);

void bench_write_limits(FILE *file, const struct bench_limits *limits);
json_t *bench_limits_to_json(const struct bench_limits *limits);

#endif
