"""``InMemoryDAG`` as projects written for Ploomber use it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from nbpipe.pipeline import Pipeline


class InMemoryDAG:
    """The functions of a pipeline, called on values; nothing is written.

    Args:
        dag: the pipeline.
        return_postprocessor: is given what each function returns, and gives what counts; None:
            that itself.
    """

    def __init__(
        self, dag: Pipeline, return_postprocessor: Callable[[Any], Any] | None = None
    ) -> None:
        self.dag = dag
        self._steps = dag.in_memory()
        if return_postprocessor is not None:
            self._steps = self._steps.through(return_postprocessor)

    def build(
        self, input_data: Mapping[str, Any], copy: bool | Callable[[Any], Any] = False
    ) -> dict[str, Any]:
        """Call the functions; returns the value of every task.

        Args:
            input_data: values that stand for tasks.
            copy: True, or a function: copy them first.
        """
        given = {name: _copied(value, copy) for name, value in input_data.items()}
        return self._steps.run(given)


def _copied(value: Any, how: bool | Callable[[Any], Any]) -> Any:
    if how is False:
        return value
    return copy.deepcopy(value) if how is True else how(value)
