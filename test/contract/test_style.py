"""Each check of test/style.py turns red on a planted fault, and only then."""
import importlib.util
from pathlib import Path

import pytest

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"


@pytest.fixture
def style(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("style", Path(__file__).parents[1] / "style.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


FAULTS = [
    ("include-direction", "events/base/a.c", '#include "events/log.h"\n'),
    ("include-direction", "contracts/a.c", '#include "events/log.h"\n'),
    ("include-direction", "events/a.c", '#include "outbox/append.h"\n'),
    ("include-direction", "outbox/a.c", '#include "workers/catalogue/x.h"\n'),
    ("include-direction", "workers/a/a.c", '#include "workers/b/x.h"\n'),
    ("banned-calls", "events/a.c", "strcpy(a, b);\n"),
    ("banned-calls", "events/a.c", "x = strerror (errno);\n"),
    ("banned-calls", "events/a.c", "usleep(1);\n"),
    ("banned-calls", "events/a.c", "strcpy(a, b); /* style: allow strcat, for a reason */\n"),
    ("banned-calls", "events/a.c", "strcpy(a, b); /* style: allow strcpy */\n"),
    ("library-borders", "events/a.c", 'getenv("HOME");\n'),
    ("library-borders", "workers/a/a.c", "#include <nats/nats.h>\n"),
    ("library-borders", "workers/a/a.c", "PQexec(c, q);\n"),
    ("library-borders", "outbox/a.c", "PQsendQueryPrepared(c);\n"),
    ("library-borders", "workers/a/a.c", "curl_easy_init();\n"),
    ("library-borders", "events/a.c", "exit(1);\n"),
    ("goto-or-cleanup", "events/a.c", "char *p CLEANUP(freep) = NULL;\ngoto out;\n"),
    ("no-loose-ends", "events/a.c", "/* TO" "DO: later */\n"),
    ("line-hygiene", "events/a.c", "int a; \n"),
    ("line-hygiene", "events/a.c", "\tint a;\n"),
    ("line-hygiene", "events/a.c", "int a;"),
    ("no-local-paths", "events/a.c", "/" "work/main/x\n"),
    ("scripts-parse", "ops/a.py", "def (:\n"),
    ("migration-numbers", "ops/migrations/1_a.sql", "-- why\n"),
]

GOOD = [
    ("include-direction", "workers/a/a.c", '#include "workers/a/x.h"\n#include "outbox/append.h"\n'),
    ("banned-calls", "events/a.c", '/* strcpy(a, b) */ x = "strcpy(a)"; my_strcpy(a); s.system(1);\n'),
    ("banned-calls", "events/a.c", "strcpy(a, b); /* style: allow strcpy, for a reason */\n"),
    ("banned-calls", "events/a.c", "/* style: allow strcpy, for a reason */\nstrcpy(a, b);\n"),
    ("library-borders", "events/option.c", 'getenv("ECHORA_X");\n'),
    ("library-borders", "events/bus.c", "#include <nats/nats.h>\n"),
    ("library-borders", "events/pg_x.c", "PQexec(c, q);\n"),
    ("library-borders", "workers/a/a.c", "PQntuples(r); my_exit(1);\n"),
    ("goto-or-cleanup", "events/a.c", "goto out; /* CLEANUP( */\n"),
]


def faults(style, tmp_path, check, name, text):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(style.CHECKS[check]())


@pytest.mark.parametrize("check,name,text", FAULTS)
def test_fault_is_seen(style, tmp_path, check, name, text):
    found = faults(style, tmp_path, check, name, text)
    assert len(found) == 1 and found[0].startswith(f"{name}:")


@pytest.mark.parametrize("check,name,text", GOOD)
def test_good_code_passes(style, tmp_path, check, name, text):
    assert faults(style, tmp_path, check, name, text) == []


def test_licence_and_format(style, tmp_path):
    assert faults(style, tmp_path, "licence-line", "events/a.c", "int a;\n")
    assert not faults(style, tmp_path, "licence-line", "events/a.c", SPDX + "int a;\n")
    assert faults(style, tmp_path, "c-format", "events/a.c", "int  a ;\n")
    assert not faults(style, tmp_path, "c-format", "events/a.c", "int a;\n")
