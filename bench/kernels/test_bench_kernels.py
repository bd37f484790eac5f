#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_bench_kernels.py - the benchmark of the kernels runs, says it in JSON and draws it.

A small model stands in for the large one.
"""
import json
import math
import os
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree

from smoke import BenchTest, run

COUNT = os.environ["COUNT_INSTRUCTIONS"]


class BenchKernels(BenchTest):
    def test_steps_alone_can_be_measured(self):
        result = run("--quick", "--json", "--steps", "--model", self.small_model())
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual(report["operations"], [])
        self.assertEqual(len(report["steps"]), 12)

    def test_every_operation_and_step_has_its_rates_and_is_drawn(self):
        chart = self.folder / "roofline.svg"
        result = run("--quick", "--json", "--svg", chart, "--model", self.small_model())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        report = json.loads(result.stdout)
        self.assertTrue(report["is_quick"])
        names = {each["name"] for each in report["operations"]}
        self.assertLessEqual({"ternary product", "F16 product", "attention", "quantize",
                              "rms_norm", "rope_neox", "relu2_mul", "silu_mul", "widen F16",
                              "store_f16, keys", "sampling"}, names)
        ternary = [(each["from"], each["n_x"]) for each in report["operations"]
                   if each["name"] == "ternary product"]
        self.assertEqual(ternary, [(place, n) for place in ("cache", "memory")
                                   for n in (1, 2, 4, 8, 32, 128, 512)])
        steps = [(each["name"], each["n_context"]) for each in report["steps"]]
        self.assertEqual(steps, [(name, n) for name in ("decode", "two-pass", "prefill")
                                 for n in (0, 512, 2048, 4096)])
        peaks = report["limits"][0]["names"]
        n_points = 0
        for each in report["operations"] + report["steps"]:
            with self.subTest(each["name"]):
                self.assertGreaterEqual(len(each["rates"]), 1)
                for rate in each["rates"]:
                    n_points += 1
                    for key in ("seconds", "g_per_s", "gb_s"):
                        self.assertTrue(0 < rate[key] < math.inf, (key, rate))
                    if "limit" in rate:
                        self.assertIn(rate["limit"], peaks.values())
        drawn = xml.etree.ElementTree.parse(chart).getroot()
        points = drawn.iter("{http://www.w3.org/2000/svg}circle")
        self.assertEqual(len(list(points)), n_points)

    def test_a_table_of_kernels_can_be_named(self):
        # No operations and no model: either takes minutes in C under ThreadSanitizer.
        result = run("--quick", "--steps", "--table", "scalar")
        self.assertEqual(result.returncode, 0, result.stderr)
        for words in ("this machine at most", "whole model: skipped",
                      "the numbers mean nothing"):
            self.assertIn(words, result.stdout)
        result = run("--quick", "--steps", "--table", "scalar", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["table"], "scalar")

    def test_what_cannot_be_is_refused(self):
        for arguments in (["--svg"], ["-x"], ["--quick", "--table"]):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertIn("usage", result.stderr)
        result = run("--quick", "--table", "mmx")
        self.assertEqual(result.returncode, 1)
        self.assertIn("mmx", result.stderr)

    @unittest.skipUnless(COUNT and shutil.which("valgrind"), "needs valgrind, no sanitizer")
    def test_instructions_are_counted(self):
        output = subprocess.run([sys.executable, COUNT, "--json",
                                 os.environ["BENCH_PROGRAM"]], check=True,
                                capture_output=True, text=True, timeout=240).stdout
        calls = json.loads(output)["calls"]
        self.assertGreater(len(calls), 20)
        for call in calls:
            # A vector has 64 bytes at most, and a call of nothing is no call.
            self.assertGreater(call["instructions"] * 64, call["arithmetic"], call)


if __name__ == "__main__":
    unittest.main()
