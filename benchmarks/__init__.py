"""One script a question; each prints its answer and writes it to benchmarks/results/."""
