# SPDX-License-Identifier: MIT
"""support.py - runs the program as a shell would, and says what came out.

The program and the sources are named by the environment, which CTest sets.
"""
import os
import pathlib
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["BITNET_PROGRAM"]
SOURCE = pathlib.Path(os.environ["BITNET_SOURCE_DIR"])
MODEL = SOURCE / "models/tinystories-3.7m-i2_s.gguf"
PROMPTS = SOURCE / "models/prompts.txt"

# A hang is a failure, but sanitizers on a busy machine are slow.
TIMEOUT_S = 120


def start(*arguments, **options):
    """Starts the program; the three standard streams are pipes unless told."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
               "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([PROGRAM, *map(str, arguments)], **options)


class CliTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_program(self, *arguments, expect=0, stdin=b"", **options):
        """Returns (stdout, stderr) as text, which must be UTF-8; `stdin` is piped."""
        with start(*arguments, stdin=subprocess.PIPE, **options) as process:
            try:
                out, err = process.communicate(stdin, timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        out = (out or b"").decode("utf-8")
        err = (err or b"").decode("utf-8")
        self.assertEqual(process.returncode, expect, f"stdout: {out}\nstderr: {err}")
        return out, err

    def assert_one_line(self, err, *parts):
        """A failure is one whole line that begins with the program's name."""
        self.assertRegex(err, r"\Abitnet: [^\n]+\n\Z")
        for part in parts:
            self.assertIn(part, err)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path
