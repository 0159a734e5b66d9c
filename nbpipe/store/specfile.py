"""pipeline.yaml: found, read, checked, extended.

find_entry ─► load_spec ─┬─ yamltext      text → nodes with positions
                         ├─ env, placeholders   {{key}} → what it stands for
                         ├─ specwalk      nodes → entries, by the types in spectypes
                         ├─ specread      entries → Spec; spectask: one entry → its tasks
                         └─ specsources   are the sources there?
spec_text_with_task ───── specedit      a task into the text, comments kept
json_schema, spec_keys ── spectypes     the keys, their types and meaning
"""

from __future__ import annotations

from nbpipe.store.specedit import spec_text_with_task
from nbpipe.store.specload import Entry, Reading, find_entry, find_spec, load_spec, read_spec
from nbpipe.store.specread import kind_of, name_fault, parse_spec
from nbpipe.store.specsources import check_sources
from nbpipe.store.spectypes import json_schema, spec_keys

__all__ = [
    "Entry",
    "Reading",
    "check_sources",
    "find_entry",
    "find_spec",
    "json_schema",
    "kind_of",
    "load_spec",
    "name_fault",
    "parse_spec",
    "read_spec",
    "spec_keys",
    "spec_text_with_task",
]
