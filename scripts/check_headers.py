#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_headers.py - each public header compiles alone, as C11 and as C++17.

    check_headers.py --cc gcc --cxx g++
"""
import argparse
import pathlib
import subprocess
import sys

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-fsyntax-only"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    arguments = parser.parse_args()

    include = pathlib.Path(__file__).resolve().parent.parent / "include"
    headers = sorted(include.rglob("*.h"))
    n_failed = 0
    for header in headers:
        # Twice: the include guard must hold. C wants a declaration in every file.
        source = f"#include <{header.relative_to(include)}>\n" * 2 + "typedef int done;\n"
        for command in ([arguments.cc, "-std=c11", "-x", "c"],
                        [arguments.cxx, "-std=c++17", "-x", "c++"]):
            result = subprocess.run([*command, *WARNINGS, f"-I{include}", "-"],
                                    input=source, text=True, check=False)
            if result.returncode != 0:
                n_failed += 1
                print(f"{header.relative_to(include)}: {' '.join(command)} refuses it")
    print(f"{len(headers)} headers compiled, {n_failed} failures")
    sys.exit(1 if n_failed or not headers else 0)


if __name__ == "__main__":
    main()
