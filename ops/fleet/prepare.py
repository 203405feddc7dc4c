#!/usr/bin/env python3
"""Makes the state folder and prints its real path.

usage: prepare.py DIR

Started by root from a checkout that the servers' account can't enter (a root-only home, say), DIR
becomes a symbolic link to a folder below /var/lib/echora that it can.
"""
import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from ops.fleet import system  # noqa: E402


def prepare(folder):
    folder = Path(folder).absolute()
    if not folder.exists():
        if not system.reachable(folder.parent):
            name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
            target = Path("/var/lib/echora") / name
            target.mkdir(parents=True, exist_ok=True)
            if folder.is_symlink():
                folder.unlink()
            folder.symlink_to(target)
        else:
            folder.mkdir(parents=True)
    folder = folder.resolve()
    if not system.reachable(folder):
        raise SystemExit(f"{folder}: the account `{system.account()[0]}` can't enter it; "
                         "choose another folder with --state")
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.umask(0o022)
    print(prepare(sys.argv[1]))
