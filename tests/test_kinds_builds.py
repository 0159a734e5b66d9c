"""Scripts for bash and for databases, files that others make, downloads: built for real."""

from __future__ import annotations

import hashlib
import http.server
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nbpipe import Pipeline
from nbpipe.errors import SpecError

pytestmark = pytest.mark.process

DB = """
from nbpipe.clients import SQLAlchemyClient

def get():
    return SQLAlchemyClient({address!r})
"""


class Folder:
    """A project folder, and builds that tell what ran."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def build(self, **options: object) -> list[str]:
        """The tasks that ran; the build went well."""
        report = Pipeline.load(self.root).build(**options)
        assert report.ok, report
        return sorted(report.named("ran"))

    def failure(self, task: str):
        report = Pipeline.load(self.root).build()
        assert not report.ok
        return report.tasks[task].failure


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# --- bash -----------------------------------------------------------------------------------


@pytest.fixture
def shell(folder: Folder) -> Folder:
    folder.write(
        "pipeline.yaml",
        "tasks:\n- {source: get.sh, product: out/get.txt}\n"
        "- {source: use.sh, product: {one: out/1.txt, two: out/2.txt}, params: {word: hi}}\n",
    )
    folder.write("get.sh", "echo got > {{product}}\necho said")
    folder.write("use.sh", "cat {{upstream['get']}} > {{product['one']}}\n")
    folder.write("use.sh", folder.read("use.sh") + "echo {{word}} > {{product['two']}}\n")
    return folder


def test_scripts_for_bash_are_given_their_products_upstreams_and_params(shell: Folder) -> None:
    assert shell.build() == ["get", "use"]
    assert (shell.read("out/1.txt"), shell.read("out/2.txt")) == ("got\n", "hi\n")
    assert shell.build() == []
    shell.write("get.sh", "echo new > {{product}}\n")
    assert shell.build() == ["get", "use"]
    assert shell.read("out/1.txt") == "new\n"
    assert "said" in next((shell.root / ".nbpipe/runs").glob("*/get.log")).read_text()


def test_a_script_stops_at_the_first_command_that_fails(shell: Folder) -> None:
    shell.write("get.sh", "echo late > {{product}}\nfalse\ntouch never.txt\n")
    failure = shell.failure("get")
    assert (failure.error, failure.message) == ("ScriptFailed", "get.sh exited with status 1")
    assert not (shell.root / "never.txt").exists()


def test_a_script_is_ended_with_all_that_it_has_started(shell: Folder) -> None:
    text = "tasks:\n- {source: get.sh, product: out/get.txt, timeout: 2}\n"
    shell.write("pipeline.yaml", text)
    shell.write("get.sh", "sleep 987654 &\nsleep 987654\necho > {{product}}\n")
    assert shell.failure("get").error == "Timeout"
    end = time.monotonic() + 30
    while _sleeping() and time.monotonic() < end:
        time.sleep(0.1)
    assert not _sleeping()


def _sleeping() -> list[int]:
    lines = [(p.pid, p.info["cmdline"]) for p in psutil.process_iter(["cmdline"])]
    return [pid for pid, line in lines if line == ["sleep", "987654"]]


def test_an_unknown_placeholder_fails_the_task_alone(shell: Folder) -> None:
    shell.write("use.sh", "cat {{upstream['get']}} {{nope}} > {{product}}")
    failure = shell.failure("use")
    assert (failure.error, failure.message) == ("UndefinedError", "'nope' is undefined")


# --- databases ------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "duckdb"])
def database(request: pytest.FixtureRequest, folder: Folder) -> Folder:
    if request.param == "duckdb" and not os.environ.get("NBPIPE_DATABASES"):
        pytest.skip("other databases take a minute: make databases")
    folder.write("db.py", DB.format(address=f"{request.param}:///data.db"))
    folder.write(
        "pipeline.yaml",
        "clients: {SQLScript: db.get, SQLDump: db.get, SQLUpload: db.get}\n"
        "tasks:\n"
        "- {source: rows.csv, class: SQLUpload, name: up, product: [rows, table],"
        " to_sql_kwargs: {if_exists: replace, index: false}}\n"
        "- {source: big.sql, product: [main, big, table], params: {least: 2}}\n"
        "- {source: all.sql, name: dump, product: big.parquet, chunksize: null}\n",
    )
    folder.write("rows.csv", "x,y\n1,a\n2,b\n3,c\n")
    folder.write(
        "big.sql",
        "DROP TABLE IF EXISTS {{product}};\n"
        "CREATE TABLE {{product}} AS SELECT * FROM {{upstream['up']}} WHERE x >= {{least}};",
    )
    folder.write("all.sql", "SELECT * FROM {{upstream['big']}} ORDER BY x")
    return folder


def test_tables_are_made_dumped_and_made_again_when_they_must_be(database: Folder) -> None:
    """An edit of the uploaded file counts; so does a table that somebody has dropped."""
    import pandas

    assert database.build() == ["big", "dump", "up"]
    assert pandas.read_parquet(database.root / "big.parquet")["y"].tolist() == ["b", "c"]
    assert database.build() == []
    database.write("rows.csv", "x,y\n5,e\n")
    assert database.build() == ["big", "dump", "up"]
    database.write("all.sql", "-- all\n" + database.read("all.sql"))
    assert database.build() == []
    _execute(database, "DROP TABLE big")
    assert database.build() == ["big", "dump"]


def _execute(folder: Folder, statement: str) -> None:
    scope: dict[str, object] = {}
    text = folder.read("db.py").replace("///data.db", f"///{folder.root / 'data.db'}")
    exec(text, scope)
    client = scope["get"]()
    client.execute(statement)
    client.close()


@pytest.fixture
def one(folder: Folder) -> Folder:
    """One script that makes a table in SQLite."""
    folder.write("db.py", DB.format(address="sqlite:///data.db"))
    folder.write(
        "pipeline.yaml",
        "clients: {SQLScript: db.get}\ntasks:\n- {source: t.sql, product: [t, table]}\n",
    )
    folder.write("t.sql", "CREATE TABLE {{product}} AS SELECT 1 AS x")
    return folder


def test_a_script_that_does_not_make_its_table_has_failed(one: Folder) -> None:
    one.write("t.sql", "CREATE TABLE other AS SELECT 1 AS x")
    failure = one.failure("t")
    assert failure.error == "MissingRelation"
    assert failure.message == "the task ended well, but there is no table t"


def test_an_error_of_the_database_fails_the_task(one: Folder) -> None:
    one.write("t.sql", "CREATE TABLE {{product}} AS SELECT * FROM nope")
    assert "no such table: nope" in one.failure("t").message


def test_a_database_that_cannot_be_reached_ends_a_build_before_anything_runs(
    one: Folder,
) -> None:
    one.build()
    one.write("db.py", "def get():\n    raise OSError('the server is down')\n")
    with pytest.raises(SpecError, match="the server is down"):
        Pipeline.load(one.root).build()


def test_a_store_does_not_stand_for_a_database(one: Folder, tmp_path: Path) -> None:
    """Another checkout has a database of its own, in which the table is yet to be made."""
    store = str(tmp_path / "store")
    assert one.build(store=store) == ["t"]
    other = Folder(tmp_path / "other")
    for name in ("db.py", "pipeline.yaml", "t.sql"):
        other.write(name, one.read(name))
    assert other.build(store=store) == ["t"]


def test_hooks_are_given_the_client_and_the_name_of_the_table(one: Folder) -> None:
    one.write(
        "pipeline.yaml", one.read("pipeline.yaml").replace("table]}", "table], on_finish: h.see}")
    )
    one.write(
        "h.py",
        "def see(client, product):\n"
        "    rows = client.cursor().execute(f'SELECT * FROM {product}').fetchall()\n"
        "    open('seen.txt', 'w').write(str(rows))\n",
    )
    assert one.build() == ["t"]
    assert one.read("seen.txt") == "[(1,)]"


def test_a_function_may_make_a_table_and_a_notebook_is_told_its_name(one: Folder) -> None:
    one.write(
        "pipeline.yaml",
        "clients: {SQLRelation: db.get}\ntasks:\n"
        "- {source: m.make, product: [t, table], product_class: SQLRelation}\n"
        "- {source: m.read, product: out.txt}\n",
    )
    one.write(
        "m.py",
        "import sqlite3\n\ndef make(product):\n    c = sqlite3.connect('data.db')\n"
        "    c.execute(f'DROP TABLE IF EXISTS {product}')\n"
        "    c.execute(f'CREATE TABLE {product} (x)')\n"
        "def read(product, upstream):\n    open(product, 'w').write(upstream['make'])\n",
    )
    assert one.build() == ["make", "read"]
    assert one.read("out.txt") == "t"
    connection = sqlite3.connect(one.root / "data.db")
    connection.execute("DROP TABLE t")
    connection.close()
    assert one.build() == ["make", "read"]


def test_a_dump_that_fails_leaves_the_old_one(one: Folder) -> None:
    one.write(
        "pipeline.yaml",
        "tasks:\n- {source: t.sql, product: t.csv, client: db.get, chunksize: null}\n",
    )
    one.write("t.sql", "SELECT 1 AS x")
    one.build()
    assert one.read("t.csv") == '"x"\n"1"\n'
    one.write("t.sql", "SELECT nope")
    assert "no such column" in one.failure("t").message
    assert one.read("t.csv") == '"x"\n"1"\n'
    assert sorted(path.name for path in one.root.glob(".nbpipe-*")) == []


def test_macros_come_from_the_folder_of_the_source_loader(one: Folder) -> None:
    """And an edit of theirs is a reason to run."""
    one.write(
        "pipeline.yaml",
        "meta: {source_loader: {path: sql}}\n"
        "tasks:\n- {source: t.sql, product: t.csv, client: db.get, chunksize: null}\n",
    )
    one.write("sql/t.sql", "{% import 'm.sql' as m %}SELECT {{ m.one() }}")
    one.write("sql/m.sql", "{% macro one() %}1 AS x{% endmacro %}")
    assert one.build() == ["t"]
    one.write("sql/m.sql", "{% macro one() %}2 AS x{% endmacro %}")
    assert one.build() == ["t"]
    assert one.read("t.csv") == '"x"\n"2"\n'


# --- files ----------------------------------------------------------------------------------


@pytest.fixture
def linked(folder: Folder) -> Folder:
    folder.write(
        "pipeline.yaml",
        "meta: {extract_upstream: false}\ntasks:\n- {class: Link, name: data, product: data.txt}\n"
        "- {source: m.use, product: out.txt, upstream: data}\n",
    )
    folder.write("data.txt", "one")
    folder.write(
        "m.py",
        "from pathlib import Path\n\ndef use(product, upstream):\n"
        "    Path(product).write_text(Path(upstream['data']).read_text().upper())\n",
    )
    return folder


def test_a_link_follows_a_file_that_others_make(linked: Folder) -> None:
    assert linked.build() == ["data", "use"]
    assert linked.build() == []
    linked.write("data.txt", "two")
    assert linked.build() == ["data", "use"]
    assert linked.read("out.txt") == "TWO"


def test_a_link_to_nothing_fails(linked: Folder) -> None:
    (linked.root / "data.txt").unlink()
    assert linked.failure("data").error == "ProductMissing"


def test_a_store_does_not_bring_back_what_a_link_was(linked: Folder, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    linked.build(store=store)
    linked.write("data.txt", "two")
    linked.build(store=store)
    linked.write("data.txt", "one")
    assert linked.build(store=store) == ["data"]
    assert (linked.read("data.txt"), linked.read("out.txt")) == ("one", "ONE")


def test_an_input_counts_as_new_in_every_build(linked: Folder) -> None:
    linked.write("pipeline.yaml", linked.read("pipeline.yaml").replace("Link", "Input"))
    assert [linked.build(), linked.build()] == [["data", "use"], ["data", "use"]]


def test_a_product_may_be_a_folder(folder: Folder) -> None:
    folder.write(
        "pipeline.yaml",
        "tasks:\n- {source: m.make, product: parts}\n- {source: use.sh, product: out.txt}\n",
    )
    folder.write(
        "m.py",
        "from pathlib import Path\n\ndef make(product):\n    Path(product).mkdir(exist_ok=True)\n"
        "    Path(product, 'a.txt').write_text('a')\n",
    )
    folder.write("use.sh", "cat {{upstream['make']}}/*.txt > {{product}}")
    assert folder.build() == ["make", "use"]
    folder.write("parts/b.txt", "b")
    assert folder.build() == ["make", "use"]


def test_a_generic_product_is_there_when_its_task_says_so(folder: Folder) -> None:
    folder.write(
        "pipeline.yaml",
        "tasks:\n- {source: m.tell, product: a message, product_class: GenericProduct}\n"
        "- {source: m.after, product: out.txt}\n",
    )
    folder.write(
        "m.py",
        "def tell(product):\n    print(product)\n\n"
        "def after(product, upstream):\n    open(product, 'w').write(upstream['tell'])\n",
    )
    assert folder.build() == ["after", "tell"]
    assert folder.read("out.txt") == "a message"
    assert folder.build() == []


# --- downloads ------------------------------------------------------------------------------


class Files(http.server.BaseHTTPRequestHandler):
    content = b"what is on the server"

    def do_GET(self) -> None:
        there = self.path == "/data.txt"
        self.send_response(200 if there else 404)
        self.end_headers()
        self.wfile.write(self.content if there else b"")

    def log_message(self, *said: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_a_download_is_made_once_and_checked(folder: Folder, server: str) -> None:
    digest = hashlib.sha256(Files.content).hexdigest()
    text = (
        "tasks:\n- class: DownloadFromURL\n  source: {server}/data.txt\n  name: get\n"
        "  product: out/data.txt\n  sha256: {digest}\n"
    )
    folder.write("pipeline.yaml", text.format(server=server, digest=digest))
    assert folder.build() == ["get"]
    assert folder.read("out/data.txt") == "what is on the server"
    assert folder.build() == []
    folder.write("pipeline.yaml", text.format(server=server, digest="f" * 64))
    failure = folder.failure("get")
    assert failure.error == "WrongDigest"
    assert digest in failure.message
    assert folder.read("out/data.txt") == "what is on the server"
    folder.write("pipeline.yaml", text.format(server=f"{server}/nope", digest=digest))
    assert "404" in folder.failure("get").message
