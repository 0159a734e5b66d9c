"""Run notebooks with papermill, one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import papermill

for source, target, values in json.loads(Path("todo.json").read_text()):
    papermill.execute_notebook(source, target, values, progress_bar=False)
