#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_reference_map.py - what docs/reference-map.md names is really there.

Every file has to exist, every function to be declared in a public header, and every
test to be a registered test of the file named before it. The tests of the table of
faults have to run under a watchdog as well, since what they are about is hanging.
"""
import pathlib
import re
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = SOURCE / "docs" / "reference-map.md"
JOBS = SOURCE / "tests" / "support" / "jobs.h"
FAULTS = "## Its known faults"


def rows_of(text):
    """Yields (line number, the words in backticks) of each row of a table."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("|"):
            yield number, re.findall(r"`([^`]+)`", line)


def tests_named(text):
    """Yields (line number, test file or None, test) of every test a table names."""
    for number, words in rows_of(text):
        file = None
        for word in words:
            if re.fullmatch(r"test_\w+\.c", word):
                file = word
            elif re.fullmatch(r"[a-z]\w+", word) and not word.startswith("bitnet_"):
                yield number, file, word


def find_test_file(name):
    found = sorted((SOURCE / "tests").rglob(name))
    return found[0] if len(found) == 1 else None


def body_of(function, source):
    match = re.search(rf"^static (?:inline )?\w+ {function}\([^;{{]*\)\n{{\n(.*?)^}}", source,
                      re.DOTALL | re.MULTILINE)
    return "" if match is None else match.group(1)


def registration_of(test, source):
    """Returns the match of the entry that lists the test; None if none does."""
    return re.search(rf"^ +(\w+)\(\s*{test}\b[^)]*\)", source, re.MULTILINE)


def has_watchdog(test, source):
    """Whether the test itself, or its setup function, starts a watchdog.

    start_watchdog() of support/jobs.h is a setup function, and others may call it.
    """
    registered = registration_of(test, source)
    starts = re.findall(r"\w+", registered.group(0))
    macro = re.search(rf"#define {registered.group(1)}\(.*?[^\\]\n", source, re.DOTALL)
    if macro is not None:
        starts += re.findall(r"\w+", macro.group(0))
    source += JOBS.read_text()
    return any(re.search("watchdog_start|start_watchdog", body_of(name, source))
               for name in starts)


class ReferenceMapTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = PAGE.read_text()
        cls.public = "\n".join(path.read_text()
                               for path in (SOURCE / "include").rglob("*.h"))

    def test_every_file_exists(self):
        for word in re.findall(r"`([^`]+)`", self.text):
            if "/" in word:
                self.assertTrue((SOURCE / word).exists(), word)

    def test_every_test_file_is_found_by_its_name(self):
        for number, words in rows_of(self.text):
            for word in words:
                if re.fullmatch(r"test_\w+\.c", word):
                    self.assertIsNotNone(find_test_file(word), f"line {number}: {word}")

    def test_every_function_is_public(self):
        for number, words in rows_of(self.text):
            for word in words:
                if word.startswith("bitnet_"):
                    self.assertRegex(self.public, rf"\b{word}\(", f"line {number}")

    def test_every_test_exists_and_is_run(self):
        n_tests = 0
        for number, file, test in tests_named(self.text):
            with self.subTest(line=number, test=test):
                self.assertIsNotNone(file, "no file is named before it")
                source = find_test_file(file).read_text()
                self.assertNotEqual(body_of(test, source), "", f"not in {file}")
                self.assertIsNotNone(registration_of(test, source), f"not run by {file}")
            n_tests += 1
        self.assertGreater(n_tests, 50)

    def test_every_test_of_a_fault_has_a_watchdog(self):
        n_tests = 0
        for number, file, test in tests_named(self.text[self.text.index(FAULTS):]):
            with self.subTest(row=number, test=test):
                self.assertTrue(has_watchdog(test, find_test_file(file).read_text()))
            n_tests += 1
        self.assertGreater(n_tests, 30)

    def test_every_row_has_a_test(self):
        for number, words in rows_of(self.text):
            if words:
                self.assertTrue(any(word.startswith("test_") for word in words),
                                f"line {number}")


if __name__ == "__main__":
    unittest.main()
