#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""count_instructions.py - the instructions that each operation of the kernels takes.

Runs `bench_kernels --count` under callgrind, which writes a count whenever the function
that makes one call of an operation returns. Unlike times, counts are the same on every
run and on a busy machine; they tell nothing of memory. Valgrind knows AVX2 and not
AVX-512, so the best table there is avx2.

    count_instructions.py [--json] [--table NAME] PROGRAM
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

MARKER = "bench_counted_call"


def instructions_of(path):
    """The count in one of callgrind's files, and None if it is not of a call."""
    text = path.read_text()
    if f"Trigger: --dump-after={MARKER}" not in text:
        return None
    return int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE).group(1))


def count(program, table):
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--toggle-collect={MARKER}",
                   f"--dump-after={MARKER}", f"--callgrind-out-file={folder}/out",
                   program, "--count"]
        environment = {**os.environ, **({"BITNET_ISA": table} if table else {})}
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
        if result.returncode != 0:
            sys.exit(f"count_instructions: {' '.join(command)}\n{result.stderr}")
        report = json.loads(result.stdout)
        files = sorted(pathlib.Path(folder).glob("out.*"),
                       key=lambda path: int(path.suffix[1:]))
        counts = [n for n in map(instructions_of, files) if n is not None]
    if len(counts) != len(report["calls"]):
        sys.exit(f"count_instructions: {len(counts)} counts, "
                 f"expected {len(report['calls'])}")
    for call, n in zip(report["calls"], counts):
        call["instructions"] = n
    return report


def write_table(report):
    print(f"table {report['table']}: instructions")
    print(f"  {'operation':<20} {'x':>3} {'one call':>12}  {'each':>10}  "
          f"{'for 1000 of':<11} item")
    for call in report["calls"]:
        each = call["instructions"] / call["n_items"]
        thousand = 1000 * call["instructions"] / call["arithmetic"]
        print(f"  {call['name']:<20} {call['n_x']:>3} {call['instructions']:>12}  "
              f"{each:>10.1f}  {thousand:>7.1f} {call['unit']:<3} {call['item']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--table")
    parser.add_argument("program")
    arguments = parser.parse_args()
    report = count(arguments.program, arguments.table)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        write_table(report)


if __name__ == "__main__":
    main()
