#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install_packages.sh - the Debian packages that a job needs, and why.
#
#     scripts/install_packages.sh GROUP...     install what is missing of the groups
#     scripts/install_packages.sh --list       only print the table
#
# Installs nothing that is there already, asks nothing, and prints what it does.
# It needs root, or sudo, only when something is missing. Without either, install
# the packages it names by hand, or by other means: with none of Debian's tools
# on the machine the script steps aside and the build says what it lacks.
set -eu

packages() {
    cat <<'END'
build    ninja-build         runs the compiler, only for what changed
build    pkgconf             tells the build where the libraries below are
build    libpcre2-dev        regular expressions with Unicode classes: the tokenizer's split
build    libjansson-dev      JSON output of the program (not of the library)
build    systemtap-sdt-dev   one header: static probes for perf and bpftrace; optional
test     libcmocka-dev       the framework of the C tests
test     python3             drives the program's tests and the checks of the sources
test     g++                 checks that the headers work from C++
test     libglib2.0-dev      calls from its thread pool and main loop; optional
test     libsimde-dev        lets a test run the AVX-512 kernels on CPUs without it
test     spin                checks all orders of steps in a model of the thread pool
test     libuv1-dev          an event loop for an example, and calls from its threads; optional
bench    libuv1-dev          a job queue to be measured beside ours
bench    libglib2.0-dev      two more
bench    libtbb-dev          oneTBB: a job queue and a fork-join team beside ours
clang    clang-14            lock analysis at compile time, and the fuzzer
clang    clang-tidy-14       finds suspicious code
clang    clang-format-14     the one format of the sources
clang    libclang-rt-14-dev  the fuzzer's own library
valgrind valgrind            helgrind: lock order and data races; callgrind: instructions
arm64    gcc-aarch64-linux-gnu  compiles for 64-bit ARM on another machine
arm64    qemu-user           runs what it compiled
arm64    libpcre2-dev:arm64  what the library and its tests link there
arm64    libjansson-dev:arm64  the same
arm64    libcmocka-dev:arm64  the same
coverage gcovr               a table of the lines that the tests reach
END
}

list() {
    echo 'group    package             why'
    packages
}

is_installed() {
    # pkg-config was the name of pkgconf's package before Debian 12.
    case $1 in pkgconf) command -v pkg-config >/dev/null 2>&1 && return 0 ;; esac
    # One line per architecture that has it.
    case $1 in *:*) architecture=${1#*:} ;; *) architecture=$(dpkg --print-architecture) ;; esac
    dpkg-query -W -f '${Architecture} ${Status}\n' "$1" 2>/dev/null |
        grep -Eqx "($architecture|all) install ok installed"
}

[ $# -gt 0 ] || { echo "usage: $0 GROUP...|--list" >&2; exit 2; }
if [ "$1" = --list ]; then
    list
    exit 0
fi
for group in "$@"; do
    packages | grep -q "^$group " || {
        echo "$0: there is no group '$group' of packages; --list shows them" >&2
        exit 2
    }
done

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    echo 'This is not a Debian system: not installing packages. The build needs these:'
    list
    exit 0
fi

missing=
for group in "$@"; do
    for package in $(packages | awk -v group="$group" '$1 == group { print $2 }'); do
        is_installed "$package" || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

echo 'Installing what is missing, from the packages of Debian:'
for package in $missing; do
    packages | awk -v package="$package" '$2 == package { print "  " substr($0, 10) }'
done

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "This needs root. Run as root, then try again:" >&2
        echo "    apt-get install$missing" >&2
        exit 1
    fi
    as_root='sudo'
fi

# Packages of another kind of machine are only seen once dpkg has been told of it.
foreign=$(echo "$missing" | tr ' ' '\n' | sed -n 's/.*://p' | sort -u)
known="$(dpkg --print-architecture) $(dpkg --print-foreign-architectures)"
for architecture in $foreign; do
    echo "$known" | grep -qw "$architecture" && continue
    $as_root dpkg --add-architecture "$architecture"
done

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # both are lists of words
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
       apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "apt-get failed; its words are above. By hand, as root: apt-get install$missing" >&2
    exit 1
fi
