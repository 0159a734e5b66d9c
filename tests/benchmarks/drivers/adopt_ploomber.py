"""Save Ploomber's metadata as after a build, upstream first, for products that are there."""

from __future__ import annotations

from pathlib import Path

import networkx
from ploomber.spec import DAGSpec

dag = DAGSpec("pipeline.yaml").to_dag()
dag.render(show_progress=False)
for node in networkx.topological_sort(dag._G):
    task = dag[getattr(node, "name", node)]
    notebook = Path(str(task.product["nb"]))
    notebook.parent.mkdir(parents=True, exist_ok=True)
    notebook.touch()
    params = task.params.to_json_serializable(params_only=True)
    task.product.metadata.update(source_code=str(task.source), params=params)
