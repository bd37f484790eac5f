#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_includes.py - the layers, as the #include lines have them.

Fails on an edge that is not in the table below, which is the one of
docs/architecture.md. Tests and benchmarks may look anywhere.

    check_includes.py [ROOT]
"""
import pathlib
import re
import sys

# layer: (what its files may include by "layer/..."; nothing else but its own)
LAYERS = {
    "base": [],
    "threads": ["base/"],
    "kernels": ["base/"],
    "formats": ["base/"],
    "model": ["base/", "formats/", "threads/", "kernels/kernels.h"],
    "engine": ["base/", "formats/", "threads/", "kernels/", "model/"],
}

# Public headers stand on these and on each other.
C_HEADERS = {"stdbool.h", "stddef.h", "stdint.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(path):
    """Yields (line number, '<' or '"', name) of each #include."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def layer_edge_is_allowed(layer, bracket, name):
    if bracket == "<":
        # ThreadSanitizer cannot follow C11 threads, so the library has none of them;
        # kernels are pure functions and never see a thread or a file.
        forbidden = {"threads.h"}
        if layer == "kernels":
            forbidden |= {"pthread.h", "stdatomic.h", "unistd.h", "fcntl.h"}
        return name not in forbidden
    return any(name.startswith(allowed) for allowed in [layer + "/", *LAYERS[layer]])


def public_edge_is_allowed(bracket, name):
    return bracket == "<" and (name in C_HEADERS or name.startswith("bitnet/"))


def program_edge_is_allowed(path, bracket, name):
    """Programs see the installed headers, and files of their own folder."""
    if bracket == "<":
        return not any(name.startswith(layer + "/") for layer in LAYERS)
    return "/" not in name and (path.parent / name).is_file()


def check(root):
    """Returns the list of complaints, and how many files were read."""
    complaints = []
    n_files = 0

    def check_file(path, is_allowed, who):
        nonlocal n_files
        n_files += 1
        for number, bracket, name in includes(path):
            if not is_allowed(bracket, name):
                where = f"{path.relative_to(root)}:{number}"
                complaints.append(f"{where}: {who} may not include {name}")

    def files(folder):
        return sorted(p for p in (root / folder).rglob("*") if p.suffix in (".c", ".h"))

    for path in files("include"):
        check_file(path, public_edge_is_allowed, "a public header")
    for path in files("src"):
        layer = path.relative_to(root / "src").parts[0]
        if layer not in LAYERS:
            complaints.append(f"{path.relative_to(root)}: {layer} is not a layer")
            continue
        check_file(path, lambda b, n, layer=layer: layer_edge_is_allowed(layer, b, n),
                   f"the layer {layer}")
    for path in files("apps") + files("examples"):
        check_file(path, lambda b, n, path=path: program_edge_is_allowed(path, b, n),
                   "a program")
    return complaints, n_files


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    root = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else here
    complaints, n_files = check(root)
    for complaint in complaints:
        print(complaint)
    if n_files == 0:
        sys.exit(f"{root}: no sources found")
    print(f"{n_files} files read, {len(complaints)} forbidden includes")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
