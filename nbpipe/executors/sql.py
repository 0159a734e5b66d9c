"""What tasks do with databases: run a script, dump a query, upload a file, move rows."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from nbpipe.core.model import Job
from nbpipe.core.options import Call
from nbpipe.core.work import Relation

Find = Callable[[str], Callable[..., Any]]
"""Gives the function of a dotted name."""

FETCH = 10_000
"""Rows that are fetched at once where the spec does not say it."""


class MissingRelation(LookupError):
    """A script ended well, but the table or view that it promises is not there."""


def client_of(call: Call, find: Find) -> Any:
    """What the project's function gives, as a client: an address or an engine become one.

    Raises:
        TypeError: it is none.
    """
    from nbpipe.clients import SQLAlchemyClient

    found = find(call.function)(**call.arguments)
    if hasattr(found, "cursor") and hasattr(found, "execute"):
        return found
    if isinstance(found, str):
        return SQLAlchemyClient(found)
    if hasattr(found, "raw_connection"):  # an engine of SQLAlchemy
        client = SQLAlchemyClient(found.url)
        client._engine = found
        return client
    kind = type(found).__name__
    raise TypeError(f"{call.function}() should give a client of a database, not of type {kind}")


def exists(client: Any, relation: Relation) -> bool:
    """Whether a table or view can be selected from.

    Raises:
        Exception: the database cannot be reached.
    """
    cursor = client.cursor()
    try:
        cursor.execute(f"SELECT 1 FROM {relation.text} WHERE 1 = 0")
        cursor.fetchall()
    except Exception:
        return False
    finally:
        with contextlib.suppress(Exception):  # a database without a transaction has nothing to end
            client.connection.rollback()
        cursor.close()
    return True


def present(relations: list[dict[str, Any]]) -> list[bool]:
    """Whether each relation is in its database. Called in a process of its own.

    Args:
        relations: each as `Relation`, in JSON's terms.

    Raises:
        Exception: a client cannot be made, or its database not be reached.
    """
    from nbpipe.executors.call import find_function

    clients: dict[str, Any] = {}
    found = []
    for relation in msgspec.convert(relations, list[Relation]):
        assert relation.client is not None
        key = msgspec.json.encode(relation.client).decode()
        if key not in clients:
            clients[key] = client_of(relation.client, find_function)
        found.append(exists(clients[key], relation))
    for client in clients.values():
        client.close()
    return found


def run(job: Job, text: str, find: Find) -> None:
    """Do the work of a task.

    Args:
        job: the task; its source is a script, of an upload a file.
        text: of the script, its placeholders filled.
        find: gives the project's functions.

    Raises:
        MissingRelation: it ended without its product.
        Exception: whatever the database says.
    """
    work = job.work
    assert work is not None
    assert work.client is not None
    client = client_of(work.client, find)
    try:
        if work.tool == "sql":
            client.execute(text)
        elif work.tool == "dump":
            _dump(job, client, text)
        elif work.tool == "upload":
            _upload(job, client, find)
        elif work.tool == "copy":
            _copy(job, client)
        else:
            _transfer(job, client, text, find)
        _check(job, find)
    finally:
        client.close()


def _check(job: Job, find: Find) -> None:
    """See that every relation is there now."""
    for relation in job.relations:
        if relation.client is None or relation.kind == "other":
            continue
        client = client_of(relation.client, find)
        try:
            if not exists(client, relation):
                message = f"the task ended well, but there is no {relation.kind} {relation.text}"
                raise MissingRelation(message)
        finally:
            client.close()


# -- dumps -------------------------------------------------------------------------------------


def _dump(job: Job, client: Any, query: str) -> None:
    """The rows of a query as a file, or as a folder of files; the old one stays until the end."""
    assert job.work is not None
    product = _single(job)
    writes, suffix = _writer(job.work.io_handler, product)
    made = product.with_name(f".nbpipe-{product.name}.tmp")
    _remove(made)
    cursor = client.cursor()
    try:
        cursor.execute(query)
        header = [column[0] for column in cursor.description]
        if job.work.chunksize is None:
            writes(made, header, _rows(cursor))
        else:
            made.mkdir(parents=True)
            for number, rows in enumerate(_chunks(cursor, job.work.chunksize)):
                writes(made / f"{number}{suffix}", header, iter([rows]))
        if made.is_dir() or product.is_dir():
            _remove(product)
        os.replace(made, product)
    finally:
        cursor.close()
        _remove(made)


def _single(job: Job) -> Path:
    if not isinstance(job.product, str):
        raise ValueError("a dump has one product: write a path")
    return Path(job.product)


Rows = list[Any]
Writer = Callable[[Path, list[str], Iterator[Rows]], None]


def _writer(handler: str | None, product: Path) -> tuple[Writer, str]:
    if handler == "parquet" or (handler is None and product.suffix == ".parquet"):
        return _write_parquet, ".parquet"
    return _write_csv, ".csv"


def _rows(cursor: Any) -> Iterator[Rows]:
    while rows := cursor.fetchmany(FETCH):
        yield rows


def _chunks(cursor: Any, size: int) -> Iterator[Rows]:
    """Lists of so many rows, whatever the driver gives at once; at least one list."""
    cursor.arraysize = size
    pending: Rows = []
    some = False
    while rows := cursor.fetchmany(size):
        pending.extend(rows)
        while len(pending) >= size:
            yield pending[:size]
            pending, some = pending[size:], True
    if pending or not some:
        yield pending


def _write_csv(path: Path, header: list[str], parts: Iterator[Rows]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, dialect=csv.unix_dialect)
        writer.writerow(header)
        for rows in parts:
            writer.writerows(rows)


def _write_parquet(path: Path, header: list[str], parts: Iterator[Rows]) -> None:
    pyarrow, parquet = _library("pyarrow"), _library("pyarrow.parquet")
    rows = [row for part in parts for row in part]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in header]
    arrays = [pyarrow.array(column) for column in columns]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names=header), str(path))


def _library(name: str) -> Any:
    """A library that only these tasks need.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError:
        message = f"{name.partition('.')[0]} is needed for this: install nbpipe-kit[sql]"
        raise ModuleNotFoundError(message) from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# -- uploads and transfers ---------------------------------------------------------------------


def _target(job: Job) -> Relation:
    found = [relation for relation in job.relations if relation.kind != "other"]
    if len(found) != 1:
        raise ValueError("one table is the product: write [schema, name, table]")
    return found[0]


def _engine(client: Any) -> Any:
    engine = getattr(client, "engine", None)
    if engine is None:
        raise TypeError("pandas needs SQLAlchemy for this: give a SQLAlchemyClient")
    return engine


def _upload(job: Job, client: Any, find: Find) -> None:
    assert job.work is not None
    target, options = _target(job), dict(job.work.to_sql)
    if job.work.chunksize is not None:
        options.setdefault("chunksize", job.work.chunksize)
    frame = _frame(job.source, job.work.io_handler, find)
    if options.get("if_exists") == "replace":
        _make_room(client, target)
    frame.to_sql(name=target.name, con=_engine(client), schema=target.schema, **options)


def _make_room(client: Any, target: Relation) -> None:
    """Drop a table that pandas cannot replace: DuckDB's dialect does not describe tables."""
    if _engine(client).dialect.name == "duckdb" and exists(client, target):
        client.execute(f"DROP TABLE {target.text}")


def _frame(path: str, handler: str | None, find: Find) -> Any:
    if handler not in (None, "csv", "parquet"):
        return find(handler)(path)
    pandas, suffix = _library("pandas"), f".{handler}" if handler else PurePosixPath(path).suffix
    if suffix == ".csv":
        return pandas.read_csv(path)
    if suffix == ".parquet":
        return pandas.read_parquet(path)
    message = f"{path}: nothing is known to read a {suffix or 'file without suffix'}"
    raise ValueError(f"{message}; name a function in 'io_handler'")


def _copy(job: Job, client: Any) -> None:
    """A parquet file into a new table, by PostgreSQL's own COPY."""
    target, frame = _target(job), _library("pandas").read_parquet(job.source)
    place: dict[str, Any] = {"name": target.name, "schema": target.schema, "index": False}
    frame.head(0).to_sql(con=_engine(client), if_exists="replace", **place)
    text = io.StringIO()
    frame.to_csv(text, sep="\t", na_rep="\\N", header=False, index=False)
    statement, cursor = f"COPY {target.text} FROM STDIN", client.cursor()
    if hasattr(cursor, "copy_expert"):  # psycopg 2
        text.seek(0)
        cursor.copy_expert(statement, text)
    else:
        with cursor.copy(statement) as copy:
            copy.write(text.getvalue())
    client.connection.commit()
    cursor.close()


def _transfer(job: Job, client: Any, query: str, find: Find) -> None:
    """The rows of a query in one database as a table of another."""
    assert job.work is not None
    pandas, target = _library("pandas"), _target(job)
    assert target.client is not None
    place: dict[str, Any] = {"name": target.name, "schema": target.schema, "index": False}
    receiver = client_of(target.client, find)
    try:
        _make_room(receiver, target)
        frames = pandas.read_sql_query(query, _engine(client), chunksize=job.work.chunksize)
        for number, frame in enumerate([frames] if job.work.chunksize is None else frames):
            mode = "append" if number else "replace"
            frame.to_sql(con=_engine(receiver), if_exists=mode, **place)
    finally:
        receiver.close()
