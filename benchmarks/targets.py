"""The targets, where in the results the measured figure is, and the reason for each shortfall."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

Result = dict[str, Any]
# Ends of name and title of what was measured on other processors besides.
OTHERS = {"_avx512": ", with AVX-512 and bf16", "_avx2": ", with AVX2 alone"}


@dataclass(frozen=True)
class Target:
    """result: name of the file in results/; figure: where in it; least or most: the bound. why: of a shortfall."""

    what: str
    result: str
    figure: Callable[[Result], Any]
    least: float | None = None
    most: float | None = None
    why: str = ""

    def met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def bound(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"

    @property
    def everywhere(self) -> "list[Target]":
        """This, and the same of what was measured on other processors."""
        others = [replace(self, what=self.what + added, result=self.result + end) for end, added in OTHERS.items()]
        return [self, *others]


OURS = "umbel, its own runtime"
NO_STORES = ("umbel", "forward", "parallel forwards", "predecessor")


def _over_peers(ours: str) -> Callable[[Result], float]:
    """The rate of one of ours over that of the fastest other store."""

    def ratio(result: Result) -> float:
        rates = _peers(result)
        return float(rates[ours] / max(rates[name] for name in _stores(result)))

    return ratio


def _query_over_peers(result: Result) -> float:
    took = {name: each["query_ms"]["median"] for name, each in result["peers"].items()}
    return float(took[OURS] / min(took[name] for name in _stores(result)))


def _stores(result: Result) -> list[str]:
    return [name for name in result["peers"] if not name.startswith(NO_STORES)]


def _over_predecessor(result: Result) -> float:
    rates = _peers(result)
    return float(rates[OURS] / rates["predecessor"])


def _peers(result: Result) -> dict[str, float]:
    """Pictures a second."""
    return {name: each["images_per_second"]["median"] for name, each in result["peers"].items()}


UPLOADS = (
    "concurrent uploads share a transaction ([ADR 0016](adr/0016-uploads-are-taken-in-together.md)), and each is on"
    " disk, file and row, before its 202; before that change the ratio was 0.094. The rest is processor time: an"
    " upload takes the API six times that of the bare application (`api_cpu_ms`), a quarter of it in the kernel, which"
    " creates a file and waits for the disk. py-spy, under load by 16 clients, attributes a fifth of the rest to the"
    " statements (SQLAlchemy, psycopg), a seventh to the web server's loop, an eighth to parsing the form, a"
    " fourteenth to checking and hashing the picture."
)

RESIZING = (
    "at this size more than half of the time goes into resizing, which no scale of the decoder saves. The next"
    " smaller scale is 1.27 times as fast and changes one neighbour in 25 ([experiments](experiments.md)): it would"
    " require another model version, and not a better one."
)

IN_TURN = (
    "the raw forward has both cores to itself; a load also reads, decodes, copies and commits on them. A load takes"
    " about as long as the forward and the decoding in sequence (`load_of_forward_and_decode_in_turn`), so on two busy"
    " cores no other order of the stages could save much. With AVX2 alone the forward takes seven times as long, and"
    " everything else weighs less."
)

LEDGER = (
    "the whole stack does work that the other stores do not: it hashes each picture, keeps a copy and a ledger, and"
    " commits to Postgres with fsync. Parallel forwards regain most of it (`parallel forwards` over `forward`)."
)

BF16 = (
    "forward and decoding alone, one after the other on both cores, allow 223 of these photographs a second with the"
    " runtime chosen here, 2.6 times the fastest other store and 5 times the predecessor. A longer import reaches 165"
    " of them ([photographs](#import-of-photographs-by-the-whole-stack)), this one of 400 pictures 156. Only int8 would"
    " move that limit, and it does not keep the vectors ([experiments](experiments.md#int8))."
)

BESIDE = (
    "of 12.1 ms of processor time a photograph the forward takes 7.3, decoding 1.4, the rest of the worker 1.9,"
    " Postgres 1.0 (`cpu_ms_a_image`). Batches of 32 and 64 in place of 16, no garbage collection of what is there"
    " from the start, and an event loop in C (uvloop: 0.06 ms a picture) changed less than runs differ (3 %)."
)

TWO_CORES = (
    "the raw forward has both cores to itself; an import also lists, reads, hashes, stores, decodes, copies and"
    " commits on them. Of 7.6 ms of processor time a picture the forward takes 3.6, the rest of the worker 1.7, the"
    " decoders 1.4, Postgres 0.8 and the API 0.03 (`cpu_ms_a_image`). That allows 262 pictures a second on two cores,"
    " which is the measured rate. With AVX2 alone the forward takes 21.7 of 26.9 ms. Beside a GPU the cores are the"
    " limit: an H200 computes 16,000 forwards a second, and 16 cores [supply"
    " 1,194](#import-with-four-workers-on-one-gpu)."
)

ONE_BY_ONE = (
    "each upload is a job of its own and on disk before its 202, and vectors enter the index in small batches. The"
    " forward is only about this share of the processor time of a picture (`cpu_ms_a_image`), so the two cores are the"
    " limit. With AMX, where the forward takes a seventh of the time, the ratio was 0.22 before uploads shared"
    " transactions. Send many pictures as an import."
)

ASKING = (
    "a query image goes from the API through Postgres to a worker, and its vector returns the same way: four"
    " statements, two notifications and the transfer to a decoder. Together they take 5.2 ms beside the 7.1 of"
    " decoding, forward and SQL; the target allows 2.1, and a search by vector over HTTP takes 1.8 without any of it."
    " The steps on AVX2, in order: request to statement 2.4 ms, statement to worker 1.6, claim 1.2, decoder 3.1"
    " (decoding alone 2.3), answer to API 1.9, fetching it 1.1, search and response 4.0."
)

SYNCS = (
    "a single row, on disk before the next, takes 0.32 ms with AMX and 0.56 with AVX2 alone, most of it waiting;"
    " where a disk took 4 ms, the ratio was 74. A copied row takes 0.019 and 0.048 ms, all of it computation: nearly"
    " half for three foreign keys, a seventh for its bytes."
)

SCANS = (
    "comparing 100,000 vectors takes 34 ms with AMX, 72 with AVX2 alone, and took 45 where the ratio was 20.9; the"
    " search through the index takes 1.8, 4.5 and 2.2."
)

OVER_HTTP = (
    "HTTP adds 1.8 ms to a statement of 1.7 with AMX, and 3.9 to one of 4.1 with AVX2 alone: the request is parsed,"
    " checked and authorised, and ten matches become JSON. The faster the statement, the higher the ratio."
)

WIDER = (
    "behind a filter the index keeps 300 candidates instead of 64 and continues until ten have passed: 25 ms instead"
    " of 4.5 with AVX2 alone, 8.8 instead of 1.8 with AMX, 14.3 instead of 1.1 with AVX-512 and bf16."
    " With 64, recall was 0.91."
)

REQUESTS = (
    "the processor with AMX is faster in everything. cProfile attributes a fifth of the application's time besides"
    " the statement to the request's log line and metrics, a sixth to authorisation, an eighth to writing JSON, a"
    " twelfth to parsing it; the rest is Flask's. The web server's loop comes on top."
)

CACHES = (
    "a statement reads hardly more pages (`pages_a_statement`: 374 at 10,000 and 428 at 100,000), but each takes"
    " longer: the index of 10,000 images has 16 MB, that of 100,000 156 MB, that of a million 1.6 GB, so the"
    " processor's caches hold less of it. With the default of 256 MB of shared buffers a million takes 15 times as"
    " long as 10,000: the index must fit ([how far it goes](explanation/scale.md))."
)

TARGETS = (
    Target(
        "Bulk load by the worker over the raw forward of the same runtime",
        "timeline",
        lambda r: r["load_of_forward"],
        least=0.9,
        why=IN_TURN,
    ),
    Target("Bulk load with a stub model over decoding alone", "timeline", lambda r: r["stub_of_decode"], least=0.8),
    Target(
        "Bulk import of the whole stack over the raw forward",
        "bulk_import",
        lambda r: r["of_raw"],
        least=0.9,
        why=TWO_CORES,
    ),
    Target(
        "Single uploads by 16 clients over the raw forward",
        "singles",
        lambda r: r["of_raw"],
        least=0.8,
        why=ONE_BY_ONE,
    ),
    Target(
        "From file to stored vector, torch on both sides, over the fastest peer",
        "peers",
        _over_peers("umbel"),
        least=1.0,
        why=LEDGER,
    ),
    Target(
        "From file to stored vector with the runtime that Umbel chooses, over the fastest peer",
        "peers",
        _over_peers(OURS),
        least=2.5,
        why=BF16,
    ),
    Target(
        "From file to stored vector with the runtime that Umbel chooses, over the predecessor's pipeline",
        "peers",
        _over_predecessor,
        least=4,
        why=BF16,
    ),
    Target("A query by picture over that of the fastest peer", "peers", _query_over_peers, most=1.0),
    Target(
        "Import of photographs over forward and decoding in turn",
        "bulk_import_photographs",
        lambda r: r["of_forward_and_decode"],
        least=0.8,
        why=BESIDE,
    ),
    Target(
        "The same in place",
        "bulk_import_photographs_in_place",
        lambda r: r["of_forward_and_decode"],
        least=0.8,
        why=BESIDE,
    ),
    Target(
        "Decoding as shipped over plain Pillow, 12 megapixels (times faster)",
        "decoding",
        lambda r: r["cpu_milliseconds"]["12_megapixels"]["draft_2"]["of_full"],
        least=2.5,
    ),
    Target(
        "Decoding as shipped over plain Pillow, 500 × 375 (times faster)",
        "decoding",
        lambda r: r["cpu_milliseconds"]["500x375"]["draft_2"]["of_full"],
        least=1.3,
        why=RESIZING,
    ),
    Target("COPY over single INSERTs (times faster)", "copy", lambda r: r["over_single"]["copy"], least=20, why=SYNCS),
    Target(
        "100,000 loaded, then the index built, over loading into it (times faster)",
        "index_build_large",
        lambda r: r["times_faster"],
        least=3,
    ),
    Target("Search of 100,000: recall@10 by default", "search", lambda r: r["recall_at_10"]["recall"], least=0.99),
    Target(
        "Search of 100,000: faster than the exact scan (times)",
        "search",
        lambda r: r["recall_at_10"]["exact_over_ours"],
        least=20,
        why=SCANS,
    ),
    Target(
        "Search of 100,000 of which 1 % pass a filter: recall@10",
        "search",
        lambda r: r["filtered"]["1 %"]["recall"],
        least=0.95,
    ),
    Target(
        "Search of 100,000 of which 1 % pass a filter: p50 over that without one",
        "search",
        lambda r: r["filtered"]["1 %"]["over_unfiltered"],
        most=5,
        why=WIDER,
    ),
    Target(
        "Search by vector over HTTP, over its SQL",
        "search",
        lambda r: r["http"]["vector_over_sql"],
        most=2,
        why=OVER_HTTP,
    ),
    Target(
        "Search by a stored image over HTTP, over its SQL",
        "search",
        lambda r: r["http"]["id_over_sql"],
        most=2,
        why=OVER_HTTP,
    ),
    Target(
        "Search by picture over HTTP, over decoding, forward and SQL",
        "search",
        lambda r: r["http"]["image_over_compute"],
        most=1.3,
        why=ASKING,
    ),
    Target(
        "Search over HTTP, p50: 100,000 images over 10,000",
        "growth",
        lambda r: r["http"]["over_smallest"]["100000"],
        most=1.6,
    ),
    Target(
        "Its statement alone, p50: 100,000 images over 10,000",
        "growth",
        lambda r: r["statement"]["over_smallest"]["100000"],
        most=1.6,
        why=CACHES,
    ),
    Target(
        "Search over HTTP, p50: 1,000,000 images over 10,000",
        "growth_large",
        lambda r: r["http"]["over_smallest"]["1000000"],
        most=2.5,
    ),
    Target(
        "Its statement alone, p50: 1,000,000 images over 10,000",
        "growth_large",
        lambda r: r["statement"]["over_smallest"]["1000000"],
        most=2.5,
        why=CACHES,
    ),
    Target(
        "What HTTP adds to the statement of a search, 100,000 images (ms)",
        "growth",
        lambda r: r["http_adds_ms"]["100000"],
        most=3,
        why=REQUESTS,
    ),
    Target(
        "Uploads accepted over a bare Flask application's",
        "uploads",
        lambda r: r["of_bare"],
        least=0.5,
        why=UPLOADS,
    ),
    Target(
        "Memory of the API while eight clients fetch pictures of 40 megapixels (MB, decoders apart)",
        "serving",
        lambda r: r["api_peak_megabytes"],
        most=400,
    ),
)


def without_machine(what: str) -> str:
    for added in OTHERS.values():
        what = what.removesuffix(added)
    return what


def reached(results: dict[str, Result]) -> Iterator[tuple[Target, float]]:
    """The targets that the results say something about, and what. A median stands for its blocks."""
    for target in (each for one in TARGETS for each in one.everywhere):
        try:
            figure = target.figure(results[target.result])
        except KeyError:
            continue
        yield target, float(figure["median"] if isinstance(figure, dict) else figure)
