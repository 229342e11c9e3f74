"""The calibration of a model in training: `umbel.search.calibration_fit` on its validation sets."""

from collections.abc import Sequence

from torch import Tensor

from ml.evaluation.validation import ValidationSet
from umbel.models.calibration import Calibration
from umbel.search.calibration_fit import Labelled, fit


def fit_sets(
    sets: Sequence[ValidationSet], vectors: Sequence[Tensor], *, seed: int, class_names: Sequence[str]
) -> Calibration | None:
    """`fit` on validation sets and their embeddings (N, D): held-out pictures ask in all that is known of their folder.

    Sets that choose nothing stay unseen by the calibration too. class_names: by label.
    """
    labelled = [
        Labelled(one.name, found.numpy(), one.labels, one.protocol.asks, one.protocol.groups)
        for one, found in zip(sets, vectors, strict=True)
        if one.chooses
    ]
    classes = sorted({class_names[label] for one in sets if one.chooses for label in one.labels.tolist()})
    return fit(labelled, seed=seed, description="validation pictures", labels=classes)
