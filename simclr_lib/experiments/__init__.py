"""Experiments: comparisons of encoders, the sweeps of the paper's questions, throughput, and the cost of a run."""
