"""`make bench`: every benchmark, one after the other."""

from benchmarks import ingest, query

if __name__ == "__main__":
    for question in (ingest, query):
        question.main()
