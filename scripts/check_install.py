#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_install.py - an installed tree works without the source tree.

Installs into a temporary prefix, moves it, then builds README's example there with
pkg-config, against the shared library and against the archive, and with CMake's
find_package, and runs the results and the program on the installed model.

    check_install.py --cmake cmake --build BUILD --cc gcc
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent
MODEL = "tinystories-3.7m-i2_s.gguf"

CMAKE_PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(bitnet 0.1 CONFIG REQUIRED)
add_executable(shared_user {source})
target_link_libraries(shared_user PRIVATE bitnet::bitnet)
add_executable(static_user {source})
target_link_libraries(static_user PRIVATE bitnet::bitnet_static)
"""


def run(command, **options):
    command = [str(word) for word in command]
    print("$", " ".join(command), flush=True)
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, check=False, **options)
    if result.returncode != 0:
        print(result.stdout)
        sys.exit(f"failed with status {result.returncode}")
    return result.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--build", required=True)
    parser.add_argument("--cc", default="cc")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run([arguments.cmake, "--install", arguments.build, "--prefix", folder / "first"])
        prefix = (folder / "first").rename(folder / "moved")
        model = prefix / "share/bitnet/models" / MODEL
        source = SOURCE / "examples/generate.c"

        pkgconfig = next(prefix.rglob("bitnet.pc")).parent
        environment = {**os.environ, "PKG_CONFIG_PATH": str(pkgconfig),
                       "LD_LIBRARY_PATH": str(pkgconfig.parent)}
        shared = run(["pkg-config", "--cflags", "--libs", "bitnet"], env=environment)
        static = run(["pkg-config", "--static", "--cflags", "--libs", "bitnet"],
                     env=environment)
        static = static.replace("-lbitnet", "-l:libbitnet.a")
        programs = [folder / "by_pkg_config", folder / "by_pkg_config_static"]
        for program, flags in zip(programs, [shared, static]):
            run([arguments.cc, "-std=c11", source, "-o", program, *flags.split()])

        user = folder / "user"
        user.mkdir()
        (user / "CMakeLists.txt").write_text(CMAKE_PROJECT.format(source=source))
        run([arguments.cmake, "-S", user, "-B", user / "build",
             f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={arguments.cc}"])
        run([arguments.cmake, "--build", user / "build"])
        programs += [user / "build/shared_user", user / "build/static_user"]

        texts = {run([program, model, "Once upon a time"], env=environment)
                 for program in programs}
        if len(texts) != 1 or not texts.pop().strip():
            sys.exit("the programs do not agree on a text")

        # The program must find the model beside itself, with no help.
        run([prefix / "bin/bitnet", "info"], cwd="/")
        out = run([prefix / "bin/bitnet", "run", "--max-tokens", "8", "Once"], cwd="/")
        if not out.startswith("Once"):
            sys.exit(f"the installed program printed {out!r}")
    print("the installed tree works")


if __name__ == "__main__":
    main()
