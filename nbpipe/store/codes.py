"""What of a source counts as its code, and the kernel that runs it."""

from __future__ import annotations

from nbpipe.core.fingerprint import code_digest, function_digest, value_digest
from nbpipe.core.model import Task
from nbpipe.store.reading import language_of_suffix
from nbpipe.store.scripts import script_code
from nbpipe.store.sources import Source

DEFAULT_KERNEL = "python3"

LANGUAGE_KERNELS = {"r": "ir"}
"""The kernels of sources in another language that name none."""


def kernel_of(source: Source) -> str:
    """The kernel that a source names, or else the usual one of its language."""
    return source.kernel or LANGUAGE_KERNELS.get(source.language, DEFAULT_KERNEL)


def usual_kernel(suffix: str) -> str:
    """The kernel of a source with that suffix which names neither a kernel nor a language."""
    return LANGUAGE_KERNELS.get(language_of_suffix(suffix), DEFAULT_KERNEL)


def code_of(task: Task, text: str, source: Source | None) -> str:
    """Digest of the code and of what the source says about its kernel."""
    if task.work is not None:
        return script_code(text, task.work.tool)
    if source is None:
        return function_digest(text, task.source.rpartition(".")[2])
    kernel = kernel_of(source)
    return value_digest([kernel, source.language, code_digest(source.cells, source.language)])
