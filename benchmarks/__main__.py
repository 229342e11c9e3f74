"""`make bench`: every benchmark, one after the other, each in a process of its own, since each has its own settings."""

import subprocess
import sys

QUESTIONS = ("ingest", "search", "decoding", "decoders", "timeline", "bulk_import", "reindex", "slow_clients", "scale")

if __name__ == "__main__":
    for question in QUESTIONS:
        subprocess.run([sys.executable, "-m", f"benchmarks.{question}"], check=True)
