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
        ROOT_TEST(siblings_are_one_core_and_only_those_in_the_mask_count),
        cmocka_unit_test(this_machine_has_at_least_one_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
