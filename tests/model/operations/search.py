"""Searches and identifications, each compared with an exact one."""

import json
import math
import random
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ml.runtimes.parity import REQUIRED
from tests.model.metadata import draw_filter, passes, same
from tests.model.mismatch import Mismatch, expect
from tests.model.nearest import SINGLE, as_stored, check_matches, distances
from tests.model.operations.models import end_reindex
from tests.model.operations.uploads import NAMES, _new_number
from tests.model.pictures import picture
from tests.model.reference import Image
from tests.model.run import Run
from tests.model.server import Answer

# By what a distance may differ where the service has embedded the query: vectors of unit length whose cosine is c are
# √(2 − 2c) apart, and so are their distances to any third at most.
EMBEDDED = math.sqrt(2 - 2 * REQUIRED)


def search_by_image(run: Run, rng: random.Random) -> str | None:
    """The nearest to an image of the gallery, in either way to ask for it."""
    image = _embedded(run, rng)
    if image is None or run.world.active is None:
        return None
    asked = _draw_options(run, rng)
    run.say(f"search by {image.id} with {asked!r:.200}")
    if rng.random() < 0.3:
        params = {**asked, "filter": json.dumps(asked["filter"]), "exact": str(asked["exact"]).lower()}
        answer = run.server.get(f"/v1/images/{image.id}/similar", params=params)
    else:
        answer = run.server.post("/v1/search", json={"image_id": image.id, **asked})
    query = run.vectors.of(run.world.active.id, [image])[image.id]
    return _judged(run, f"search by {image.id}", asked, answer, query, besides=[image.id])


def search_by_vector(run: Run, rng: random.Random) -> str | None:
    """The nearest to a vector of the caller's own: a stored one, or any."""
    active = run.world.active
    if active is None:
        return None
    image = _embedded(run, rng)
    values = np.random.default_rng(rng.randrange(2**32)).normal(size=active.dim)
    if image is not None and rng.random() < 0.8:
        values = run.vectors.of(active.id, [image])[image.id] * rng.choice((1, 3, 1e-3)) + values * rng.choice(
            (0, 0.02)
        )
    values = [float(each) for each in values]
    asked = _draw_options(run, rng)
    if rng.random() < 0.03:
        values = rng.choice(([], values[1:], [0.0] * active.dim))
        answer = run.server.post("/v1/search", json={"vector": values, **asked})
        missing = asked.get("collection") not in (None, *run.world.collections)
        expect("a vector that is none", answer.status, 422, *([404] if missing else []), answer=answer)
        return f"search by {len(values)} numbers"
    run.say(f"search by a vector with {asked!r:.200}")
    answer = run.server.post("/v1/search", json={"vector": values, **asked})
    return _judged(run, "search by a vector", asked, answer, as_stored(values))


def search_by_picture(run: Run, rng: random.Random) -> str | None:
    """The nearest to a picture that is sent, in the gallery or not."""
    active = run.world.active
    image = _embedded(run, rng)
    if active is None:
        return None
    data = image.data if image and rng.random() < 0.6 else picture(_new_number(run))
    asked = _draw_options(run, rng, filtered=rng.random() < 0.3)
    run.say(f"search by a picture with {asked!r:.200}")
    if rng.random() < 0.5 and "filter" not in asked:
        answer = run.server.post(
            "/v1/search", data={**asked, "exact": str(asked["exact"]).lower()}, files={"file": data}
        )
    else:
        answer = run.server.post("/v1/search", json={"image": b64encode(data).decode(), **asked})
    query = run.vectors.recomputed[active.id].vector(data)
    return _judged(run, "search by a picture", asked, answer, query, slack=EMBEDDED)


def search_by_examples(run: Run, rng: random.Random) -> str | None:
    """More like these, less like those."""
    active = run.world.active
    known = [image for image in run.world.images.values() if image.state == "indexed"]
    if active is None or len(known) < 6:
        return None
    positive, negative = rng.sample(known, rng.choice((1, 2, 5))), rng.sample(known, rng.choice((0, 0, 1, 3)))
    asked = _draw_options(run, rng)
    ids = {"positive": [image.id for image in positive], "negative": [image.id for image in negative]}
    run.say(f"search by {ids} with {asked!r:.200}")
    answer = run.server.post("/v1/search", json={**ids, **asked})
    query = _mean(run, active.id, positive)
    if negative:
        query = 2 * query - _mean(run, active.id, negative)
    if np.linalg.norm(query) < 1e-3:
        return f"search by {ids}, which cancel out → {answer.status}"
    besides = [*ids["positive"], *ids["negative"]]
    slack = 1e-3  # half precision rounds on either side of an edge
    return _judged(
        run, f"search by {ids}", asked, answer, as_stored([float(x) for x in query]), besides=besides, slack=slack
    )


def search_for_nothing(run: Run, rng: random.Random) -> str:
    """By an image that is gone, or was never there; and requests that are none."""
    image_id = rng.choice(run.world.gone) if run.world.gone and rng.random() < 0.7 else str(uuid4())
    body, status = rng.choice(
        (
            ({"image_id": image_id}, 404),
            ({"positive": [image_id]}, 404),
            ({"image_id": image_id, "k": 0}, 422),
            ({"image_id": image_id, "vector": [1.0]}, 422),
            ({}, 422),
            ({"image_id": image_id, "filter": {"metadata": {"year": {"$near": 1}}}}, 422),
            ({"image": b64encode(rng.randbytes(60)).decode()}, 415),
        )
    )
    answer = run.server.post("/v1/search", json=body)
    expect(f"a search with {body}", answer.status, status, answer=answer, about=(image_id,))
    return f"search with {body} → {answer.status}"


def identify(run: Run, rng: random.Random) -> str | None:
    """What some images show: their neighbors are compared with an exact search, and the vote is counted again."""
    if run.world.switching:
        end_reindex(run)
    active = run.world.active
    known = [image for image in run.world.images.values() if image.state == "indexed"]
    if active is None or not known:
        return None
    subjects = rng.sample(known, min(len(known), rng.choice((1, 1, 3))))
    asked = _draw_options(run, rng)
    asked = {name: asked[name] for name in ("collection", "filter", "exact") if name in asked}
    ids = [image.id for image in subjects]
    run.say(f"identify {ids} with {asked!r:.200}")
    answer = run.server.post("/v1/identify", json={"image_ids": ids, **asked})
    if _is_missing(run, asked, answer):
        return f"identify {ids} → 404"
    expect(f"identifying {ids}", answer.status, 200, answer=answer, about=tuple(ids))
    expect("whose calibration", answer.body["calibration"]["source"], "model" if active.calibrated else "none")
    if not active.calibrated:
        expect("unknown without one", answer.body["unknown"], None if answer.body["results"] else True)
        return f"identify {ids} without a calibration: {answer.body['best']!r:.20}"
    _adopt(run, answer.body["neighbors"])
    _check_vote(run, answer.body, subjects, asked)
    return f"identify {ids}: {answer.body['best']!r:.20}"


def _check_vote(run: Run, body: dict[str, Any], subjects: list[Image], asked: dict[str, Any]) -> None:
    assert run.world.active is not None
    version = run.world.active.id
    rule = run.vectors.recomputed[version].vote
    candidates = {each: image for each, image in _candidates(run, asked).items() if image.label is not None}
    neighbors, at, tallies = body["neighbors"], 0, []
    if len(subjects) > 1 and any(image.state == "pending" for image in candidates.values()):
        return  # whose neighbors are whose is open
    for subject in subjects:
        others = {each: image for each, image in candidates.items() if each not in {one.id for one in subjects}}
        own = distances(run.vectors.of(version, [subject])[subject.id], run.vectors.of(version, list(others.values())))
        mine = neighbors[at : at + min(rule.k, len(own))]
        at += len(mine)
        run.missed += check_matches(mine, own, others, k=rule.k, exact=len(own) < run.scanned)
        tallies.append(_tally([(each["distance"], each["label"]) for each in mine], rule))
    expect("how many neighbors voted", at, len(neighbors))
    voting = [tally for tally in tallies if tally]
    labels = {label for tally in voting for label in tally}
    shares = {label: sum(tally.get(label, (0, 0))[0] for tally in voting) / len(voting) for label in labels}
    found = {one["label"]: one["score"] for one in body["results"]}
    expect("the labels that got votes", sorted(found), sorted(shares))
    if not shares:
        expect("the verdict without a label", (body["unknown"], body["best"]), (True, None))
        return
    first = body["results"][0]["label"]
    nearest = sum(tally[first][1] if first in tally else max(d for _, d in tally.values()) for tally in voting)
    if len(voting) == 1:  # of more, the farthest vote counts for those without the label
        known = 1 / (1 + math.exp(-(rule.intercept + rule.share_gain * shares[first] - rule.distance_loss * nearest)))
        for label, share in shares.items():
            if not math.isclose(found[label], known * share, abs_tol=1e-6):
                raise Mismatch(f"the score of {label!r} is {found[label]}, and by the model {known * share}")
    if shares[first] < max(shares.values()) - 1e-9:
        raise Mismatch(f"the first label is {first!r}, which has not the largest share: {shares}")
    expect("whether it is unknown", body["unknown"], body["results"][0]["score"] < body["threshold"])


def _tally(neighbors: Sequence[tuple[float, str]], rule: Any) -> dict[str, tuple[float, float]]:
    """{label: its share of the votes, the distance of its nearest neighbor}."""
    if not neighbors:
        return {}
    weights: dict[str, float] = {}
    nearest: dict[str, float] = {}
    for distance, label in neighbors:
        weights[label] = weights.get(label, 0) + math.exp((neighbors[0][0] - distance) / rule.temperature)
        nearest.setdefault(label, distance)
    return {label: (weight / sum(weights.values()), nearest[label]) for label, weight in weights.items()}


def _embedded(run: Run, rng: random.Random) -> Image | None:
    known = [image for image in run.world.images.values() if image.state == "indexed"]
    return rng.choice(known) if known else None


def _mean(run: Run, version: str, images: list[Image]) -> NDArray[np.float32]:
    return np.mean(list(run.vectors.of(version, images).values()), axis=0)


def _draw_options(run: Run, rng: random.Random, *, filtered: bool = True) -> dict[str, Any]:
    asked: dict[str, Any] = {"k": rng.choice((1, 5, 10, 100, 1000)), "exact": rng.random() < 0.2}
    if rng.random() < 0.4:
        asked["collection"] = rng.choice((*NAMES, "missing"))
    if rng.random() < 0.3:
        asked["max_distance"] = rng.choice((0, 0.1, 0.5, 0.9, 2))
    if filtered:
        known = [image.metadata for image in list(run.world.images.values())[-50:] if image.metadata]
        asked["filter"] = draw_filter(rng, known)
    return asked


def _candidates(run: Run, asked: dict[str, Any]) -> dict[str, Image]:
    name, wanted = asked.get("collection"), asked.get("filter", {})
    return {
        image.id: image
        for image in run.world.images.values()
        if name in (None, image.collection.name) and passes(wanted, image.label, image.metadata)
    }


def _adopt(run: Run, matches: Sequence[dict[str, Any]]) -> None:
    """Images are indexed that are found, be it those that an import has brought meanwhile."""
    for match in matches:
        image = run.world.images.get(match["image_id"]) or run.adopt(match["image_id"])
        if image is not None and image.state == "pending":
            image.state = "indexed"


def _is_missing(run: Run, asked: dict[str, Any], answer: Answer) -> bool:
    """Whether the collection is not there, which the answer must say then."""
    missing = asked.get("collection") not in (None, *run.world.collections)
    if missing:
        expect(f"searching {asked['collection']}, which is not there", answer.status, 404, answer=answer)
    return missing


def _judged(
    run: Run, what: str, asked: dict[str, Any], answer: Answer, query: NDArray[np.float32], *,
    besides: Sequence[str] = (), slack: float = SINGLE,
) -> str:  # fmt: skip
    if _is_missing(run, asked, answer):
        return f"{what} → 404"
    assert run.world.active is not None
    if run.world.switching and (answer.status != 200 or answer.body["model_version"] != run.world.active.id):
        end_reindex(run)
        return f"{what}, while the model was switched"
    expect(what, answer.status, 200, answer=answer)
    expect(f"the version of {what}", answer.body["model_version"], run.world.active.id)
    matches, how = answer.body["matches"], answer.body["search"]
    _adopt(run, matches)
    candidates = {each: image for each, image in _candidates(run, asked).items() if each not in besides}
    own = distances(query, run.vectors.of(run.world.active.id, list(candidates.values())))
    lacking = [each for each, image in candidates.items() if image.state == "indexed" and each not in own]
    if lacking:
        raise Mismatch(f"{what}: {len(lacking)} indexed images have no vector, such as {lacking[0]}", *lacking[:3])
    exact = how["mode"] == "exact"
    limits = {"k": asked["k"], "max_distance": asked.get("max_distance"), "slack": slack}
    run.missed += check_matches(matches, own, candidates, **limits, exact=exact)
    run.searched += 0 if exact else len(matches)
    expect(f"what {what} asked for", (how["requested"], how["returned"]), (asked["k"], len(matches)))
    if asked["exact"]:
        expect(f"the mode of {what}", how["mode"], "exact")
    for match in matches:
        image = candidates[match["image_id"]]
        told = (match["label"], match["collection"], round(match["similarity"] + match["distance"], 9))
        expect(f"what is told of match {image.id}", told, (image.label, image.collection.name, 1), about=(image.id,))
        if not same(match["metadata"], image.metadata):
            raise Mismatch(
                f"match {image.id} has {match['metadata']!r}, where the model has {image.metadata!r}", image.id
            )
    return f"{what}: {len(matches)} of {len(candidates)}, {how['mode']}"
