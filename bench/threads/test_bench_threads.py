#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_bench_threads.py - the benchmark of the threads runs, and says it in JSON.

Every workload must have a number for each who takes part, ours among them.
"""
import json
import math
import unittest
import xml.etree.ElementTree

from smoke import BenchTest, run


class BenchThreads(BenchTest):
    def test_every_workload_has_numbers_and_ours_takes_part(self):
        chart = self.folder / "bars.svg"
        result = run("--quick", "--json", "--svg", chart)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        drawn = xml.etree.ElementTree.parse(chart).getroot()
        bars = drawn.iter("{http://www.w3.org/2000/svg}rect")
        self.assertGreater(len(list(bars)), 4)

        report = json.loads(result.stdout)
        self.assertTrue(report["is_quick"])
        self.assertEqual(len(report["workloads"]), 15)
        for workload in report["workloads"]:
            with self.subTest(workload["id"]):
                peers = [each["peer"] for each in workload["results"]]
                ours = "this machine" if workload["id"] == "floors" else "libbitnet"
                self.assertEqual(peers[0], ours)
                self.assertEqual(len(peers), len(set(peers)))
                for each in workload["results"]:
                    self.assert_are_numbers(each["median"])
                for target in workload["targets"]:
                    self.assertIn(target["verdict"], ("met", "missed"))

    def assert_are_numbers(self, median):
        self.assertGreater(len(median), 0)
        for name, value in median.items():
            self.assertTrue(math.isfinite(value) and value >= 0, f"{name} is {value}")

    def test_one_workload_alone_with_several_rounds(self):
        result = run("--quick", "--json", "--rounds", "2", "--only", "round_trip")
        self.assertEqual(result.returncode, 0, result.stderr)
        (workload,) = json.loads(result.stdout)["workloads"]
        self.assertEqual(workload["id"], "round_trip")
        for each in workload["results"]:
            self.assertEqual(len(each["rounds"]["p50_us"]), 2)

    def test_a_table_for_people_names_everybody(self):
        result = run("--quick", "--only", "memory")
        self.assertEqual(result.returncode, 0, result.stderr)
        for words in ("libbitnet", "mutex ring", "bounded channel", "announced bound"):
            self.assertIn(words, result.stdout)

    def test_wrong_arguments_are_refused_with_the_possible_ones(self):
        for arguments in (["--only", "nothing"], ["--rounds", "0"], ["--svg"], ["-x"]):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertIn("throughput_1", result.stderr)
        result = run("--measure", "nothing", "libbitnet")
        self.assertEqual(result.returncode, 1)
        self.assertIn('no workload "nothing"', result.stderr)


if __name__ == "__main__":
    unittest.main()
