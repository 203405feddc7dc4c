#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""C and a descriptor set from probe.proto, by the same copy without proto3 `optional` as our contracts."""
import argparse
import importlib.util
import os
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def proto2c():
    path = os.path.join(HERE, "../../contracts/gen/proto2c.py")
    spec = importlib.util.spec_from_file_location("proto2c", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    parser = argparse.ArgumentParser()
    for name in ("protoc", "protoc-c", "include", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("file")
    args = parser.parse_args()
    name = os.path.basename(args.file)[:-len(".proto")]
    optional = proto2c().OPTIONAL
    with tempfile.TemporaryDirectory() as tmp:
        with open(args.file, encoding="utf-8") as source:
            text = optional.sub(r"\1oneof _\3 { \2 \3 = \4; }", source.read())
        with open(os.path.join(tmp, f"{name}.proto"), "w", encoding="utf-8") as copy:
            copy.write(text)
        subprocess.run([os.path.abspath(args.protoc_c), "--proto_path=.", f"--proto_path={args.include}",
                        f"--c_out={os.path.abspath(args.out)}", f"{name}.proto"], cwd=tmp, check=True)
    subprocess.run([args.protoc, f"--proto_path={os.path.dirname(os.path.abspath(args.file))}",
                    f"--proto_path={args.include}", "--include_imports",
                    f"--descriptor_set_out={args.out}/{name}.published.desc", os.path.abspath(args.file)],
                   check=True)
    # The well-known types lie flat where the contracts' copies are.
    path = os.path.join(args.out, f"{name}.pb-c.h")
    with open(path, encoding="utf-8") as header:
        text = header.read()
    for known in ("struct", "timestamp"):
        text = text.replace(f'"google/protobuf/{known}.pb-c.h"', f'"{known}.pb-c.h"')
    with open(path, "w", encoding="utf-8") as header:
        header.write("#pragma GCC system_header\n" + text)


if __name__ == "__main__":
    main()
