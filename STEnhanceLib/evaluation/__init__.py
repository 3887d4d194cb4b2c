"""How good a result is: metrics against a reference, the protocols of the benchmark, and reports."""
