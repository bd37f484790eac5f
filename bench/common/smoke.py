# SPDX-License-Identifier: MIT
"""smoke.py - what the tests of the benchmarks share: a benchmark that runs, and a model.

The programs are named by the environment, which CTest sets. What a benchmark's numbers
are is not looked at: times decide no test.
"""
import os
import pathlib
import subprocess
import tempfile
import unittest

BITNET = os.environ["BITNET_PROGRAM"]


def run(*arguments):
    return subprocess.run([os.environ["BENCH_PROGRAM"], *map(str, arguments)],
                          capture_output=True, text=True, timeout=240)


class BenchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def small_model(self):
        """Returns the path of a small model that stands in for the large one."""
        path = self.folder / "small.gguf"
        subprocess.run([BITNET, "synth", "--layers", "2", "--embd", "256", "--ffn", "512",
                        "--heads", "4", "--kv-heads", "2", "--vocab", "700", "--ctx",
                        "600", path], check=True, stdout=subprocess.DEVNULL)
        return path
