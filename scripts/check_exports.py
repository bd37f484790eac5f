#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_exports.py - the library shows what its headers declare, and no more.

The shared library's dynamic symbols must be exactly the functions that the public
headers mark with BITNET_API; the archive's global symbols must begin with bitnet_
or bni_, so that linking it cannot collide with a program's own names.

    check_exports.py libbitnet.so libbitnet.a
"""
import pathlib
import re
import subprocess
import sys

# Weak, hidden, and no C identifiers: where <sys/sdt.h> anchors the static probes, and
# how the compiler's unwind tables name what reads them.
NOBODYS_OWN = ("_.stapsdt.", "DW.ref.__gcc_personality_v0")


def defined_names(*nm_arguments):
    lines = subprocess.run(["nm", "--defined-only", "--extern-only", *nm_arguments],
                           check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in lines.splitlines()
            if len(line.split()) == 3}


def declared_names(include):
    declared = set()
    for header in sorted(include.rglob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
        declared |= set(re.findall(r"\bBITNET_API\b[^;{(]*?\b(bitnet_\w+)\s*\(", text))
    return declared


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    shared, archive = sys.argv[1:]
    declared = declared_names(pathlib.Path(__file__).resolve().parent.parent / "include")
    exported = defined_names("--dynamic", shared)

    complaints = [f"{name}: exported, but no public header declares it"
                  for name in sorted(exported - declared)]
    complaints += [f"{name}: declared with BITNET_API, but not exported"
                   for name in sorted(declared - exported)]
    complaints += [f"{name}: a global name of the archive without bitnet_ or bni_"
                   for name in sorted(defined_names(archive))
                   if not name.startswith(("bitnet_", "bni_", *NOBODYS_OWN))]
    for complaint in complaints:
        print(complaint)
    print(f"{len(exported)} functions exported, {len(complaints)} complaints")
    sys.exit(1 if complaints or not exported else 0)


if __name__ == "__main__":
    main()
