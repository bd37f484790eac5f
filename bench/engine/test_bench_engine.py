#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_bench_engine.py - the benchmark of the engine runs, and says it in JSON.

A small model stands in for the large one.
"""
import json
import math
import unittest
import xml.etree.ElementTree

from smoke import BITNET, BenchTest, run


class BenchEngine(BenchTest):
    def report(self, *arguments):
        result = run("--quick", "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        return json.loads(result.stdout)

    def assert_are_numbers(self, value):
        """Every number in a tree of JSON, of which there is one at least."""
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            self.assertGreater(len(value), 0)
            for each in value:
                self.assert_are_numbers(each)
        elif isinstance(value, (int, float)):
            self.assertTrue(math.isfinite(value) and value >= 0, value)

    def test_both_models_have_all_numbers_and_the_large_one_targets(self):
        chart = self.folder / "bars.svg"
        report = self.report("--svg", chart, "--big", self.small_model())
        self.assertTrue(report["is_quick"])
        self.assert_are_numbers(report["limits"])
        for limits in report["limits"]: # what each is a limit of
            self.assertGreater(limits["memory_gb_s"], 0)
            self.assertEqual({"n_threads", "names", *limits["names"]}, set(limits))
        shipped, big = report["models"]
        for model in (shipped, big):
            with self.subTest(model["id"]):
                for part in ("one_caller", "callers", "long_prompt"):
                    self.assert_are_numbers(model[part])
                self.assertEqual([row["n_callers"] for row in model["callers"]],
                                 [1, 2, 4, 8, 16, 32])
                for row in model["callers"]:
                    self.assertEqual(row["latency"]["n_requests"], row["n_callers"])
        self.assertEqual(shipped["targets"], [])
        self.assertGreater(len(big["targets"]), 2)
        for target in big["targets"]:
            self.assertIn(target["verdict"], ("met", "missed"))
        drawn = xml.etree.ElementTree.parse(chart).getroot()
        bars = drawn.iter("{http://www.w3.org/2000/svg}rect")
        self.assertEqual(len(list(bars)), 1 + 2 * 6)

    def test_without_the_large_model_a_line_says_why(self):
        missing = self.folder / "missing.gguf"
        report = self.report("--big", missing, "--model", "2b", "--synth", BITNET)
        (big,) = report["models"]
        self.assertIn("--quick makes none", big["skipped"])
        self.assertFalse(missing.exists())
        table = run("--quick", "--model", "2b")
        self.assertIn("2b model: skipped: no file is named", table.stdout)

    def test_one_part_of_one_model_alone(self):
        report = self.report("--model", "shipped", "--only", "one_caller",
                             "--tokens", "3")
        (model,) = report["models"]
        self.assertIn("one_caller", model)
        self.assertNotIn("callers", model)
        self.assertNotIn("long_prompt", model)

    def test_a_table_for_people_has_every_part(self):
        result = run("--quick", "--model", "shipped")
        self.assertEqual(result.returncode, 0, result.stderr)
        for words in ("this machine at most", "shipped model", "one caller, tokens/s",
                      "callers  tokens/s", "beside", "the numbers mean nothing"):
            self.assertIn(words, result.stdout)

    def test_what_cannot_be_is_refused(self):
        for arguments in (["--only", "nothing"], ["--model", "9b"], ["--svg"],
                          ["-x", "y"], ["--tokens", "1"]):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertIn("one_caller", result.stderr)
        result = run("--quick", "--model", "2b", "--big", __file__)
        self.assertEqual(result.returncode, 1)
        self.assertIn("bench_engine: ", result.stderr)


if __name__ == "__main__":
    unittest.main()
