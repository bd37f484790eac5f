#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run_models.py - has Spin check the models of the thread pool, right and broken.

    run_models.py --build FOLDER [--cc COMPILER] [--only WORD]

Every scenario must be free of errors in all of its states; and each variant that
leaves out one rule must show an error, or the scenarios would prove nothing. Prints
a table and exits with 1 if a line of it is not as expected, with 77 (CTest: skipped)
where there is no spin. The checkers are compiled in FOLDER.

They are compiled without optimisation: for most of them the compiler would take
longer than what it saves.
"""
import argparse
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77
MEMORY_MIB = 1000  # of one checker
TIMEOUT_S = 300    # of one step; the slowest takes ten seconds on an idle machine
MAX_DEPTH = 100_000

SAFETY = "safety"      # assertions and threads that are stuck
WAKE_UPS = "wake-ups"  # assertions only: some threads are meant to be stuck
LIVENESS = "liveness"  # the scenario's LTL formula, on fair paths
COMPILE = {SAFETY: ["-DSAFETY", "-DNOCLAIM"], WAKE_UPS: ["-DSAFETY", "-DNOCLAIM"],
           LIVENESS: ["-DNFAIR=3"]}
RUN = {SAFETY: [], WAKE_UPS: ["-E"], LIVENESS: ["-a", "-f"]}

# Scenario, what is checked, macros.
RIGHT = [
    ("pool_room", SAFETY, []),
    ("pool_wake", SAFETY, []),
    ("pool_resize", SAFETY, []),
    ("pool_hand", SAFETY, []),
    ("pool_hand", SAFETY, ["WITH_WAITER"]),
    ("pool_hand", SAFETY, ["WITH_HANDLE"]),
    ("pool_hand", SAFETY, ["WITH_EXIT"]),
    ("pool_hand", SAFETY, ["WITH_SHUTDOWN"]),
    ("pool_ends", SAFETY, []),
    ("pool_here", SAFETY, []),
    ("pool_nested", SAFETY, []),
    ("pool_user_lock", SAFETY, []),
    ("pool_exit", SAFETY, []),
    ("pool_stream", LIVENESS, []),
    ("pool_stream", LIVENESS, ["WITH_SHUTDOWN"]),
    ("standing", SAFETY, []),
    ("standing", SAFETY, ["WITH_DRAIN"]),
    ("standing", SAFETY, ["WITH_STOP", "N_TOKENS=1"]),
    ("wait_graph", SAFETY, ["N_WORKERS=2"]),
    ("wait_graph", SAFETY, ["N_WORKERS=4"]),
    ("wait_graph", WAKE_UPS, ["REFUSED_SLEEP", "N_WORKERS=2"]),
    ("wait_graph", WAKE_UPS, ["REFUSED_SLEEP", "N_WORKERS=3"]),
    ("wait_graph", WAKE_UPS, ["REFUSED_SLEEP", "N_WORKERS=4"]),
]

BROKEN = [
    ("pool_wake", SAFETY, ["BREAK_LOCK_HELD"]),
    ("pool_nested", SAFETY, ["BREAK_WORKER_WAITS"]),
    ("pool_nested", SAFETY, ["BREAK_NO_HELP"]),
    ("pool_user_lock", SAFETY, ["BREAK_HELPS_ANY"]),
    ("wait_graph", SAFETY, ["BREAK_NO_CYCLE_CHECK"]),
    ("wait_graph", SAFETY, ["BREAK_SINGLE_EDGES"]),
    ("wait_graph", WAKE_UPS, ["REFUSED_SLEEP", "BREAK_STAYS_IN_GRAPH"]),
    ("wait_graph", WAKE_UPS,
     ["REFUSED_SLEEP", "N_WORKERS=4", "BREAK_ANY_STUCK_WORKER"]),
    ("pool_wake", SAFETY, ["BREAK_LOST_WAKEUP"]),
    ("pool_wake", SAFETY, ["BREAK_WAKES_NO_NEXT"]),
    ("pool_wake", SAFETY, ["BREAK_WAKING_STAYS"]),
    ("pool_resize", SAFETY, ["BREAK_UNWANTED_KEEPS_FLAG"]),
    ("pool_resize", SAFETY, ["BREAK_LEAVES_JOBS"]),
    ("pool_wake", SAFETY, ["BREAK_SPINNER_MISSES"]),
    ("pool_room", SAFETY, ["BREAK_NO_HANDOVER"]),
    ("pool_room", SAFETY, ["BREAK_NEXT_NOT_ADMITTED"]),
    ("pool_room", SAFETY, ["BREAK_GIVE_UP_STAYS"]),
    ("pool_room", SAFETY, ["BREAK_SHUTDOWN_KEEPS_SUBMITTERS"]),
    ("pool_room", SAFETY, ["BREAK_JOIN_BEFORE_CLOSE"]),
    ("pool_wake", SAFETY, ["BREAK_COUNT_LATE"]),
    ("pool_ends", SAFETY, ["BREAK_DOUBLE_CLAIM"]),
    ("pool_ends", SAFETY, ["BREAK_EXPIRED_STARTS"]),
    ("pool_ends", SAFETY, ["BREAK_STOPPING_STARTS"]),
    ("pool_exit", SAFETY, ["BREAK_EXIT_LOSES_COUNT"]),
    ("pool_exit", SAFETY, ["BREAK_NO_REPLACEMENT"]),
    ("pool_exit", SAFETY, ["BREAK_NO_GIVING_UP"]),
    ("pool_exit", SAFETY, ["BREAK_CHAIN_WITHOUT_THREADS"]),
    ("pool_stream", LIVENESS, ["BREAK_WAIT_FOR_WORLD"]),
    ("pool_hand", SAFETY, ["BREAK_NO_GATHER_IDLE"]),
    ("pool_hand", SAFETY, ["WITH_WAITER", "BREAK_NO_GATHER_IN_WAIT"]),
    ("pool_hand", SAFETY, ["WITH_SHUTDOWN", "BREAK_NO_GATHER_TO_STOP"]),
    ("pool_hand", SAFETY, ["BREAK_NEXT_UNLOCKED"]),
    ("pool_hand", SAFETY, ["WITH_HANDLE", "BREAK_DEALS_HANDLES"]),
    ("pool_hand", SAFETY, ["BREAK_DEALT_TAKES_NO_ROOM"]),
    ("pool_hand", SAFETY, ["WITH_EXIT", "CAPACITY=3", "BREAK_LEAVES_WITH_HAND"]),
    ("standing", SAFETY, ["BREAK_ASKED_IS_FORGOTTEN"]),
    ("standing", SAFETY, ["BREAK_ASKS_IN_ANY_STATE"]),
    ("standing", SAFETY, ["BREAK_ASKS_THE_CLOSED"]),
    ("standing", SAFETY, ["BREAK_ADMITS_STANDING"]),
    ("standing", SAFETY, ["BREAK_DISPLACED_IS_LOST"]),
    ("standing", SAFETY, ["BREAK_EXIT_ENDS_IT"]),
    ("standing", SAFETY, ["BREAK_TELLS_TWICE"]),
    ("standing", SAFETY, ["WITH_DRAIN", "BREAK_REFUSES_STANDING"]),
    ("standing", SAFETY, ["WITH_DRAIN", "BREAK_SHUTDOWN_COUNTS_JOBS"]),
    ("standing", SAFETY, ["WITH_STOP", "BREAK_LEAVES_LINE_WAITING"]),
    ("standing", SAFETY, ["WITH_STOP", "BREAK_STOP_FORGETS_THE_IDLE"]),
]

WIDTHS = "{:<15} {:<50} {:>9} {:>6} {:>7} {:>5}  {}"


def run(command, folder):
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=TIMEOUT_S, check=False).stdout


def build_checker(folder, spin, cc, scenario, kind, macros):
    """Writes and compiles FOLDER/pan; returns what went wrong, or ""."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for model in SOURCE.glob("*.pml"):
        shutil.copy(model, folder)
    words = run([spin, "-a", *(f"-D{macro}" for macro in macros), f"{scenario}.pml"],
                folder)
    if "Error" in words or not (folder / "pan.c").exists():
        return f"spin: {words.strip()}"
    words = run([cc, "-w", *COMPILE[kind], f"-DMEMLIM={MEMORY_MIB}", "-o", "pan",
                 "pan.c"], folder)
    return "" if (folder / "pan").exists() else f"{cc}: {words.strip()}"


def number(pattern, text):
    found = re.search(pattern, text)
    return float(found.group(1)) if found else 0


def verdict_of(output):
    """What the checker says: "no error", the error, or that it did not finish."""
    found = re.search(r"^pan:1: (.*?)(?: \(at depth \d+\))?$", output, re.MULTILINE)
    if found:
        return found.group(1)
    if not re.search(r"errors: 0$", output, re.MULTILINE):
        return "the checker did not finish: " + output.strip()[-500:]
    if "Search not completed" in output or "too small" in output:
        return "not all states were visited"
    return "no error"


FOUND = ("assertion violated", "invalid end state", "acceptance cycle")


def check(options, spin, scenario, kind, macros, is_broken):
    """Prints a line of the table; returns whether it is as expected."""
    folder = options.build / "-".join([scenario, *macros]).replace("=", "_")
    words = build_checker(folder, spin, options.cc, scenario, kind, macros)
    began = time.monotonic()
    output = ""
    if not words:
        output = run(["./pan", f"-m{MAX_DEPTH}", *RUN[kind]], folder)
        words = verdict_of(output)
    took_s = time.monotonic() - began
    if is_broken:
        is_expected = words.startswith(FOUND) and "array index" not in words
    else:
        is_expected = words == "no error"
    print(WIDTHS.format(scenario, " ".join(macros) or "-",
                        int(number(r"(\d+) states, stored", output)),
                        int(number(r"depth reached (\d+)", output)), f"{took_s:.1f} s",
                        int(number(r"([\d.]+)\s+total actual memory", output)),
                        ("" if is_expected else "NOT EXPECTED: ") + words), flush=True)
    if is_expected:
        shutil.rmtree(folder)
    return is_expected


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--only", default="", help="lines with this word")
    options = parser.parse_args()
    options.build = options.build.resolve()
    spin = shutil.which("spin")
    if spin is None:
        print("skipped: there is no spin here (Debian package: spin)")
        return SKIPPED

    is_all_expected = True
    for title, lines, is_broken in [("right: no error may be found", RIGHT, False),
                                    ("broken: an error must be found", BROKEN, True)]:
        print(f"\n{title}")
        print(WIDTHS.format("scenario", "macros", "states", "depth", "time", "MiB",
                            "found"))
        for scenario, kind, macros in lines:
            if options.only not in " ".join([scenario, *macros]):
                continue
            is_all_expected &= check(options, spin, scenario, kind, macros, is_broken)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{used.ru_utime + used.ru_stime:.0f} s of one core")
    return 0 if is_all_expected else 1


if __name__ == "__main__":
    sys.exit(main())
