"""Every prepared statement of the fleet parses, plans and is allowed for the role that runs it."""
from pathlib import Path

import pytest

from harness.settings import ROOT

pytestmark = pytest.mark.one_nats

ROLES = {"workers/adapter": "echora_adapter", "workers/catalogue": "echora_catalogue",
         "workers/dead_letters": "echora_deadletters"}
STATEMENTS = [(role, path) for folder, role in ROLES.items()
              for path in sorted((ROOT / folder / "sql").glob("*.sql"))]
STATEMENTS += [(role, path) for role in ("echora_catalogue", "echora_deadletters")
               for path in sorted((ROOT / "events/sql").glob("*.sql"))]
STATEMENTS += [("echora_owner" if path.name.startswith("migrate_") else "echora_reader", path)
               for path in sorted((ROOT / "ops/cli/sql").glob("*.sql"))]


@pytest.mark.parametrize("role, path", STATEMENTS, ids=[f"{p.parent.parent.name}/{p.stem}-{r.removeprefix('echora_')}" for r, p in STATEMENTS])
def test_statement_is_valid_for_its_role(db, role, path: Path):
    sql = path.read_text()
    with db.connect(role) as connection:
        connection.execute(f"PREPARE statement AS {sql}")
        (types,) = connection.execute("SELECT parameter_types::text[] FROM pg_prepared_statements").fetchone()
        # EXPLAIN of an execution checks the rights on every table without touching a row.
        arguments = ", ".join(f"NULL::{t}" for t in types)
        connection.execute(f"EXPLAIN EXECUTE statement{f'({arguments})' if types else ''}")
