"""How fast nbpipe is, beside its peers: ``python tests/benchmarks``. No part of the test suite."""
