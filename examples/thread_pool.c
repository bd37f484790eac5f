/* SPDX-License-Identifier: MIT */
/*
 * thread_pool.c - jobs of your own on a bounded pool, and how their results come back.
 *
 *     thread_pool
 *
 * Eight jobs count primes, each in its own range, so they share nothing and need no
 * lock. A ninth fails on purpose: its sentence reaches the thread that waits for it.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <bitnet.h>

enum { N_JOBS = 8, NUMBERS_PER_JOB = 10000, PRIMES_BELOW_80000 = 7837 };

struct range {
    uint32_t begin;
    uint32_t end;
    uint32_t n_primes; /* written by the job, read after waiting for it */
};

static bool is_prime(uint32_t number)
{
    for (uint32_t divisor = 2; divisor * divisor <= number; divisor++) {
        if (number % divisor == 0) return false;
    }
    return number >= 2;
}

static bitnet_status count_primes(void *arg)
{
    struct range *range = arg;
    for (uint32_t number = range->begin; number < range->end; number++) {
        if (bitnet_job_should_stop()) return BITNET_ERROR_CANCELLED;
        range->n_primes += is_prime(number);
    }
    return BITNET_OK;
}

static bitnet_status fail_on_purpose(void *arg)
{
    (void)arg;
    return bitnet_job_fail(BITNET_ERROR_UNSUPPORTED_OPERATION,
                           "0 has no prime factors");
}

/* Returns the number of primes found, or 0 if anything went wrong. */
static uint32_t count_in_parallel(bitnet_thread_pool *pool)
{
    struct range ranges[N_JOBS];
    bitnet_job *jobs[N_JOBS] = {0};
    uint32_t n_primes = 0;
    bool is_good = true;

    for (uint32_t i = 0; i < N_JOBS; i++) {
        ranges[i] = (struct range){i * NUMBERS_PER_JOB, (i + 1) * NUMBERS_PER_JOB, 0};
        /* Waits while the queue is full: that is the bound, and the backpressure. */
        if (bitnet_thread_pool_submit(pool, count_primes, &ranges[i], NULL, &jobs[i]) !=
            BITNET_OK) {
            fprintf(stderr, "job %" PRIu32 ": %s\n", i, bitnet_last_error());
            is_good = false;
            break;
        }
    }
    for (int i = 0; i < N_JOBS && jobs[i] != NULL; i++) {
        if (bitnet_job_wait(jobs[i]) != BITNET_OK) is_good = false;
        bitnet_job_release(jobs[i]);
        n_primes += ranges[i].n_primes;
    }
    return is_good ? n_primes : 0;
}

/* Returns whether the failing job's status and sentence arrived here. */
static bool failure_is_told(bitnet_thread_pool *pool)
{
    bitnet_job *job = NULL;
    if (bitnet_thread_pool_submit(pool, fail_on_purpose, NULL, NULL, &job) != BITNET_OK)
        return false;
    const bitnet_status status = bitnet_job_wait(job);
    printf("a job failed: %s: %s\n", bitnet_status_name(status), bitnet_last_error());
    bitnet_job_release(job);
    return status == BITNET_ERROR_UNSUPPORTED_OPERATION &&
           strcmp(bitnet_last_error(), "0 has no prime factors") == 0;
}

int main(void)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 4;
    options.max_queue_size = 4; /* fewer than the jobs */
    bitnet_thread_pool *pool = NULL;
    if (bitnet_thread_pool_create(&options, &pool) != BITNET_OK) {
        fprintf(stderr, "thread_pool: %s\n", bitnet_last_error());
        return 1;
    }
    const uint32_t n_primes = count_in_parallel(pool);
    printf("%" PRIu32 " primes below %d\n", n_primes, N_JOBS * NUMBERS_PER_JOB);
    const bool is_told = failure_is_told(pool);
    bitnet_thread_pool_destroy(pool);
    return n_primes == PRIMES_BELOW_80000 && is_told ? 0 : 1;
}
