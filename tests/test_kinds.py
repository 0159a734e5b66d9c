"""Tasks that are neither notebooks nor functions, as the spec describes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nbpipe import Pipeline, testing
from nbpipe.clients import DBAPIClient, LocalStorageClient, S3Client, SQLAlchemyClient, statements
from nbpipe.compat.environment import with_env
from nbpipe.core.model import Job, Task
from nbpipe.core.options import Call
from nbpipe.core.work import Relation, ScriptWork
from nbpipe.errors import SpecError, UsageError
from nbpipe.executors import sql, templates
from nbpipe.store.scripts import script_code, script_declared, template_digests
from nbpipe.store.specfile import read_spec

CLIENTS = "clients: {SQLScript: db.get, SQLDump: db.get, SQLUpload: db.get, SQLTransfer: db.get}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.sql", "b.sql", "a.sh", "a.csv"):
        (tmp_path / name).write_text("{{product}}")
    (tmp_path / "db.py").write_text("def get(): ...\ndef other(): ...\n")
    (tmp_path / "m.py").write_text("def f(product): ...\n")
    return tmp_path


def task_of(folder: Path, text: str) -> Task:
    (folder / "pipeline.yaml").write_text(text)
    return read_spec(folder / "pipeline.yaml").tasks[0]


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as caught:
        task_of(folder, text)
    return str(caught.value)


# --- what a source and a product say --------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "tool"),
    [
        ("source: a.sh, product: x", "shell"),
        ("source: a.sql, product: [x, table]", "sql"),
        ("source: a.sql, product: x.csv", "dump"),
        ("source: a.sql, product: x.parquet", "dump"),
        ("source: a.sql, product: folder, class: SQLDump", "dump"),
        ("source: a.sql, product: [x, view], class: SQLTransfer", "transfer"),
        ("source: a.csv, product: [x, table], class: SQLUpload", "upload"),
        ("source: 'http://a/b', product: x, class: DownloadFromURL, name: d", "download"),
        ("class: Link, product: a.csv", "link"),
        ("class: Input, product: a.csv", "input"),
    ],
)
def test_class_source_and_product_tell_what_does_the_work(
    folder: Path, entry: str, tool: str
) -> None:
    task = task_of(folder, f"{CLIENTS}tasks:\n- {{{entry}}}\n")
    assert (task.kind, task.work.tool) == ("script", tool)


@pytest.mark.parametrize(
    ("product", "text", "kind"),
    [
        ("[x, table]", "x", "table"),
        ("[s, x, view]", "s.x", "view"),
        ("[null, x, view]", "x", "view"),
    ],
)
def test_a_relation_has_a_schema_a_name_and_a_kind(
    folder: Path, product: str, text: str, kind: str
) -> None:
    task = task_of(folder, f"{CLIENTS}tasks:\n- {{source: a.sql, product: {product}}}\n")
    relation = task.relations[task.product]
    assert (relation.text, relation.kind, relation.client) == (text, kind, Call("db.get"))
    assert task.given() == text


def test_relations_may_be_named_and_come_of_a_grid(folder: Path) -> None:
    text = (
        f"{CLIENTS}tasks:\n- source: a.sql\n  name: t-[[part]]\n  grid: {{part: [a, b]}}\n"
        '  product: {one: [x, table], two: ["y_[[part]]", view]}\n'
    )
    task_of(folder, text)
    tasks = read_spec(folder / "pipeline.yaml").tasks
    assert [task.name for task in tasks] == ["t-a", "t-b"]
    assert [task.given() for task in tasks] == [
        {"one": "x-0", "two": "y_a-0"},
        {"one": "x-1", "two": "y_b-1"},
    ]


def test_the_nearest_client_is_taken(folder: Path) -> None:
    own = task_of(
        folder, f"{CLIENTS}tasks:\n- {{source: a.sql, product: [x, table], client: db.other}}\n"
    )
    assert own.work.client == Call("db.other")
    moved = "source: a.sql, class: SQLTransfer, product: [x, table], product_client: db.other"
    task = task_of(folder, f"{CLIENTS}tasks:\n- {{{moved}}}\n")
    assert (task.work.client, task.relations[task.product].client) == (
        Call("db.get"),
        Call("db.other"),
    )


def test_a_client_of_the_products_class_goes_before_that_of_the_task(folder: Path) -> None:
    text = (
        "meta: {product_default_class: {SQLScript: SQLiteRelation}}\n"
        "clients: {SQLScript: db.get, SQLiteRelation: {dotted_path: db.other, a: 1}}\n"
        "tasks:\n- {source: a.sql, product: [x, table]}\n"
    )
    task = task_of(folder, text)
    assert task.relations[task.product].client == Call("db.other", {"a": 1})


def test_a_dump_has_parts_unless_it_is_told_otherwise(folder: Path) -> None:
    entry = f"{CLIENTS}tasks:\n- {{source: a.sql, product: x.csv"
    assert task_of(folder, f"{entry}}}\n").work.chunksize == 10_000
    assert task_of(folder, f"{entry}, chunksize: null}}\n").work.chunksize is None


def test_an_upload_may_read_what_another_task_makes(folder: Path) -> None:
    text = (
        f"{CLIENTS}tasks:\n- {{source: m.f, product: out/x.csv}}\n"
        "- {source: out/x.csv, class: SQLUpload, name: up, product: [x, table], upstream: f}\n"
    )
    (folder / "pipeline.yaml").write_text(text)
    assert Pipeline.load(folder).graph.upstream["up"] == ("f",)


def test_all_functions_have_the_serializers_of_the_spec_and_may_have_their_own(
    folder: Path,
) -> None:
    text = (
        "serializer: m.write\nunserializer: m.read\ntasks:\n"
        "- {source: m.f, product: x, serializer: m.other}\n"
    )
    found = task_of(folder, text).serializing
    assert (found.write, found.read) == (Call("m.other"), Call("m.read"))


ONE = "tasks:\n- {source: a.sql, product: [x, table]}\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (ONE, "has no client\n  hint: write 'clients: {SQLScript: module.function}'"),
        ("clients: {SQLScrpt: db.get}\n" + ONE, "did you mean 'SQLScript'?"),
        ("clients: {SQLScript: db}\n" + ONE, "'db' names no function"),
        ("clients: {ShellScript: db.get}\n" + ONE, "clients of a ShellScript are not supported"),
        (CLIENTS + "tasks:\n- {source: a.sql, product: [x, tabel]}", "did you mean 'table'?"),
        (CLIENTS + "tasks:\n- {source: a.sql, product: [x]}", "names no table or view"),
        (CLIENTS + "tasks:\n- {source: a.sql, product: x.txt}", "but the product is a table"),
        (CLIENTS + "tasks:\n- {source: m.f, product: [x, table]}", "product_class: SQLRelation"),
        (
            CLIENTS + "tasks:\n- {source: a.sql, product: [x, table]}\n"
            "- {source: b.sql, product: [x, table]}",
            "'x' is already the product on line 3",
        ),
        ("tasks:\n- {source: a.sh, product: x, chunksize: 3}", "'chunksize' means nothing for"),
        ("tasks:\n- {source: m.f, product: x, client: db.get}", "'client' means nothing for"),
        ("tasks:\n- {source: m.f, product: x, product_client: db.get}", "clients: {File: module"),
        ("tasks:\n- {source: a.sh, product: x, serializer: m.f}", "is for functions"),
        ("tasks:\n- {source: m.f, product: x, serializer: m}", "'m' names no function"),
        ("tasks:\n- {product: x}", "key 'source' is missing"),
        ("tasks:\n- {class: Link}", "names no product"),
        ("tasks:\n- {class: Input, product: x, upstream: a}", "others make this file"),
        ("tasks:\n- {source: u, class: DownloadFromURL, product: x, sha256: ab}", "is no digest"),
        (CLIENTS + "tasks:\n- {source: a.sql, product: x.csv, io_handler: xls}", "is no format"),
        ("tasks:\n- {source: a.csv, class: UploadToS3}", "UploadToS3 tasks are not supported yet"),
        ("tasks:\n- {source: m.f, class: ShellScrip}", "did you mean 'ShellScript'?"),
        ("tasks:\n- {source: nope.sh, product: x}", "no file 'nope.sh'"),
        ("tasks:\n- {source: a.sh, product: x, nb_product_key: x}", "is for notebooks"),
    ],
)
def test_what_is_wrong_or_not_supported_is_told_with_a_hint(
    folder: Path, text: str, what: str
) -> None:
    assert what in refusal(folder, text)


def test_a_client_that_is_none_is_told_once(folder: Path) -> None:
    text = "tasks:\n- {source: a.sql, product: [x, table], client: {a: 1}}\n"
    assert refusal(folder, text).count("names no function") == 1


EXTRACTS = CLIENTS + "meta: {extract_product: true}\ntasks:\n"


@pytest.mark.parametrize(
    ("entry", "text", "given"),
    [
        ("{source: a.sh, product: x}", "touch {{product}}", "x"),
        ("{source: a.sh}", "{% set product = File('out/x') %}touch {{product}}", "out/x"),
        ("{source: a.sql}", "{% set product = SQLRelation(['s', 'x', 'table']) %}", "s.x"),
        ("{source: a.sql}", "{% set product = PostgresRelation(('x', 'view')) %}", "x"),
    ],
)
def test_a_script_may_say_its_product_itself(
    folder: Path, entry: str, text: str, given: str
) -> None:
    (folder / "pipeline.yaml").write_text(f"{EXTRACTS}- {entry}\n")
    (folder / "a.sh").write_text(text)
    (folder / "a.sql").write_text(text)
    task = Pipeline.load(folder).graph.tasks["a"]
    assert task.given() == given
    own = job(folder, text, product=given, relations=tuple(task.relations.values()))
    assert given in templates.rendered(msgspec.structs.replace(own, text=text + "{{product}}"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("touch x", "the script does not say its product"),
        ("{% set product = File(name) %}", "product is no literal"),
        ("\n{% set product = SQLRelation(['x', 'tabel']) %}", "a.sh:2: product is no literal"),
    ],
)
def test_a_product_that_a_script_does_not_say_clearly_is_told(
    folder: Path, text: str, what: str
) -> None:
    (folder / "pipeline.yaml").write_text(f"{EXTRACTS}- {{source: a.sh}}\n")
    (folder / "a.sh").write_text(text)
    with pytest.raises(SpecError, match=what):
        Pipeline.load(folder)


# --- scripts --------------------------------------------------------------------------------


SHELL = Task(name="a", source="a.sh", kind="script", work=ScriptWork("shell"))


def test_a_script_declares_the_upstreams_of_its_placeholders() -> None:
    text = "{# upstream['no'] #}\ncat {{ upstream['a'] }}\n{% if x %}{{ upstream.b }}{% endif %}"
    said = script_declared(text, SHELL)
    assert said.upstream == ("a", "b")
    assert [at.line for at in said.at] == [2, 3]


def test_a_script_that_is_no_template_is_the_tasks_problem_alone() -> None:
    assert script_declared("a\n{{ b", SHELL).problem.startswith("a.sh:2: ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT 1", "-- why\nSELECT   1\n"),
        ("SELECT a FROM b", "SELECT a /* all\nof it */ FROM b"),
        ("SELECT ' -- a'", "SELECT\n' -- a' -- a"),
        ("SELECT 1 {# note #}", "SELECT 1"),
    ],
)
def test_comments_and_blanks_of_sql_are_cosmetic(one: str, other: str) -> None:
    assert script_code(one, "sql") == script_code(other, "sql")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT '-- a'", "SELECT '-- b'"),
        ("SELECT 'a  b'", "SELECT 'a b'"),
        ('SELECT "/* a */"', 'SELECT "/* b */"'),
        ("SELECT $$ -- a $$", "SELECT $$ -- b $$"),
        ("SELECT /*+ FULL */ 1", "SELECT /*+ HASH */ 1"),
        (r"SELECT '\' -- a'", r"SELECT '\' -- b'"),
        ("SELECT {{ a }}", "SELECT {{ b }}"),
    ],
)
def test_what_is_quoted_or_a_hint_is_no_comment(one: str, other: str) -> None:
    assert script_code(one, "sql") != script_code(other, "sql")


def test_a_file_that_a_script_imports_counts_with_what_that_includes(folder: Path) -> None:
    (folder / "sql").mkdir()
    (folder / "sql/m.sql").write_text("{% include 'n.sql' %}")
    (folder / "n.sql").write_text("1")
    task = msgspec.structs.replace(SHELL, source="sql/a.sql", work=ScriptWork("sql"))
    text = "{% import 'm.sql' as m %}"
    found = template_digests(folder, task, text)
    assert sorted(found) == ["n.sql", "sql/m.sql"]
    (folder / "n.sql").write_text("2")
    assert template_digests(folder, task, text) != found


def job(folder: Path, text: str, **more: object) -> Job:
    given = {"task": "a", "kind": "script", "source": "a.sql", "root": str(folder)}
    return Job(
        **{**given, "folder": str(folder), "stem": "a", "work": ScriptWork("sql"), **more},
        text=text,
    )


def test_a_script_is_given_its_product_its_upstreams_and_its_params(folder: Path) -> None:
    relation = Relation(schema="s", name="x", kind="table")
    found = templates.rendered(
        job(
            folder,
            "{{product}} {{product.name}} {{product.schema}} {{product.kind}} "
            "{{upstream['up']['a']}} {{n}} {{params.n}} {{get_key(upstream['up'], 'a')}}",
            product="s.x",
            relations=(relation,),
            upstream={"up": {"a": "a.csv"}},
            params={"n": 1},
        )
    )
    assert found == "s.x x s table a.csv 1 1 a.csv"


@pytest.mark.parametrize("text", ["{{ nope }}", "{{ upstream['x'] }}", "{{ params['x'] }}"])
def test_a_placeholder_that_stands_for_nothing_is_an_error(folder: Path, text: str) -> None:
    with pytest.raises(Exception, match=r"is undefined|has no attribute"):
        templates.rendered(job(folder, text))


def test_a_script_cannot_reach_into_python(folder: Path) -> None:
    with pytest.raises(Exception, match="unsafe"):
        templates.rendered(job(folder, "{{ product.__class__.__mro__ }}", product="x"))


# --- clients --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("a; b", ["a", " b"]),
        ("SELECT ';'; b;", ["SELECT ';'", " b"]),
        ("-- a; b\nc; -- d", ["-- a; b\nc"]),
        (
            "CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; SELECT 2; END; SELECT 3",
            [
                "CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; SELECT 2; END",
                " SELECT 3",
            ],
        ),
        ("", []),
    ],
)
def test_a_script_is_split_at_semicolons_that_end_statements(code: str, found: list[str]) -> None:
    assert list(statements(code, ";")) == found


def test_a_script_is_sent_whole_where_no_token_splits_it() -> None:
    assert list(statements("a; b", None)) == ["a; b"]
    assert list(statements("a GO b", "GO")) == ["a ", " b"]


def test_both_clients_run_scripts_and_open_again_after_they_were_closed(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "data.db"
    client = SQLAlchemyClient(f"sqlite:///{path}")
    client.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    client.close()
    other = DBAPIClient(sqlite3.connect, {"database": str(path)}, split_source=";")
    other.execute("INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)")
    other.close()
    other.close()
    cursor = client.cursor()
    assert cursor.execute("SELECT COUNT(*) FROM t").fetchone() == (3,)
    client.close()


def test_a_statement_that_fails_leaves_nothing_of_its_script(tmp_path: Path) -> None:
    client = DBAPIClient(sqlite3.connect, {"database": str(tmp_path / "a.db")}, split_source=";")
    client.execute("CREATE TABLE t (x)")
    with pytest.raises(sqlite3.OperationalError):
        client.execute("INSERT INTO t VALUES (1); INSERT INTO nope VALUES (1)")
    assert client.cursor().execute("SELECT * FROM t").fetchall() == []
    client.close()


@pytest.fixture
def sales(tmp_path: Path) -> Iterator[DBAPIClient]:
    client = DBAPIClient(sqlite3.connect, {"database": str(tmp_path / "a.db")}, split_source=";")
    client.execute(
        "CREATE TABLE sales (shop, price); INSERT INTO sales VALUES ('a', 1), ('a', 3), ('b', NULL)"
    )
    yield client
    client.close()


def test_a_hook_may_ask_what_is_in_a_table(sales: DBAPIClient) -> None:
    assert testing.nulls_in_columns(sales, ["shop", "price"], "sales")
    assert not testing.nulls_in_columns(sales, "shop", "sales")
    assert testing.distinct_values_in_column(sales, "shop", "sales") == {"a", "b"}
    assert testing.range_in_column(sales, "price", "sales") == (1, 3)
    assert testing.exists_row_where(sales, "price > 2", "sales")
    assert not testing.exists_row_where(sales, "price > 3", "sales")
    assert testing.duplicates_in_column(sales, "shop", "sales")
    assert not testing.duplicates_in_column(sales, ["shop", "price"], "sales")


def test_duplicates_are_told(sales: DBAPIClient) -> None:
    testing.assert_no_duplicates_in_column(sales, ["shop", "price"], "sales")
    with pytest.raises(AssertionError, match=r"sales has duplicates in shop .*\('a', 2\)"):
        testing.assert_no_duplicates_in_column(sales, "shop", "sales")


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(SQLAlchemyClient("sqlite://user:secret@/x.db"))


@pytest.mark.parametrize("given", ["text", "engine", "client"])
def test_an_address_and_an_engine_are_clients_too(tmp_path: Path, given: str) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="databases are reached through it")
    address = f"sqlite:///{tmp_path / 'a.db'}"
    made = {
        "text": lambda: address,
        "engine": lambda: sqlalchemy.create_engine(address),
        "client": lambda: SQLAlchemyClient(address),
    }
    client = sql.client_of(Call("db.get"), lambda name: made[given])
    client.execute("CREATE TABLE t (x)")
    assert sql.exists(client, Relation(name="t", kind="table"))
    assert not sql.exists(client, Relation(name="u", kind="table"))
    client.close()


def test_what_is_no_client_is_told_so() -> None:
    with pytest.raises(TypeError, match=r"db.get\(\) should give a client"):
        sql.client_of(Call("db.get"), lambda name: lambda: 3)


def test_clients_of_files_are_addresses_of_stores() -> None:
    assert LocalStorageClient("backup", path_to_project_root=".").__fspath__() == "backup"
    assert S3Client(bucket_name="b", parent="a/b").__fspath__() == "s3://b/a/b"
    with pytest.raises(TypeError, match="json_credentials_path"):
        S3Client(bucket_name="b", json_credentials_path="c.json")


def test_a_function_of_a_client_may_be_given_env_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ploomber's own ETL template does it; what stands under ``path`` is a path."""
    (tmp_path / "env.yaml").write_text("path: {products: output}\nrows: 3\n")
    monkeypatch.chdir(tmp_path)

    @with_env
    def get_client(env: Any) -> tuple[Path, int]:
        return env.path.products / "data.db", env.rows

    assert get_client() == (Path("output/data.db"), 3)


def test_an_unknown_task_is_still_told_by_name(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text("tasks:\n- {class: Link, product: a.csv}\n")
    with pytest.raises(UsageError, match="no task 'b'"):
        Pipeline.load(folder).plan("b")
