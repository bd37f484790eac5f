#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_names.py - functions that a guest in somebody's process does not call.

Reads what the library's archive refers to (nm) and fails on a name that would end
the process, change its signals, locale or files, print, or keep hidden state that
two threads share.

    check_names.py libbitnet.a [--debug]     --debug: assert() is compiled in
"""
import re
import subprocess
import sys

FORBIDDEN = {
    "ends or copies the process": """
        abort exit _exit _Exit quick_exit atexit __cxa_atexit on_exit fork vfork
        __assert __assert_fail execve execv execvp execl execlp system popen
        posix_spawn posix_spawnp raise kill""",
    "changes what belongs to the whole process": """
        signal sigaction sigprocmask setlocale chdir umask setenv unsetenv putenv
        setrlimit sched_setaffinity pthread_setaffinity_np dlopen""",
    "prints": """
        printf vprintf puts putchar putchar_unlocked putc fputc fputs fprintf vfprintf
        perror __printf_chk __vprintf_chk __fprintf_chk __vfprintf_chk dprintf
        __dprintf_chk syslog stdout stderr stdin""",
    "is not safe with threads": """
        rand srand random srandom drand48 strtok strerror asctime ctime localtime
        gmtime readdir getpwnam gethostbyname tmpnam""",
    "is not safe at all": "gets strcpy strcat sprintf vsprintf alloca mktemp",
    "waits by the clock, or ends a thread unasked": """
        sleep usleep nanosleep clock_nanosleep pthread_cancel pthread_detach
        pthread_exit""",
}


def referenced_names(archive):
    """Yields (object file, name) for each undefined name in the archive."""
    lines = subprocess.run(["nm", "--print-file-name", "--undefined-only", archive],
                           check=True, capture_output=True, text=True).stdout
    for line in lines.splitlines():
        match = re.match(r"^.*?:([^:]+):\s+[Uwv]\s+(\S+)$", line)
        if match:
            yield match.group(1), match.group(2).split("@")[0]


def main():
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    reason_of = {name: reason for reason, names in FORBIDDEN.items()
                 for name in names.split()}
    if "--debug" in sys.argv:
        del reason_of["__assert_fail"]

    n_read = 0
    complaints = set()
    for where, name in referenced_names(arguments[0]):
        n_read += 1
        if name in reason_of:
            complaints.add(f"{where}: refers to {name}, which {reason_of[name]}")
    for complaint in sorted(complaints):
        print(complaint)
    if n_read == 0:
        sys.exit(f"{arguments[0]}: nm found no references: is this the library?")
    print(f"{n_read} references read, {len(complaints)} forbidden")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
