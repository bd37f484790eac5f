#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_readme.py - what README.md shows is what the repository has.

The listing that follows the words "`examples/NAME.c`" must be that file, byte for
byte, and every relative link in the Markdown pages must lead somewhere.

    check_readme.py [ROOT]
"""
import pathlib
import re
import sys

LISTING = re.compile(r"`(examples/\w+\.c)`[^`]*?\n```c\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def check(root):
    complaints = []
    listings = LISTING.findall((root / "README.md").read_text())
    if not listings:
        complaints.append("README.md: no listing of an example found")
    for name, text in listings:
        if not (root / name).is_file():
            complaints.append(f"README.md: shows {name}, which does not exist")
        elif (root / name).read_text() != text:
            complaints.append(f"README.md: the listing of {name} differs from the file")

    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md"),
             *(root / "models").glob("*.md")]
    for page in sorted(pages):
        for target in LINK.findall(page.read_text()):
            is_remote = re.match(r"[a-z]+:", target)
            if not is_remote and not (page.parent / target).exists():
                complaints.append(f"{page.relative_to(root)}: {target} leads nowhere")
    return complaints


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    complaints = check(pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else here)
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} complaints")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
