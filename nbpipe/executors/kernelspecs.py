"""Specifications of Jupyter kernels: which there are, and what they start.

Imports jupyter_client only when something is asked.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from nbpipe.errors import NbpipeError, UsageError, did_you_mean

DEFAULT = "python3"
"""The kernel of a job that names none."""


class KernelStartFailed(NbpipeError):
    """The kernel ended before it answered, or never answered."""


def kernel_specs() -> Any:
    """jupyter_client's manager of kernel specifications, made once for one environment.

    It looks for its folders when it is made, which costs more than finding a specification.
    """
    early = ("JUPYTER", "IPYTHON", "XDG_", "HOME")
    return _kernel_specs(tuple(item for item in os.environ.items() if item[0].startswith(early)))


@functools.lru_cache(maxsize=1)
def _kernel_specs(environ: tuple[tuple[str, str], ...]) -> Any:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_core.paths import jupyter_path

    # Its own default is the same, and imports all of IPython to find the last of the folders.
    ipython = os.environ.get("IPYTHONDIR") or os.path.join("~", ".ipython")
    folders = [*jupyter_path("kernels"), os.path.join(os.path.expanduser(ipython), "kernels")]
    return KernelSpecManager(kernel_dirs=folders)


def kernel_names() -> list[str]:
    """Names of the installed Jupyter kernels, sorted."""
    return sorted(kernel_specs().find_kernel_specs())


def check_kernel(name: str) -> None:
    """See that a kernel is installed.

    Raises:
        UsageError: it is not; the hint names the nearest.
    """
    from jupyter_client.kernelspec import NoSuchKernel

    try:
        kernel_specs().get_kernel_spec(name)
    except NoSuchKernel:
        names = kernel_names()
        hint = did_you_mean(name, names) or "install one: python -m pip install ipykernel"
        raise UsageError(f"there is no Jupyter kernel '{name}'", hint) from None
    except Exception:  # whatever a broken kernel.json leads to is told when it is to start
        return


def kernel_python(name: str) -> str:
    """The program that a kernel runs; ours when it cannot be told."""
    from jupyter_client.kernelspec import NoSuchKernel

    try:
        program = kernel_specs().get_kernel_spec(name).argv[0]
    except (NoSuchKernel, IndexError):
        return sys.executable
    return program if os.path.isabs(program) else sys.executable


def kernel_spec(name: str) -> Any:
    """The specification of a kernel.

    Raises:
        KernelStartFailed: it cannot be read.
    """
    try:
        return kernel_specs().get_kernel_spec(name)
    except Exception as error:  # whatever a broken kernel.json leads to
        text = f"the specification of kernel '{name}' cannot be used: {error}"
        raise KernelStartFailed(text) from error


def is_ipykernel(spec: Any) -> bool:
    """Whether a specification is one of ipykernel."""
    return any("ipykernel" in word for word in spec.argv)


def in_memory(spec: Any) -> list[str]:
    """The options with which a kernel of this specification keeps its history in memory."""
    return ["--HistoryManager.hist_file=:memory:"] if is_ipykernel(spec) else []
