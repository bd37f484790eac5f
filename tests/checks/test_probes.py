#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_probes.py - the library carries the static probes that its headers promise.

Reads the notes that perf and bpftrace read: each probe's provider, name and arguments.
A build without <sys/sdt.h> has none, and then there is nothing to test.

    test_probes.py libbitnet.so [unittest's arguments]
"""
import re
import subprocess
import sys
import unittest

LIBRARY = sys.argv.pop(1) if len(sys.argv) > 1 else sys.exit(__doc__)
SKIPPED = 77

# Pool and job; the end has the job's result too. A minus: the argument is signed.
ARGUMENT_SIZES = {"job_submit": [8, 8], "job_start": [8, 8], "job_cancel": [8, 8],
                  "job_end": [8, 8, -4]}


def read_probes(library):
    """Yields (provider, name, sizes of the arguments in bytes) of each probe."""
    notes = subprocess.run(["readelf", "--notes", "--wide", library], check=True,
                           capture_output=True, text=True).stdout
    for match in re.finditer(r"Provider: (\S+)\s+Name: (\S+)\s+Location: [^\n]*\s+"
                             r"Arguments: ?([^\n]*)", notes):
        sizes = [int(size) for size in re.findall(r"(-?\d+)@", match.group(3))]
        yield match.group(1), match.group(2), sizes


class ProbesTest(unittest.TestCase):
    def setUp(self):
        self.probes = list(read_probes(LIBRARY))

    def test_the_provider_is_the_library(self):
        self.assertEqual({provider for provider, _, _ in self.probes}, {"bitnet"})

    def test_each_station_of_a_job_has_its_probe(self):
        self.assertEqual({name for _, name, _ in self.probes}, set(ARGUMENT_SIZES))

    def test_every_place_of_a_probe_has_its_arguments(self):
        for _, name, sizes in self.probes:
            self.assertEqual(sizes, ARGUMENT_SIZES[name], name)


if __name__ == "__main__":
    if not list(read_probes(LIBRARY)):
        print("built without <sys/sdt.h>: no probes")
        sys.exit(SKIPPED)
    unittest.main()
