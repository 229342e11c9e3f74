"""`umbel calibrate`: fit what `identify` trusts to a collection's own labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.output import api_client, json_option, print_json, say

if TYPE_CHECKING:
    from umbel_client.collections import CalibrationSummary


@click.command()
@click.argument("collection")
@click.option("--show", is_flag=True, help="Only show the calibration it has.")
@click.option("--remove", is_flag=True, help="Remove it: the model's is used again.")
@json_option
def calibrate(collection: str, show: bool, remove: bool, as_json: bool) -> None:
    """Fit the probabilities of `umbel identify`, and when it says "unknown", to the labels in COLLECTION.

    Its labelled images are identified among each other, each once with its label in the gallery and once without. It
    takes 30 images that share their label with another, of two labels at least, and some seconds. Do it again when
    many images or labels have come, and after a switch to another model: a calibration belongs to one.

    \b
    umbel calibrate garden
    umbel calibrate garden --show
    """
    if show and remove:
        raise click.UsageError("Give --show or --remove, not both.")
    with api_client() as api:
        if remove:
            api.collections.remove_calibration(collection)
            print_json({"collection": collection, "calibration": None}) if as_json else say(
                f"{collection} has no calibration of its own any more."
            )
            return
        found = api.collections.calibration(collection) if show else api.collections.calibrate(collection)
    print_json(found.as_dict()) if as_json else show_calibration(collection, found)


def show_calibration(collection: str, found: CalibrationSummary) -> None:
    """Print what a calibration says."""
    say(f"{collection}, calibrated on {found.images:,} images of {found.labels:,} labels.")
    say(f"Below a probability of {found.unknown_below:.0%} the answer is: unknown.")
    say(f"Of images with a known label {found.answered:.0%} are answered.")
    say(f"Of all answers {found.accuracy:.0%} are right, where half of the images have a known label.")
    say(f"Of images whose label is taken out {found.unknown_refused:.0%} are called unknown.")
