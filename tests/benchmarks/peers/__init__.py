"""The tools, each with how it is given a project, told to build, and told that all is built."""

from __future__ import annotations

from tests.benchmarks.peers.base import Peer, Site, Words
from tests.benchmarks.peers.dvc import Dvc
from tests.benchmarks.peers.makes import Doit, Make
from tests.benchmarks.peers.nbpipe import Nbpipe
from tests.benchmarks.peers.ploomber import Ploomber
from tests.benchmarks.peers.snakemake import Snakemake
from tests.benchmarks.peers.stock import Nbclient, Papermill, Scripts

__all__ = ["PEERS", "Peer", "Site", "Words"]

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Nbpipe("nbpipe"),
        Nbpipe("nbpipe, cold kernels", start="cold"),
        Ploomber("Ploomber Serial"),
        Ploomber("Ploomber Parallel", parallel=True),
        Papermill(),
        Nbclient(),
        Snakemake(),
        Dvc(),
        Doit(),
        Make(),
        Scripts(),
    )
}
"""By name, as tables show them."""
