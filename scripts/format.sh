#!/bin/sh
# SPDX-License-Identifier: MIT
#
# format.sh - clang-format over every C and C++ source; --check changes nothing
# and fails if something would change.
set -eu
cd "$(dirname "$0")/.."

mode=-i
[ "${1:-}" != --check ] || mode='--dry-run --Werror'
# shellcheck disable=SC2086  # two words
find include src apps examples tests bench -name '*.[ch]' -print0 |
    xargs -0 -r clang-format-14 --style=file $mode
