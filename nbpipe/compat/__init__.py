"""Other packages' names for what nbpipe does, for projects that were written for them.

Nothing here is imported unless a project asks for it: by ``meta: {compat: ploomber}`` in its
pipeline.yaml, or by ``python -m nbpipe.compat``.
"""
