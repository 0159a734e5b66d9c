"""A clean kernel for the price of a function call.

In the builder's process: ``builds`` decides how the kernels of a build start, ``provisioner`` is
jupyter_client's port, ``starts`` and ``trunk`` keep warm processes, ``forkserver`` talks to them,
``process`` stands for a forked kernel, ``pool`` keeps spare ones. ``heads`` and ``learning`` tell
what to preload, ``environment`` what may differ. In the warm process: ``warm``, ``preload``,
``prebuilt``, ``changes``; in its children ``child``, ``streams`` and ``ending``. ``wire`` is what
both sides speak, ``spare`` runs in other environments.
"""
