#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_prefetch.py - what kernels ask for ahead, the compiler has not left out.

A prefetch has no effect that a compiler must keep, and no test of results notices when
it is gone: products from memory only become slower by a third. So this counts them in
the object code: at least one for each call in a kernel's source, and in the headers
with the order of its tiles, that says BNI_FROM_MEMORY or BNI_IN_STREAMS.

    check_prefetch.py libbitnet.a src/kernels
"""
import pathlib
import re
import subprocess
import sys

FROM_MEMORY = re.compile(r", BNI_(?:FROM_MEMORY|IN_STREAMS)\)")
INCLUDED = re.compile(r'#include "kernels/(\w+_(?:panels|strips)\.h)"')
PREFETCH = re.compile(r"\t(?:prefetch\w*|prfm)\s")
MEMBER = re.compile(r"^(\S+\.c)\S*:\s+file format")


def calls_from_memory(source):
    """How many calls in a source file and its panels stream weights from memory."""
    text = source.read_text()
    n = len(FROM_MEMORY.findall(text))
    for header in INCLUDED.findall(text):
        n += len(FROM_MEMORY.findall((source.parent / header).read_text()))
    return n


def prefetches(archive):
    """{source file: prefetch instructions} of each object in the archive."""
    lines = subprocess.run(["objdump", "-d", "--no-show-raw-insn", archive], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    found = {}
    member = None
    for line in lines:
        match = MEMBER.match(line)
        if match:
            member = match.group(1)
            found.setdefault(member, 0)
        elif member and PREFETCH.search(line):
            found[member] += 1
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    archive, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    found = prefetches(archive)
    n_checked = 0
    is_bad = False
    for source in sorted(folder.glob("*.c")):
        expected = calls_from_memory(source)
        if expected == 0 or source.name not in found:
            continue
        n_checked += 1
        if found[source.name] < expected:
            is_bad = True
            print(f"{source.name}: {found[source.name]} prefetches in the object code, "
                  f"expected one for each of {expected} calls from memory at least")
    if n_checked == 0:
        sys.exit(f"{archive}: has no object of {folder} that streams from memory")
    print(f"{n_checked} kernels read")
    sys.exit(1 if is_bad else 0)


if __name__ == "__main__":
    main()
