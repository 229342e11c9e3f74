"""Calibrations of collections that nothing can use: those for model versions whose vectors are gone."""

from umbel.models import collection_calibrations
from umbel.operations.reconciliation.context import Context, Mismatches


def check_calibrations(context: Context) -> list[Mismatches]:
    """Calibrations for retired versions; one that comes back is embedded and calibrated again."""
    found = Mismatches("stale_calibration", "collections calibrated for a model that is retired", "Removed.")
    with context.transaction() as session:
        stale = collection_calibrations.list_stale(session)
        for version_id in {version for _, version in stale} if context.repair else ():
            collection_calibrations.delete_calibrations(session, version_id=version_id)
    found.add((collection for collection, _ in stale), repaired=context.repair)
    return [found]
