"""Where things are. ECHORA_BUILD names another build folder (test/run sets it for sanitizer builds)."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("ECHORA_BUILD", ROOT / "build")).resolve()
STATE = Path(os.environ.get("ECHORA_STATE", ROOT / ".echora")).resolve()
TOOLS = STATE / "tools/bin"
VENV = STATE / "venv"
QDRANT_FRONT = ROOT / "ops/qdrant-edge/serve.py"
CI = os.environ.get("CI") == "true"
PATIENCE = 3 if CI else 1  # suites run side by side there: a bound that a quiet machine keeps is given more
LONG = os.environ.get("ECHORA_CHAOS") == "long"  # test/run --chaos


def data_folder():
    """The folder with real catalogue data beside the checkout, or None."""
    for candidate in (os.environ.get("ECHORA_DATA"), ROOT.parent / "shared/data/catalogue"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    return None
