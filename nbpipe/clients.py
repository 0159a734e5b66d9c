"""Clients of databases and stores, as functions give them that a spec names under ``clients:``.

A client of a database has ``execute(code)`` for scripts, ``cursor()`` for queries, ``close()``, and
where SQLAlchemy knows the database an ``engine``, which uploads and transfers need.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "DBAPIClient",
    "GCloudStorageClient",
    "LocalStorageClient",
    "S3Client",
    "SQLAlchemyClient",
]

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


class DBAPIClient:
    """A client over a driver of Python's own database interface (PEP 249).

    Args:
        connect_fn: the driver's ``connect``.
        connect_kwargs: what it is given.
        split_source: the text between two statements, for drivers that take one at a time; None:
            scripts are sent whole.
    """

    def __init__(
        self,
        connect_fn: Callable[..., Any],
        connect_kwargs: Mapping[str, Any],
        split_source: str | None = None,
    ) -> None:
        self.connect_fn = connect_fn
        self.connect_kwargs = dict(connect_kwargs)
        self.split_source = split_source
        self._connection: Any = None

    @property
    def connection(self) -> Any:
        """The connection, opened when it is first needed."""
        if self._connection is None:
            self._connection = self.connect_fn(**self.connect_kwargs)
        return self._connection

    def cursor(self) -> Any:
        """A new cursor of the connection."""
        return self.connection.cursor()

    def execute(self, code: str) -> None:
        """Run a script, and commit."""
        _execute(self.connection, statements(code, self.split_source))

    def close(self) -> None:
        """Close the connection, if there is one. Calling it twice is harmless."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class SQLAlchemyClient:
    """A client of any database that SQLAlchemy knows.

    Args:
        uri: its address, as text or as ``sqlalchemy.URL``.
        split_source: as of `DBAPIClient`; ``default``: the semicolon for SQLite, whose driver
            takes one statement at a time, and None for others.
        create_engine_kwargs: options of ``sqlalchemy.create_engine``.

    Raises:
        ModuleNotFoundError: SQLAlchemy is not installed.
    """

    def __init__(
        self,
        uri: Any,
        split_source: str | Literal["default"] | None = "default",
        create_engine_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        url = _sqlalchemy().make_url(uri)
        self.flavor = url.get_backend_name()
        self.split_source = split_source
        if split_source == "default":
            self.split_source = ";" if self.flavor == "sqlite" else None
        if self.flavor == "sqlite" and url.database not in (None, "", ":memory:"):
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        self._url = url
        self._options = dict(create_engine_kwargs or {})
        self._engine: Any = None
        self._connection: Any = None

    @property
    def engine(self) -> Any:
        """SQLAlchemy's engine."""
        if self._engine is None:
            self._engine = _sqlalchemy().create_engine(self._url, **self._options)
        return self._engine

    @property
    def connection(self) -> Any:
        """A connection of the driver's, opened when it is first needed or when it was closed."""
        if self._connection is None or not self._connection.is_valid:
            self._connection = self.engine.raw_connection()
        return self._connection

    def cursor(self) -> Any:
        """A new cursor of the connection."""
        return self.connection.cursor()

    def execute(self, code: str) -> None:
        """Run a script, and commit."""
        _execute(self.connection, statements(code, self.split_source))

    def close(self) -> None:
        """Close all connections. Calling it twice is harmless."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def __repr__(self) -> str:
        return f"SQLAlchemyClient({self._url.render_as_string(hide_password=True)})"


class LocalStorageClient:
    """A folder in which results are shared, the client of the class ``File``.

    Args:
        path_to_backup_dir: the folder.
        path_to_project_root: changes nothing: results are known by their content.
    """

    def __init__(
        self,
        path_to_backup_dir: str | os.PathLike[str],
        path_to_project_root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.address = os.fspath(path_to_backup_dir)

    def __fspath__(self) -> str:
        return self.address


class S3Client(LocalStorageClient):
    """A folder of a bucket, as of S3. Credentials are those that the environment offers.

    Args:
        bucket_name: the bucket.
        parent: the folder in it.
        path_to_project_root: changes nothing.
        options: none is understood.

    Raises:
        TypeError: there are options.
    """

    scheme = "s3"

    def __init__(
        self,
        bucket_name: str,
        parent: str = "",
        path_to_project_root: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        if options:
            name = next(iter(options))
            hint = "set the variables that the service's own tools read"
            raise TypeError(f"{type(self).__name__} does not take {name!r} here: {hint}")
        super().__init__(f"{self.scheme}://{bucket_name}/{parent}".rstrip("/"))


class GCloudStorageClient(S3Client):
    """A folder of a bucket of Google Cloud; see `S3Client`."""

    scheme = "gs"


def _sqlalchemy() -> Any:
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "SQLAlchemyClient needs SQLAlchemy: install nbpipe-kit[sql]"
        ) from None
    return sqlalchemy


def _execute(connection: Any, code: Iterator[str]) -> None:
    """Run statements in one transaction, where the database has transactions for them."""
    cursor = connection.cursor()
    try:
        for statement in code:
            cursor.execute(statement)
        connection.commit()
    except BaseException:
        with contextlib.suppress(Exception):  # what failed is what a reader wants to know
            connection.rollback()
        raise
    finally:
        cursor.close()


def statements(code: str, token: str | None) -> Iterator[str]:
    """The statements of a script; one that holds nothing but comments is left out.

    A semicolon in a text, a comment or a trigger ends none.

    Args:
        code: of the script.
        token: what stands between two statements; None: the script counts as one.
    """
    parts = [code] if token is None else code.split(token)
    pending = ""
    for number, part in enumerate(parts):
        pending += part
        ends = number == len(parts) - 1
        if token == ";" and not ends and not sqlite3.complete_statement(f"{pending};"):
            pending += ";"
            continue
        if _COMMENT.sub("", pending).strip():
            yield pending
        pending = ""
