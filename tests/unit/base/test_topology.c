/* SPDX-License-Identifier: MIT */
/*
 * test_topology.c - quotas and cores as the system's files tell them, read from a
 * directory made for each test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/topology.h"

enum { MAX_FILES = 32, MAX_PATH = 512 };

static char root[MAX_PATH];
static char paths[MAX_FILES][2 * MAX_PATH]; /* of files and directories, in order */
static size_t n_paths;

static void remember(const char *path)
{
    assert_true(n_paths < MAX_FILES);
    snprintf(paths[n_paths++], sizeof(paths[0]), "%s", path);
}

/* Writes a file below the root, with the directories it needs. */
static void put(const char *name, const char *text)
{
    char path[2 * MAX_PATH];
    snprintf(path, sizeof(path), "%s%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(path, 0700) == 0) remember(path);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    remember(path);
}

static int make_root(void **state)
{
    (void)state;
    const char *folder = getenv("TMPDIR");
    snprintf(root, sizeof(root), "%s/bitnet-topology-XXXXXX",
             folder == NULL ? "/tmp" : folder);
    n_paths = 0;
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
    (void)state;
    while (n_paths > 0) remove(paths[--n_paths]);
    return rmdir(root);
}

#define V2_MOUNT \
    "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

static void without_cgroups_there_is_no_quota(void **state)
{
    (void)state;
    assert_int_equal(bni_topology_quota(root), BNI_NO_QUOTA);
    put("/proc/self/cgroup", "0::/\n");
    assert_int_equal(bni_topology_quota(root), BNI_NO_QUOTA);
}

static void a_v2_quota_is_rounded_down(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "765000 100000\n");
    assert_int_equal(bni_topology_quota(root), 7);
}

static void less_than_one_cpu_is_one(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "5000 100000\n");
    assert_int_equal(bni_topology_quota(root), 1);
}

static void the_smallest_quota_of_all_ancestors_holds(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/user.slice/user-1/job\n");
    put("/proc/self/mountinfo", "1 1 0:1 / / rw - ext4 /dev/root rw\n" V2_MOUNT);
    put("/sys/fs/cgroup/user.slice/user-1/job/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user.slice/user-1/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/user.slice/cpu.max", "150000 50000\n");
    assert_int_equal(bni_topology_quota(root), 3);
}

static void a_quota_at_the_mount_itself_counts(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_int_equal(bni_topology_quota(root), 2);
}

static void a_group_above_our_namespace_is_the_mount(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/../../other\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_int_equal(bni_topology_quota(root), 4);
}

static void a_v1_quota_is_found_behind_its_controller(void **state)
{
    (void)state;
    put("/proc/self/cgroup",
        "5:cpuset:/x\n4:cpu,cpuacct:/docker/1f2e/job\n1:name=s:/\n");
    put("/proc/self/mountinfo",
        "31 24 0:27 /docker/1f2e /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "32 24 0:28 /docker/1f2e /sys/fs/cgroup/cpu rw shared:1 - cgroup cgroup "
        "rw,cpu,cpuacct\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(bni_topology_quota(root), 2);
}

static void nonsense_is_no_quota(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "\nnonsense\n0::/job\n");
    put("/proc/self/mountinfo", "nonsense\n - \n" V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "many 100000\n");
    put("/sys/fs/cgroup/cpu.max", "100000 0\n");
    assert_int_equal(bni_topology_quota(root), BNI_NO_QUOTA);
}

static void a_quota_is_told_in_thousandths_with_what_it_did(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "765000 100000\n");
    put("/sys/fs/cgroup/job/cpu.stat",
        "usage_usec 4711\nnr_periods 120\nnr_throttled 7\nthrottled_usec 33\n"
        "nr_bursts 1\n");
    struct bni_topology topology;
    bni_topology_read(root, &topology);
    assert_int_equal(topology.quota.milli_cpus, 7650);
    assert_int_equal(topology.quota.n_cpus, 7);
    assert_int_equal(topology.quota.n_periods, 120);
    assert_int_equal(topology.quota.n_throttled, 7);
    assert_int_equal(topology.quota.throttled_ns, 33000);
    assert_int_equal(topology.n_affinity, bni_topology_n_cpus());
    assert_true(topology.n_usable <= 7);
}

static void throttling_is_that_of_the_group_whose_quota_is_the_smallest(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/outer/middle/own\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/outer/middle/own/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/outer/middle/own/cpu.stat", "nr_periods 1\nnr_throttled 1\n");
    put("/sys/fs/cgroup/outer/middle/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/outer/middle/cpu.stat", "nr_periods 20\nnr_throttled 2\n");
    put("/sys/fs/cgroup/outer/cpu.max", "300000 200000\n"); /* equal, but farther */
    put("/sys/fs/cgroup/outer/cpu.stat", "nr_periods 30\nnr_throttled 3\n");
    struct bni_topology topology;
    bni_topology_read(root, &topology);
    assert_int_equal(topology.quota.milli_cpus, 1500);
    assert_int_equal(topology.quota.n_periods, 20);
    assert_int_equal(topology.quota.n_throttled, 2);
    assert_int_equal(topology.n_usable, 1);
    assert_int_equal(topology.n_compute, 1);

    put("/sys/fs/cgroup/outer/cpu.max", "149000 100000\n");
    bni_topology_read(root, &topology);
    assert_int_equal(topology.quota.milli_cpus, 1490);
    assert_int_equal(topology.quota.n_throttled, 3);
}

static void v1_tells_its_throttling_in_nanoseconds(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "4:cpu,cpuacct:/job\n");
    put("/proc/self/mountinfo",
        "32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu/job/cpu.stat",
        "nr_periods 9\nnr_throttled 8\nthrottled_time 12345678901\n");
    struct bni_topology topology;
    bni_topology_read(root, &topology);
    assert_int_equal(topology.quota.milli_cpus, 500);
    assert_int_equal(topology.quota.n_periods, 9);
    assert_int_equal(topology.quota.n_throttled, 8);
    assert_int_equal(topology.quota.throttled_ns, 12345678901);
    assert_int_equal(topology.n_usable, 1);
}

static void without_a_quota_there_is_no_throttling(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/job/cpu.stat", "nr_periods 9\nnr_throttled 8\n");
    static const struct bni_cpu_quota none;
    struct bni_topology topology;
    bni_topology_read(root, &topology);
    assert_memory_equal(&topology.quota, &none, sizeof(none));
    assert_int_equal(topology.n_usable, topology.n_affinity);
    assert_int_equal(topology.n_cores, topology.n_affinity); /* no file tells cores */
}

static void nonsense_in_the_counts_is_none_or_the_most(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "1 100000\n");
    put("/sys/fs/cgroup/job/cpu.stat",
        "nr_periods many\n\nnr_throttled\n"
        "a_name_that_is_much_longer_than_any_name_of_a_count 5\n"
        "throttled_usec 18446744073709551615\n");
    struct bni_topology topology;
    bni_topology_read(root, &topology);
    assert_int_equal(topology.quota.milli_cpus, 1);
    assert_int_equal(topology.quota.n_periods, 0);
    assert_int_equal(topology.quota.n_throttled, 0);
    assert_int_equal(topology.quota.throttled_ns, UINT64_MAX);
    put("/sys/fs/cgroup/job/cpu.max", "9223372036854775807 1\n");
    assert_int_equal(bni_topology_quota(root), BNI_NO_QUOTA);
}

static void siblings_are_one_core_and_only_those_in_the_mask_count(void **state)
{
    (void)state;
    static const char *const lists[] = {"0,4\n", "1-5:4\n", "2\n", "3,7\n", "0,4\n"};
    for (int cpu = 0; cpu < 5; cpu++) {
        char name[MAX_PATH];
        snprintf(name, sizeof(name),
                 "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        put(name, lists[cpu]);
    }
    cpu_set_t mask;
    CPU_ZERO(&mask);
    for (size_t cpu = 0; cpu < 5; cpu++) CPU_SET(cpu, &mask);
    assert_int_equal(bni_topology_n_cores(root, &mask), 4);
    CPU_CLR(0, &mask); /* its sibling 4 still stands for the core */
    assert_int_equal(bni_topology_n_cores(root, &mask), 4);
    CPU_CLR(4, &mask);
    assert_int_equal(bni_topology_n_cores(root, &mask), 3);
    CPU_SET(9, &mask); /* no file: a core of its own */
    assert_int_equal(bni_topology_n_cores(root, &mask), 4);
}

static void this_machine_has_at_least_one_of_everything(void **state)
{
    (void)state;
    assert_true(bni_topology_n_cpus() >= 1);
    assert_true(bni_topology_n_compute() >= 1);
    assert_true(bni_topology_n_compute() <= bni_topology_n_usable());
    assert_true(bni_topology_n_usable() <= bni_topology_n_cpus());
}

#define ROOT_TEST(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOT_TEST(without_cgroups_there_is_no_quota),
        ROOT_TEST(a_v2_quota_is_rounded_down),
        ROOT_TEST(less_than_one_cpu_is_one),
        ROOT_TEST(the_smallest_quota_of_all_ancestors_holds),
        ROOT_TEST(a_quota_at_the_mount_itself_counts),
        ROOT_TEST(a_group_above_our_namespace_is_the_mount),
        ROOT_TEST(a_v1_quota_is_found_behind_its_controller),
        ROOT_TEST(nonsense_is_no_quota),
        ROOT_TEST(a_quota_is_told_in_thousandths_with_what_it_did),
        ROOT_TEST(throttling_is_that_of_the_group_whose_quota_is_the_smallest),
        ROOT_TEST(v1_tells_its_throttling_in_nanoseconds),
        ROOT_TEST(without_a_quota_there_is_no_throttling),
        ROOT_TEST(nonsense_in_the_counts_is_none_or_the_most),
        ROOT_TEST(siblings_are_one_core_and_only_those_in_the_mask_count),
        cmocka_unit_test(this_machine_has_at_least_one_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
