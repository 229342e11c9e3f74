"""Every operation, with how often it is drawn."""

import random

from tests.model.operations import gallery, imports, insights, jobs, models, restarts, search, trash, uploads
from tests.model.run import Operation

WEIGHTS: dict[Operation, float] = {
    uploads.upload_new: 13, uploads.upload_known: 5, uploads.upload_again: 4, uploads.upload_bad: 3,
    uploads.upload_into_import: 5,
    imports.open_import: 1, imports.import_archive: 1.2, imports.import_folder: 1, imports.import_list: 1,
    gallery.look_at_image: 5, gallery.fetch_file: 2, gallery.relabel: 7, gallery.remove_image: 5,
    gallery.check_hashes: 2, gallery.list_images: 3, gallery.create_collection: 1, gallery.list_collections: 1,
    gallery.set_quota: 0.7, gallery.delete_collection: 0.4,
    trash.remove_many: 0.6, trash.change_many: 0.8, trash.restore: 1.5, trash.look_into_trash: 0.8,
    search.search_by_image: 8, search.search_by_vector: 7, search.search_by_picture: 4, search.search_by_examples: 4,
    search.search_for_nothing: 2, search.identify: 4,
    jobs.look_at_job: 4, jobs.list_jobs: 1, jobs.close_job: 1, jobs.cancel_job: 1, jobs.pause_job: 0.8,
    jobs.resume_job: 0.8, jobs.retry_job: 0.7, jobs.settle: 1.5,
    models.look_at_models: 0.8, models.begin_reindex: 0.4, models.await_reindex: 0.3, models.stop_reindex: 0.3,
    models.activate: 0.4, models.roll_back: 0.3, models.retire: 0.1, models.register_again: 0.2,
    insights.find_duplicates: 0.4, insights.measure_recall: 0.1,
    restarts.restart: 0.35,
}  # fmt: skip


def drawn(rng: random.Random, number: int) -> Operation:
    """The next operation."""
    return rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
