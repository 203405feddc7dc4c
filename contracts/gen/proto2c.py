#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes C from the published .proto files, by way of copies that protoc-c takes.

usage: proto2c.py --protoc PROTOC --protoc-c PROTOC_C --include DIR --root DIR --out DIR FILE...

protoc-c 1.4 refuses proto3 `optional`. So in the copies `optional T f = n;` stands as
`oneof _f { T f = n; }`, which has the same wire form. The copies lie flat in one folder, so that
the outputs do, too. FILE names a proto below --root, or below --include (google/protobuf/...).

Also writes published.desc and transformed.desc, the two descriptor sets that a test compares.
"""
import argparse
import os
import re
import subprocess
import tempfile

OPTIONAL = re.compile(r"^(\s*)optional\s+(\S+)\s+(\w+)\s*=\s*(\d+)\s*;", re.M)
IMPORT = re.compile(r'^import\s+"([^"]+)";', re.M)
# Generated code is not ours to fix: the compiler treats it as a system header.
SYSTEM = "#pragma GCC system_header\n"


def transform(text):
    text = OPTIONAL.sub(r"\1oneof _\3 { \2 \3 = \4; }", text)
    return IMPORT.sub(lambda m: f'import "{os.path.basename(m.group(1))}";', text)


def main():
    parser = argparse.ArgumentParser()
    for name in ("protoc", "protoc-c", "include", "root", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as tmp:
        names = []
        for name in args.files:
            path = os.path.join(args.root, name)
            if not os.path.exists(path):
                path = os.path.join(args.include, name)
            with open(path, encoding="utf-8") as source:
                text = transform(source.read())
            names.append(os.path.basename(name))
            with open(os.path.join(tmp, names[-1]), "w", encoding="utf-8") as copy:
                copy.write(text)
        # The working directory makes the imports' names, and so the #include lines, flat.
        subprocess.run([os.path.abspath(args.protoc_c), "--proto_path=.",
                        f"--c_out={os.path.abspath(args.out)}", *names], cwd=tmp, check=True)
        subprocess.run([args.protoc, f"--proto_path={tmp}", "--include_imports",
                        f"--descriptor_set_out={args.out}/transformed.desc",
                        *(os.path.join(tmp, n) for n in names)], check=True)
    published = [n for n in args.files if os.path.exists(os.path.join(args.root, n))]
    subprocess.run([args.protoc, f"--proto_path={args.root}", f"--proto_path={args.include}",
                    "--include_imports", f"--descriptor_set_out={args.out}/published.desc",
                    *published], check=True)

    for name in names:
        path = os.path.join(args.out, name.replace(".proto", ".pb-c.h"))
        with open(path, encoding="utf-8") as header:
            text = header.read()
        with open(path, "w", encoding="utf-8") as header:
            header.write(SYSTEM + text)


if __name__ == "__main__":
    main()
