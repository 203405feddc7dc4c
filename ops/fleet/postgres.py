"""A PostgreSQL cluster of our own: initdb, settings, roles, database. Password logins over loopback only."""
import os
import subprocess
from pathlib import Path

from . import system

ROLES = ("echora_owner", "echora_catalogue", "echora_relay", "echora_deadletters", "echora_adapter", "echora_reader")
SUPERUSER = "postgres"

SETTINGS = """\
# Written by ops/fleet. Everything else is PostgreSQL's default, fsync included.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
wal_level = replica
password_encryption = scram-sha-256
log_line_prefix = '%m [%p] %u@%d '
timezone = 'UTC'
log_timezone = 'UTC'
"""


def binaries():
    """The folder with initdb and postgres, newest major first (15 or later)."""
    base = Path("/usr/lib/postgresql")
    majors = sorted((int(p.name) for p in base.glob("*") if p.name.isdigit()), reverse=True) \
        if base.is_dir() else []
    for major in majors:
        if major >= 15 and (base / str(major) / "bin/initdb").exists():
            return base / str(major) / "bin"
    found = system.find("initdb")
    if found:
        return Path(found).resolve().parent
    raise SystemExit("PostgreSQL 15 or later is not installed: run ops/install")


def initdb(data, password):
    """Makes a cluster in `data`, whose parent belongs to account()."""
    data = Path(data)
    pwfile = data.parent / (data.name + ".pw")
    system.write_private(pwfile, password + "\n")
    try:
        system.run([str(binaries() / "initdb"), "-D", str(data), "-U", SUPERUSER, "-E", "UTF8",
                    "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={pwfile}", "--no-instructions"],
                   cwd=str(data.parent), env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                   **system.drop())
    finally:
        pwfile.unlink(missing_ok=True)
    (data / "echora.conf").write_text(SETTINGS)
    system.own(data / "echora.conf")
    with open(data / "postgresql.conf", "a") as f:
        f.write("include 'echora.conf'\n")


def command(data, port):
    return [str(binaries() / "postgres"), "-D", str(data), "-p", str(port)]


def psql(port, password, database=SUPERUSER, user=SUPERUSER, script=None, files=(), variables=None,
         host="127.0.0.1"):
    """Runs SQL with psql, each file in one transaction; passwords never stand in argv."""
    env = dict(os.environ, PGPASSWORD=password, PGCONNECT_TIMEOUT="5")
    argv = [str(binaries() / "psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", host,
            "-p", str(port), "-U", user, "-d", database]
    text = "".join(f"\\set {k} '{v}'\n" for k, v in (variables or {}).items())
    if files:
        text += "".join(f"\\i '{f}'\n" for f in files)
        argv.append("-1")
    text += script or ""
    return system.run(argv + ["-f", "-"], env=env, input=text)


def ready(port):
    return subprocess.run([str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)],
                          stdin=subprocess.DEVNULL).returncode == 0


def create_roles(port, superuser_password, passwords, **options):
    """Roles with their settings and passwords; repeatable. options: host, user of psql()."""
    psql(port, superuser_password, **options, files=[system.ROOT / "ops/postgres/roles.sql"],
         variables={f"{role}_password": passwords[role] for role in ROLES})


def create_database(port, superuser_password, name="echora", template=None, **options):
    """The database, owned by echora_owner and closed to everyone without a role of ours; repeatable."""
    exists = psql(port, superuser_password, **options,
                  script=f"SELECT 1 FROM pg_database WHERE datname = '{name}';").strip()
    if not exists:
        psql(port, superuser_password, **options,
             script=f"CREATE DATABASE {name} OWNER echora_owner TEMPLATE {template or 'template0'};")
    psql(port, superuser_password, **options, files=[system.ROOT / "ops/postgres/database.sql"],
         variables={"database": name})
    psql(port, superuser_password, **options, database=name, files=[system.ROOT / "ops/postgres/functions.sql"])


def migration_files():
    return sorted((system.ROOT / "ops/migrations").glob("[0-9]*.sql"))
