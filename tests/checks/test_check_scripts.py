#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_check_scripts.py - the checks of scripts/ find what they are there to find.

Each test makes a small tree or library with one fault and expects the script to name
it; a check that passes whatever it is given would hold nothing.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
SCRIPTS = SOURCE / "scripts"


def run_script(name, *arguments):
    return subprocess.run([sys.executable, SCRIPTS / name, *map(str, arguments)],
                          capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)


class TreeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class IncludeTest(TreeTest):
    def check(self, name, include):
        self.write("src/base/alloc.h", "")
        self.write(name, f"#include {include}\n")
        return run_script("check_includes.py", self.root)

    def test_an_edge_of_the_table_is_allowed(self):
        self.assertEqual(self.check("src/threads/pool.c", '"base/alloc.h"').returncode, 0)

    def test_an_edge_to_a_layer_above_is_refused(self):
        result = self.check("src/kernels/scalar.c", '"threads/team.h"')
        self.assertEqual(result.returncode, 1)
        self.assertIn("src/kernels/scalar.c:1: the layer kernels may not include "
                      "threads/team.h", result.stdout)

    def test_the_model_sees_one_kernel_header_only(self):
        self.assertEqual(self.check("src/model/a.c", '"kernels/kernels.h"').returncode, 0)
        self.assertEqual(self.check("src/model/a.c", '"kernels/select.h"').returncode, 1)

    def test_c11_threads_are_refused(self):
        self.assertEqual(self.check("src/threads/pool.c", "<threads.h>").returncode, 1)

    def test_a_program_sees_public_headers_only(self):
        self.assertEqual(self.check("apps/cli/main.c", "<bitnet/model.h>").returncode, 0)
        self.assertEqual(self.check("apps/cli/main.c", '"base/alloc.h"').returncode, 1)

    def test_a_public_header_sees_public_headers_only(self):
        self.assertEqual(self.check("include/bitnet/a.h", "<pthread.h>").returncode, 1)

    def test_a_tree_without_sources_is_refused(self):
        self.assertNotEqual(run_script("check_includes.py", self.root).returncode, 0)


class ArchiveTest(TreeTest):
    def archive(self, code):
        source = self.write("a.c", code)
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-c", source, "-o",
                        self.root / "a.c.o"], check=True)
        subprocess.run(["ar", "rc", self.root / "a.a", self.root / "a.c.o"], check=True)
        return self.root / "a.a"


class PrefetchTest(ArchiveTest):
    """A function that only prefetches, as it is and made part of its caller."""
    CODE = """enum source { BNI_FROM_MEMORY = 1 };
    static inline %s void ask(const char *p) { __builtin_prefetch(p + 8192, 0, 2); }
    static inline __attribute__((always_inline)) int add(const char *p, int source)
    {
        int sum = 0;
        for (int i = 0; i < 4096; i += 64) {
            if (source == BNI_FROM_MEMORY) ask(p + i);
            sum += p[i];
        }
        return sum;
    }
    int f(const char *p) { return add(p, BNI_FROM_MEMORY); }
    """

    def check(self, code):
        return run_script("check_prefetch.py", self.archive(code), self.root)

    def test_prefetches_that_are_there_are_allowed(self):
        result = self.check(self.CODE % "__attribute__((always_inline))")
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_prefetches_that_are_gone_are_named(self):
        result = self.check(self.CODE.replace("__builtin_prefetch(p + 8192, 0, 2);", "")
                            % "")
        self.assertEqual(result.returncode, 1)
        self.assertIn("a.c: 0 prefetches in the object code, expected one for each of 1",
                      result.stdout)

    def test_an_archive_without_kernels_is_refused(self):
        self.assertNotEqual(self.check("int f;\n").returncode, 0)


class NameTest(ArchiveTest):

    def test_a_call_of_abort_is_refused(self):
        archive = self.archive("void abort(void);\nvoid f(void) { abort(); }\n")
        result = run_script("check_names.py", archive)
        self.assertEqual(result.returncode, 1)
        self.assertIn("a.c.o: refers to abort, which ends or copies the process",
                      result.stdout)

    def test_assert_is_allowed_in_debug_builds_only(self):
        archive = self.archive("void __assert_fail(void);\n"
                               "void f(void) { __assert_fail(); }\n")
        self.assertEqual(run_script("check_names.py", archive, "--debug").returncode, 0)
        self.assertEqual(run_script("check_names.py", archive).returncode, 1)

    def test_other_calls_are_allowed(self):
        archive = self.archive("int close(int);\nint f(void) { return close(3); }\n")
        self.assertEqual(run_script("check_names.py", archive).returncode, 0)


class ReadmeTest(TreeTest):
    def check(self, readme):
        self.write("README.md", readme)
        self.write("examples/a.c", "int a;\n")
        return run_script("check_readme.py", self.root)

    def test_a_listing_that_equals_its_file_is_allowed(self):
        self.assertEqual(self.check("`examples/a.c`:\n\n```c\nint a;\n```\n").returncode, 0)

    def test_a_listing_that_differs_is_refused(self):
        result = self.check("`examples/a.c`:\n\n```c\nint b;\n```\n")
        self.assertIn("differs", result.stdout)
        self.assertEqual(result.returncode, 1)

    def test_a_dead_link_is_refused(self):
        result = self.check("`examples/a.c`:\n\n```c\nint a;\n```\n[x](docs/no.md)\n")
        self.assertIn("README.md: docs/no.md leads nowhere", result.stdout)


class PackageScriptTest(unittest.TestCase):
    def test_an_unknown_group_is_wrong_usage(self):
        result = subprocess.run([SCRIPTS / "install_packages.sh", "nonsense"],
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 2)
        self.assertIn("no group 'nonsense'", result.stderr)

    def test_every_package_is_listed_with_its_reason(self):
        result = subprocess.run([SCRIPTS / "install_packages.sh", "--list"],
                                capture_output=True, text=True, check=True)
        dependencies = (SOURCE / "docs/dependencies.md").read_text()
        for line in result.stdout.splitlines()[1:]:
            _, package, reason = line.split(maxsplit=2)
            self.assertTrue(reason)
            self.assertIn(f"`{package}`", dependencies)


if __name__ == "__main__":
    unittest.main()
