"""Tables of a real PostgreSQL server, which the tests start on a socket of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbpipe import Pipeline

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not os.environ.get("NBPIPE_DATABASES"),
        reason="other databases take a minute: make databases",
    ),
]

OWNER = "nobody" if hasattr(os, "geteuid") and os.geteuid() == 0 else None
"""The server refuses to run as root."""


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, user=OWNER)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server with an empty database."""
    import psycopg

    assert PROGRAMS, "PostgreSQL is not here: it is Debian's package postgresql"
    folder = Path(tempfile.mkdtemp(prefix="nbpipe-pg-"))  # a socket's path must be short
    if OWNER is not None:
        shutil.chown(folder, OWNER)
    programs, data = PROGRAMS[-1].parent, folder / "data"
    _run(programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync")
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=OWNER,
    )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(f"host={folder} user=postgres dbname=postgres").close()
                break
            except psycopg.OperationalError:
                assert server.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


SPEC = """\
meta:
  product_default_class: {SQLScript: PostgresRelation, SQLUpload: PostgresRelation}
clients:
  SQLScript: db.get
  SQLUpload: db.get
  SQLDump: db.get
  SQLTransfer: db.get
  PostgresCopyFrom: db.get
  PostgresRelation: db.get
tasks:
  - {source: rows.csv, class: SQLUpload, name: up, product: [public, rows, table],
     to_sql_kwargs: {if_exists: replace, index: false}}
  - {source: rows.parquet, class: PostgresCopyFrom, name: copied, product: [public, copied, table]}
  - {source: big.sql, product: [other, big, table]}
  - {source: best.sql, product: [other, best, view]}
  - {source: all.sql, name: chunks, class: SQLDump, product: chunks, chunksize: 2}
  - {source: all.sql, name: move, class: SQLTransfer, product: [moved, table],
     product_class: SQLiteRelation, product_client: db.lite}
  - {source: moved.sql, product: moved.csv, client: db.lite, chunksize: null}
"""

FILES = {
    "pipeline.yaml": SPEC,
    "rows.csv": "x,y\n1,a\n2,b\n3,c\n4,d\n",
    "big.sql": "CREATE SCHEMA IF NOT EXISTS other;\nDROP TABLE IF EXISTS {{product}} CASCADE;\n"
    "CREATE TABLE {{product}} AS SELECT rows.* FROM {{upstream['up']}} AS rows"
    " JOIN {{upstream['copied']}} AS copied USING (x) WHERE x > 1;",
    "best.sql": "CREATE OR REPLACE VIEW {{product}} AS SELECT * FROM {{upstream['big']}};",
    "all.sql": "SELECT * FROM {{upstream['best']}} ORDER BY x",
    "moved.sql": "SELECT * FROM {{upstream['move']}}",
}


@pytest.fixture
def root(address: str, tmp_path: Path) -> Path:
    import pandas

    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    pandas.DataFrame({"x": [1, 2, 3, 4]}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "db.py").write_text(
        "from nbpipe.clients import SQLAlchemyClient\n\n"
        f"def get():\n    return SQLAlchemyClient({address!r})\n\n"
        "def lite():\n    return SQLAlchemyClient('sqlite:///lite.db')\n"
    )
    return tmp_path


def _build(root: Path) -> list[str]:
    report = Pipeline.load(root).build()
    assert report.ok, report
    return sorted(report.named("ran"))


def test_tables_views_copies_dumps_and_transfers_of_a_real_server(root: Path, address: str) -> None:
    """A table in another schema that is dropped is made again, and all that reads it."""
    from nbpipe.clients import SQLAlchemyClient

    assert _build(root) == ["best", "big", "chunks", "copied", "move", "moved", "up"]
    made = sorted((root / "chunks").iterdir())
    assert [path.name for path in made] == ["0.csv", "1.csv"]
    assert made[1].read_text() == '"x","y"\n"4","d"\n'
    assert (root / "moved.csv").read_text() == '"x","y"\n"2","b"\n"3","c"\n"4","d"\n'
    assert _build(root) == []
    client = SQLAlchemyClient(address)
    client.execute("DROP TABLE other.big CASCADE")
    client.close()
    assert _build(root) == ["best", "big", "chunks", "move", "moved"]


def test_a_script_that_fails_changes_nothing(root: Path, address: str) -> None:
    """Its statements are one transaction, so the table of the last good run is still there."""
    from nbpipe.clients import SQLAlchemyClient

    assert Pipeline.load(root).build("big").ok
    (root / "big.sql").write_text("DROP TABLE {{product}} CASCADE; SELECT nope; -- big")
    report = Pipeline.load(root).build("big")
    assert 'column "nope" does not exist' in report.tasks["big"].failure.message
    client = SQLAlchemyClient(address)
    cursor = client.cursor()
    cursor.execute("SELECT COUNT(*) FROM other.big")
    assert cursor.fetchone() == (3,)
    client.close()
