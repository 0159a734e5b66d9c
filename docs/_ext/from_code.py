"""The parts of the reference that are made from the code, so that they cannot be out of date.

A page says ``{from-code} commands`` in a fence of its own; before it is parsed, the fence gives
way to the Markdown that is made here.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import click
import msgspec
import yaml
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.util.nodes import make_refnode

from nbpipe.cli.app import cli
from nbpipe.compat import ploomber
from nbpipe.core import events as ev
from nbpipe.core.model import Failure, Kernels, Meta, Resources, Task
from nbpipe.jupyter import parsing, pipeline_commands
from nbpipe.store import loading
from nbpipe.store.specfile import json_schema, spec_keys

_FENCE = re.compile(r"^```\{from-code\} (?P<part>\S+)\n```$", re.MULTILINE)
_DEFAULT = re.compile(r"\s*Default: (?P<value>.+?)\.$|\s*\(default\)", re.DOTALL)
_MARKED = re.compile(r"``(.+?)``")


# -- commands ------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_command(name, command) for name, command in all_commands().items())


def all_commands() -> dict[str, click.Command]:
    """The commands by name, in the order of ``nbpipe --help``."""
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def _command(name: str, command: click.Command) -> str:
    above = click.Context(cli, info_name="nbpipe", **cli.context_settings)
    context = click.Context(command, parent=above, info_name=name)
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    rows = [(_switches(option), _coded(option.help or "")) for option in options]
    return "\n\n".join(
        [
            f"(command-{name})=\n## `nbpipe {name}`",
            _coded(inspect.cleandoc(command.help or "")),
            f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```",
            table(("Option", "Meaning"), rows, "options"),
        ]
    )


def _coded(text: str) -> str:
    """Switches, quoted text, file suffixes and names of arguments as code."""
    text = re.sub(r'"([^"]+)"', r"`\1`", text)
    text = re.sub(r"(?<![`\w])'([^'\n]+)'", r"`\1`", text)
    text = re.sub(r"(?<![`\w-])(--[a-z][a-z-]*)", r"`\1`", text)
    return re.sub(r"(?<![`\w])((?:\.[a-z]{3,4})|pipeline\.(?:yaml|png))\b(?!`)", r"`\1`", text)


def _switches(option: click.Option) -> str:
    names = [f"`{name}`" for name in option.opts]
    if not option.is_flag and option.name != "help":
        names[-1] = f"`{option.opts[-1]} {_metavar(option)}`"
    return ", ".join(names)


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    return "N" if isinstance(option.type, click.IntRange) else option.type.name.upper()


# -- keys of pipeline.yaml -----------------------------------------------------------------

_TITLES = {
    "": "Top level",
    "meta": "`meta`",
    "meta.kernels": "`kernels` of `meta`",
    "meta.source_loader": "`source_loader` of `meta`",
    "config": "`config`",
    "tasks[]": "Each task",
    "tasks[].resources": "`resources` of a task",
}
_STRUCTS = {
    "": "SpecFile",
    "meta": "MetaEntry",
    "meta.kernels": "KernelsEntry",
    "meta.source_loader": "SourceLoaderEntry",
    "config": "ConfigEntry",
    "tasks[]": "TaskEntry",
}
_VALUES: dict[str, type[msgspec.Struct]] = {
    "meta": Meta,
    "meta.kernels": Kernels,
    "tasks[]": Task,
    "tasks[].resources": Resources,
}


def keys() -> str:
    """Every key of pipeline.yaml, a table for each section."""
    definitions = json_schema()["$defs"]
    return "\n\n".join(
        _section(section, definitions[_STRUCTS.get(section, "ResourcesEntry")])
        for section in spec_keys()
    )


def _section(section: str, schema: dict[str, Any]) -> str:
    rows = [
        (f"`{key}`", type_words(schema["properties"][key]), *_meaning(section, key, schema))
        for key in spec_keys()[section]
    ]
    return f"## {_TITLES[section]}\n\n{table(('Key', 'Type', 'Default', 'Meaning'), rows, 'keys')}"


def _meaning(section: str, key: str, schema: dict[str, Any]) -> tuple[str, str]:
    """The default and what the key means, with examples."""
    said = schema["properties"][key]
    text = said["description"]
    found = _DEFAULT.search(text)
    default = _default(section, key, found["value"] if found else None, schema)
    text = _coded(_DEFAULT.sub("", text).strip())
    shown = " · ".join(f"`{_flow(example)}`" for example in said.get("examples", ()))
    return default, text + (f"<br>Such as {shown}" if shown else "")


def _default(section: str, key: str, said: str | None, schema: dict[str, Any]) -> str:
    if key in schema.get("required", ()):
        return "*required*"
    if said is not None:
        return f"`{said}`" if said.isdigit() else said
    fields = msgspec.structs.fields(_VALUES[section]) if section in _VALUES else ()
    value = next((field.default for field in fields if field.name == key), None)
    return f"`{json.dumps(value)}`" if isinstance(value, bool) else "none"


def _flow(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
        .removesuffix("...\n")
        .strip()
    )


def type_words(schema: dict[str, Any]) -> str:
    """A JSON schema as a few words."""
    if "anyOf" in schema:
        words = [type_words(part) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "$ref" in schema:
        return "section below"
    kind = schema.get("type")
    if kind == "array":
        items = type_words(schema["items"])
        return "list of " + ("tasks" if items == "section below" else f"{items}s")
    if kind == "object":
        return "mapping" if not schema.get("additionalProperties") else "mapping of texts"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    text = words.get(str(kind), str(kind))
    if "exclusiveMinimum" in schema:
        return f"{text} > {schema['exclusiveMinimum']:g}"
    return f"{text} ≥ {schema['minimum']:g}" if "minimum" in schema else text


# -- events --------------------------------------------------------------------------------


def events() -> str:
    """Every kind of line in ``events.jsonl``."""
    return "\n\n".join(_event(kind) for kind in get_args(ev.Event))


def failure() -> str:
    """The fields of a failure."""
    return _fields(Failure, ())


def _event(kind: type[msgspec.Struct]) -> str:
    first = _marked(inspect.getdoc(kind) or "").partition("\n\n")[0]
    tag = kind.__struct_config__.tag
    return f"(event-{tag})=\n### `{tag}`\n\n{first}\n\n{_fields(kind, ('time',))}"


def _fields(kind: type[msgspec.Struct], left_out: tuple[str, ...]) -> str:
    said = attributes(kind)
    rows = [
        (f"`{field.name}`", _plain_type(field.type), _default_of(field), said.get(field.name, ""))
        for field in msgspec.structs.fields(kind)
        if field.name not in left_out
    ]
    rows = [
        (name, words, default, text or _COMMON.get(name.strip("`"), ""))
        for name, words, default, text in rows
    ]
    return table(("Field", "Type", "Left out when", "Meaning"), rows, "fields")


_COMMON = {
    "task": "Name of the task.",
    "seconds": "Duration.",
    "index": "1-based among the code cells.",
    "total": "Number of code cells.",
    "attempt": "1 for the first try.",
    "final": "Whether it will not be tried again.",
    "failure": "Why; see [](#failure).",
    "by": "Name of the task that failed.",
    "reasons": "One sentence each.",
    "reason": "One sentence.",
    "message": "One sentence.",
    "state": "`done`, `failed` or `interrupted`.",
}
"""For fields whose names say it all in the code."""


def _plain_type(kind: Any) -> str:
    text = getattr(kind, "__name__", "") if isinstance(kind, type) else str(kind)
    if get_args(kind):
        text = str(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    for old, new in (
        ("tuple[str, ...]", "list of texts"),
        ("dict[str, float]", "mapping of numbers"),
        ("str", "text"),
        ("float", "number"),
        ("int", "whole number"),
        ("bool", "true or false"),
        (" | None", ""),
    ):
        text = text.replace(old, new)
    return "text" if "Literal" in text else text


def _default_of(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{json.dumps(field.default)}`" if field.default != () else "empty"
    return "never" if field.default_factory is msgspec.NODEFAULT else "empty"


def attributes(kind: type) -> dict[str, str]:
    """What the ``Attributes:`` part of a docstring says of each field."""
    _, _, part = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in part.splitlines():
        if match := re.match(r" {4}(\w+): (.*)", line):
            name, found[match[1]] = match[1], match[2]
        elif name and line.startswith("        "):
            found[name] += " " + line.strip()
    return {key: _sentence(_marked(text)) for key, text in found.items()}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _marked(text: str) -> str:
    """reStructuredText's code marks as Markdown's."""
    return _MARKED.sub(r"`\1`", text)


# -- magics --------------------------------------------------------------------------------

_MAGICS = {"upstream": parsing.upstream_parser, "task": parsing.task_parser}

_GIVEN = {
    "Any": "nothing; it displays the panel, or in a terminal the table of states",
    "None": "nothing",
    "Table": "a table to look at",
    "Picture": "a picture (SVG) to look at",
    "Status": "{py:class}`~nbpipe.Status`",
    "Plan": "{py:class}`~nbpipe.Plan`",
    "Explanation": "{py:class}`~nbpipe.views.plans.Explanation`",
    "BuildReport": "{py:class}`~nbpipe.BuildReport`",
    "Run": "{py:class}`~nbpipe.run.background.Run`",
}
"""What the return type of a subcommand means for whoever types the magic."""

_ONLY_WITH = {("build", "Plan"): "--dry-run", ("build", "Run"): "--bg"}
"""Which option gives a type that is not the usual one."""


def subcommands() -> str:
    """Every subcommand of ``%pipeline``."""
    return "\n\n".join(_subcommand(name) for name in parsing.SUBCOMMANDS)


def magic(name: str) -> str:
    """Usage and options of ``%upstream`` or ``%%task``."""
    return _usage(_MAGICS[name]())


def loaders() -> str:
    """What ``%upstream --load`` makes of each suffix it knows, in a table."""
    kinds: dict[str, list[str]] = {}
    for suffix in loading._LOADERS:
        kinds.setdefault(_KINDS_LOADED[_loader_kind(suffix)], []).append(f"`{suffix}`")
    return table(("Suffix", "Value"), [(" ".join(s), k) for k, s in kinds.items()], "loaders")


_KINDS_LOADED = {
    "_frame": "a pandas data frame",
    "_json": "plain Python values",
    "_yaml": "plain Python values",
    "_array": "NumPy arrays; pickled objects in them are refused",
    "_image": "a Pillow image",
    "_text": "the text",
    "_pickle": "the object, if this pipeline has written the file",
    "_joblib": "the object, if this pipeline has written the file",
    "_notebook": "the notebook, as nbformat reads it",
}


def _loader_kind(suffix: str) -> str:
    return loading._LOADERS[suffix].__qualname__.partition(".")[0]


def _subcommand(name: str) -> str:
    returned = inspect.signature(getattr(pipeline_commands, name)).return_annotation
    kinds = sorted(returned.split(" | "), key=lambda kind: (name, kind) in _ONLY_WITH)
    said = [
        _GIVEN[kind] + (f" with `{_ONLY_WITH[name, kind]}`" if (name, kind) in _ONLY_WITH else "")
        for kind in kinds
    ]
    title = f"(magic-pipeline-{name})=\n### `%pipeline {name}`"
    text = _sentence(_coded(parsing.SUBCOMMANDS[name])) + "."
    gives = f"Returns {'; '.join(said)}."
    return "\n\n".join([title, text, _usage(parsing.pipeline_parser(name)), gives])


def _usage(parser: parsing.LineParser) -> str:
    """The usage line, and a table of arguments and options."""
    rows = [
        (_action_words(action), _coded(action.help or ""))
        for action in parser._actions
        if action.help and action.dest != "help"
    ]
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    options = table(("Option", "Meaning"), rows, "options") if rows else ""
    return f"```text\n{usage}\n```\n\n{options}".rstrip()


def _action_words(action: Any) -> str:
    if not action.option_strings:
        return f"`{action.metavar}`"
    names = [f"`{name}`" for name in action.option_strings]
    if action.nargs != 0:
        names[-1] = f"`{action.option_strings[-1]} {action.metavar}`"
    return ", ".join(names)


# -- Markdown ------------------------------------------------------------------------------


def table(head: tuple[str, ...], rows: list[tuple[str, ...]], style: str) -> str:
    """A table, of a CSS class of its own."""
    lines = [_row(head), _row(tuple("---" for _ in head)), *map(_row, rows)]
    return "\n".join([f":::{{rst-class}} {style}", ":::", "", *lines])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# -- docstrings ----------------------------------------------------------------------------


def hide_from_napoleon(app: Sphinx, what: str, name: str, obj: Any, opt: Any, lines: Any) -> None:
    """Keep the text of a property whole: napoleon takes what precedes a colon for a type."""
    if what in ("property", "attribute"):
        app.env.temp_data[f"whole {name}"] = list(lines)


def bring_back(app: Sphinx, what: str, name: str, obj: Any, opt: Any, lines: list[str]) -> None:
    """The other half of `hide_from_napoleon`."""
    lines[:] = app.env.temp_data.pop(f"whole {name}", lines)


def without_signature(
    app: Sphinx, what: str, name: str, obj: Any, opt: Any, signature: str, returns: str
) -> tuple[str, None] | None:
    """Values are handed out by nbpipe, so nobody needs to know how one is made."""
    is_value = what == "class" and (
        issubclass(obj, msgspec.Struct) or dataclasses.is_dataclass(obj)
    )
    return ("", None) if is_value or what == "exception" else None


def find_short_name(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Resolve a class that is named without its module, as annotations do, if just one fits."""
    target = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or not target[:1].isupper():
        return None
    domain = env.get_domain("py")
    names = [full for full in domain.objects if full.rpartition(".")[2] == target]
    if len(names) != 1:
        return None
    entry = domain.objects[names[0]]
    page = node["refdoc"]
    return make_refnode(app.builder, page, entry.docname, entry.node_id, content, names[0])


def compat() -> str:
    """What imports of ploomber are answered."""
    rows = [
        (f"`{module}`", ", ".join(f"`{name}`" for name in sorted(names)))
        for module, names in ploomber.MODULES.items()
    ]
    return table(("Module", "Names"), rows, "names")


PARTS = {
    "compat": compat,
    "commands": commands,
    "keys": keys,
    "events": events,
    "failure": failure,
    "subcommands": subcommands,
    "magic-upstream": lambda: magic("upstream"),
    "magic-task": lambda: magic("task"),
    "loaders": loaders,
}


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the made parts into a page's text."""
    source[0] = _FENCE.sub(lambda match: PARTS[match["part"]](), source[0])


def outdated(app: Sphinx, env: Any, *changes: Any) -> Iterator[str]:
    """Pages with made parts are always read again."""
    return [page for page in env.found_docs if _FENCE.search(_text(env, page))]  # type: ignore


def _text(env: Any, page: str) -> str:
    return env.doc2path(page).read_text(encoding="utf-8") if env.doc2path(page).exists() else ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
    app.connect("env-get-outdated", outdated)
    app.connect("autodoc-process-docstring", hide_from_napoleon, priority=400)
    app.connect("autodoc-process-docstring", bring_back, priority=600)
    app.connect("autodoc-process-signature", without_signature)
    app.connect("missing-reference", find_short_name)
    for field in PyObject.doc_field_types:  # what napoleon makes of "Attributes:"
        field.label = "Fields" if field.name == "variable" else field.label
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
