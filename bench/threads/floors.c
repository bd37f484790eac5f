/* SPDX-License-Identifier: MIT */
/*
 * floors.c - what this machine charges for the steps that pools are made of.
 *
 * No pool hands a job to a sleeping thread in less than a wake-up, nor a result back in
 * less than half the way of a cache line there and back. The two threads of such a
 * measurement are pinned to two CPUs; where this process may use one only, what needs
 * two is left out.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "measure.h"
#include "peer.h"
#include "workload.h"

enum { MS = 1000000 };

static void pin_to(size_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* The first two CPUs of this process; false if there is one only. */
static bool find_two_cpus(size_t cpus[2])
{
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) return false;
    for (size_t cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
        if (CPU_ISSET(cpu, &set)) cpus[n++] = cpu;
    }
    return n == 2;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static void start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    if (pthread_create(thread, NULL, fn, arg) != 0)
        bench_give_up("the system has no thread to give");
}

/* Steps of one thread alone. */
static void measure_alone(int n_steps)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static atomic_int counter;

    uint64_t begin_ns = bench_now_ns();
    for (int i = 0; i < n_steps; i++) (void)bench_now_ns();
    bench_report("clock_ns", (double)(bench_now_ns() - begin_ns) / n_steps);

    begin_ns = bench_now_ns();
    for (int i = 0; i < n_steps; i++) {
        pthread_mutex_lock(&lock);
        pthread_mutex_unlock(&lock);
    }
    bench_report("mutex_ns", (double)(bench_now_ns() - begin_ns) / n_steps);

    begin_ns = bench_now_ns();
    for (int i = 0; i < n_steps; i++) atomic_fetch_add(&counter, 1);
    bench_report("fetch_add_ns", (double)(bench_now_ns() - begin_ns) / n_steps);
}

/* What the two threads of a measurement share; each word on a line of its own. */
static struct {
    _Alignas(64) atomic_int ping;
    _Alignas(64) atomic_int pong;
    _Alignas(64) _Atomic uint64_t woken_ns;
    size_t other_cpu; /* this and the next: fixed before the other thread starts */
    int n_rounds;
    int event_fd;
    int epoll_fd;
} shared;

static void await(atomic_int *word, int value)
{
    while (atomic_load_explicit(word, memory_order_acquire) != value) continue;
}

static void *answer_pings(void *arg)
{
    pin_to(shared.other_cpu);
    for (int i = 1; i <= shared.n_rounds; i++) {
        await(&shared.ping, i);
        atomic_store_explicit(&shared.pong, i, memory_order_release);
    }
    return arg;
}

static void measure_ping_pong(int n_rounds)
{
    pthread_t thread;
    shared.n_rounds = n_rounds;
    atomic_store(&shared.ping, 0);
    atomic_store(&shared.pong, 0);
    start(&thread, answer_pings, NULL);
    uint64_t begin_ns = 0;
    for (int i = 1; i <= n_rounds; i++) {
        atomic_store_explicit(&shared.ping, i, memory_order_release);
        await(&shared.pong, i);
        if (i == 1) begin_ns = bench_now_ns(); /* the thread has come */
    }
    const double elapsed_ns = (double)(bench_now_ns() - begin_ns);
    pthread_join(thread, NULL);
    bench_report("cache_line_ns", elapsed_ns / (n_rounds - 1));
}

static void *sleep_on_futex(void *arg)
{
    pin_to(shared.other_cpu);
    for (int i = 1; i <= shared.n_rounds; i++) {
        while (atomic_load(&shared.ping) < i) bench_futex_wait(&shared.ping, i - 1);
        atomic_store(&shared.woken_ns, bench_now_ns());
        atomic_store(&shared.pong, i);
    }
    return arg;
}

static void *sleep_on_epoll(void *arg)
{
    pin_to(shared.other_cpu);
    for (int i = 1; i <= shared.n_rounds; i++) {
        struct epoll_event event;
        uint64_t n_events;
        while (epoll_wait(shared.epoll_fd, &event, 1, -1) != 1) continue;
        atomic_store(&shared.woken_ns, bench_now_ns());
        if (read(shared.event_fd, &n_events, sizeof(n_events)) != sizeof(n_events))
            bench_give_up("cannot read an eventfd");
        atomic_store(&shared.pong, i);
    }
    return arg;
}

static void wake_by_futex(int round)
{
    atomic_store(&shared.ping, round);
    bench_futex_wake(&shared.ping);
}

static void wake_by_eventfd(int round)
{
    const uint64_t one = 1;
    (void)round;
    if (write(shared.event_fd, &one, sizeof(one)) != sizeof(one))
        bench_give_up("cannot write an eventfd");
}

/* The median time from before the wake-up until the sleeper runs. */
static void measure_wake(const char *name, void *(*sleeper)(void *), void (*wake)(int),
                         size_t n_rounds, uint64_t settle_ns)
{
    pthread_t thread;
    struct bench_samples samples;
    shared.n_rounds = (int)n_rounds;
    atomic_store(&shared.ping, 0);
    atomic_store(&shared.pong, 0);
    start(&thread, sleeper, NULL);
    bench_samples_begin(&samples, n_rounds, UINT_MAX);
    for (int round = 1; round <= (int)n_rounds; round++) {
        /* Time for the other thread to fall asleep; then for its CPU too. */
        if (settle_ns >= MS) {
            bench_sleep_ns(settle_ns);
        } else {
            bench_spin_ns(settle_ns);
        }
        const uint64_t begin_ns = bench_now_ns();
        wake(round);
        await(&shared.pong, round);
        const uint64_t woken_ns = atomic_load(&shared.woken_ns);
        bench_samples_add(&samples, woken_ns > begin_ns ? woken_ns - begin_ns : 0);
    }
    pthread_join(thread, NULL);
    bench_report(name, bench_samples_median_us(&samples));
}

static void measure_eventfd(size_t n_rounds)
{
    struct epoll_event event = {.events = EPOLLIN};
    shared.event_fd = eventfd(0, EFD_CLOEXEC);
    shared.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (shared.event_fd < 0 || shared.epoll_fd < 0 ||
        epoll_ctl(shared.epoll_fd, EPOLL_CTL_ADD, shared.event_fd, &event) != 0)
        bench_give_up("no eventfd or epoll to be had");
    measure_wake("eventfd_epoll_us", sleep_on_epoll, wake_by_eventfd, n_rounds, 10000);
    close(shared.epoll_fd);
    close(shared.event_fd);
}

static void measure_thread_creation(size_t n_rounds)
{
    struct bench_samples samples;
    bench_samples_begin(&samples, n_rounds, UINT_MAX);
    while (bench_samples_want_more(&samples)) {
        pthread_t thread;
        const uint64_t begin_ns = bench_now_ns();
        start(&thread, do_nothing, NULL);
        pthread_join(thread, NULL);
        bench_samples_add(&samples, bench_now_ns() - begin_ns);
    }
    bench_report("thread_us", bench_samples_median_us(&samples));
}

void bench_floors(const struct bench_effort *effort)
{
    const size_t n_rounds = effort->n_sleepy_trips;
    size_t cpus[2];
    /* First, also since a process that never had threads has cheaper locks. */
    measure_thread_creation(n_rounds);
    measure_alone(effort->n_floor_steps);
    if (!find_two_cpus(cpus)) return;
    pin_to(cpus[0]);
    shared.other_cpu = cpus[1];
    measure_ping_pong(effort->n_floor_steps);
    measure_wake("futex_wake_us", sleep_on_futex, wake_by_futex, n_rounds, 10000);
    measure_wake("futex_wake_idle_us", sleep_on_futex, wake_by_futex, n_rounds, MS);
    measure_eventfd(n_rounds);
}
