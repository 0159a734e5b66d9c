"""Scripts with placeholders: ``{{product}}``, ``{{upstream['name']}}`` and the params."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbpipe.core.model import Job
from nbpipe.core.work import Relation

PRODUCTS = ("File", "SQLRelation", "SQLiteRelation", "PostgresRelation", "GenericSQLRelation")
"""The classes with which a script may say its product: ``{% set product = File("a.csv") %}``."""


class Named(str):
    """A product as a script sees it: its text, and of a table or view also the parts of that.

    Attributes:
        schema: of a relation; None: the database's own default.
        name: of a relation; of a file the last part of its path.
        kind: ``table``, ``view``; "" of a file.
    """

    schema: str | None
    name: str
    kind: str

    def __new__(cls, text: str, relation: Relation | None = None) -> Named:
        made = super().__new__(cls, text)
        made.schema = relation.schema if relation is not None else None
        made.name = relation.name if relation is not None else posixpath.basename(text)
        made.kind = relation.kind if relation is not None else ""
        return made


def rendered(job: Job) -> str:
    """The text of a job's script with its placeholders filled. Only then is it known to be whole.

    Raises:
        jinja2.TemplateError: a placeholder stands for nothing, or the text is no template.
        ModuleNotFoundError: jinja2 is not installed.
    """
    assert job.work is not None
    environment = _environment(job)
    product = _own(job.product, job.relations)
    given = {**job.params, "product": product}
    if job.upstream is not None:
        given["upstream"] = _named(job.upstream, {})
    text: str = environment.from_string(job.text).render(**given, params=given)
    return text


def _environment(job: Job) -> Any:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    assert job.work is not None
    root, beside = Path(job.root), posixpath.dirname(job.source)
    folders = [str(root / folder) for folder in (*job.work.templates, beside, "")]
    environment = SandboxedEnvironment(
        undefined=StrictUndefined,
        loader=FileSystemLoader(list(dict.fromkeys(folders))),
        keep_trailing_newline=True,
    )
    environment.globals["get_key"] = _get_key
    for name in PRODUCTS:  # a script may say its product itself: it is what the task has anyway
        environment.globals[name] = lambda said: _own(job.product, job.relations)
    return environment


def _own(product: Any, relations: tuple[Relation, ...]) -> Any:
    return _named(product, {relation.text: relation for relation in relations})


def _get_key(value: Any, key: str) -> Any:
    """The product ``key`` of a task with several, and the product itself of a task with one."""
    return value[key] if isinstance(value, Mapping) else value


def _named(value: Any, known: Mapping[str, Relation]) -> Any:
    if isinstance(value, str):
        return Named(value, known.get(value))
    if isinstance(value, Mapping):
        return {key: _named(one, known) for key, one in value.items()}
    return value
