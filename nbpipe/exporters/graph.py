"""The plainest exporter: the document itself, for whatever reads JSON."""

from __future__ import annotations

import msgspec

from nbpipe.exporters.base import ExportSettings, GraphDocument, task_command


class GraphExporter:
    """Writes ``NAME.json``: the document, with the command of each task."""

    settings = ExportSettings

    def export(self, document: GraphDocument, settings: ExportSettings) -> dict[str, str]:
        """The file's text by its name."""
        whole = msgspec.to_builtins(document)
        for task in whole["tasks"]:
            task["command"] = task_command(document, task["name"], settings)
        whole["image"], whole["environ"] = settings.image, settings.environ
        text = msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()
        return {f"{document.name}.json": f"{text}\n"}
