"""What each route needs of a key: one table, which a test compares with the routes."""

from dataclasses import dataclass
from enum import Enum, auto

from umbel.access.keys import KeyScope


class Where(Enum):
    """How the collections of a request are found, for keys that are not for all collections."""

    NOWHERE = auto()  # it is about none
    PATH = auto()  # `name` in the path
    IMAGE = auto()  # the collection of `image_id` in the path; elsewhere such an image is a 404
    WEBHOOK = auto()  # the collection of `webhook_id` in the path; elsewhere, or for all, such a webhook is a 404
    SYNC = auto()  # the collection of `sync_id` in the path; elsewhere such a sync is a 404
    JOB = auto()  # the collection of `job_id` in the path; elsewhere, or across collections, such a job is a 404
    REQUEST = auto()  # named in the query or the body, which the route hands to access.within()
    LIST = auto()  # all that the key reaches: the route asks access.reach()
    ALL = auto()  # every collection: only keys that are for all


@dataclass(frozen=True, slots=True)
class Need:
    """A key of this scope, for the collections found by `where`.

    uploaders: keys of the scope `upload` may too, for jobs that they began. controls: `job_id` in the path is acted on,
    which may take more (umbel/operations/job_rules.py). audited: the audit log tells of it, as of all that takes
    `admin`.
    """

    scope: KeyScope
    where: Where
    uploaders: bool = False
    controls: bool = False
    audited: bool = False

    @property
    def described(self) -> str:
        """The scope, for people."""
        if self.controls:
            return f"{self.scope}; for some types of jobs {KeyScope.ADMIN}"
        return f"{self.scope} or {KeyScope.UPLOAD}" if self.uploaders else str(self.scope)


READ, UPLOAD, WRITE, ADMIN = KeyScope
CONTROL = Need(WRITE, Where.JOB, controls=True, audited=True)

NEEDS: dict[str, Need | None] = {
    # Without a key: the page without its data, signing in, health checks, the documentation.
    "static": None,
    "page.page": None,
    "page.files": None,
    "session.page": None,
    "session.sign_in_by_form": None,
    "session.sign_out_by_form": None,
    "session.sign_in": None,
    "session.describe": None,
    "session.sign_out": None,
    "health.alive": None,
    "health.ready": None,
    "openapi.spec": None,
    "page.reference": None,
    "page.errors": None,
    # Pictures
    "images.upload_image": Need(UPLOAD, Where.REQUEST),
    "images.check_images": Need(READ, Where.REQUEST, uploaders=True),
    "images.list_images": Need(READ, Where.REQUEST),
    "facets.list_facets": Need(READ, Where.REQUEST),
    "images.get_image": Need(READ, Where.IMAGE),
    "images.change_image": Need(WRITE, Where.IMAGE),
    "images.remove_image": Need(WRITE, Where.IMAGE, audited=True),
    "bulk.change_images": Need(WRITE, Where.REQUEST, audited=True),
    "bulk.remove_images": Need(WRITE, Where.REQUEST, audited=True),
    "trash.list_trash": Need(READ, Where.REQUEST),
    "trash.restore_images": Need(WRITE, Where.REQUEST, audited=True),
    "trash.purge_images": Need(ADMIN, Where.REQUEST),
    "signed_urls.sign_images": Need(READ, Where.LIST, audited=True),
    "images.get_file": Need(READ, Where.IMAGE),
    "images.get_thumbnail": Need(READ, Where.IMAGE),
    "images.similar_images": Need(READ, Where.IMAGE),
    "imports.open_import": Need(WRITE, Where.REQUEST),
    # Followed sources
    "syncs.add_sync": Need(WRITE, Where.REQUEST, audited=True),
    "syncs.list_syncs": Need(READ, Where.LIST),
    "syncs.get_sync": Need(READ, Where.SYNC),
    "syncs.change_sync": Need(WRITE, Where.SYNC, audited=True),
    "syncs.remove_sync": Need(WRITE, Where.SYNC, audited=True),
    "syncs.run_sync": Need(WRITE, Where.SYNC, audited=True),
    "syncs.pause_sync": Need(WRITE, Where.SYNC, audited=True),
    "syncs.resume_sync": Need(WRITE, Where.SYNC, audited=True),
    # Jobs
    "jobs.list_jobs": Need(READ, Where.LIST),
    "jobs.get_job": Need(READ, Where.JOB, uploaders=True),
    "jobs.list_items": Need(READ, Where.JOB, uploaders=True),
    "jobs.download_items": Need(READ, Where.JOB),
    "jobs.close_job": CONTROL,
    "jobs.cancel_job": CONTROL,
    "jobs.retry_job": CONTROL,
    "jobs.pause_job": CONTROL,
    "jobs.resume_job": CONTROL,
    # Events
    "events.follow_events": Need(READ, Where.LIST),
    "webhooks.create_webhook": Need(ADMIN, Where.REQUEST),
    "webhooks.list_webhooks": Need(ADMIN, Where.LIST),
    "webhooks.get_webhook": Need(ADMIN, Where.WEBHOOK),
    "webhooks.delete_webhook": Need(ADMIN, Where.WEBHOOK),
    "webhooks.enable_webhook": Need(ADMIN, Where.WEBHOOK),
    "webhooks.disable_webhook": Need(ADMIN, Where.WEBHOOK),
    "webhooks.replay_events": Need(ADMIN, Where.WEBHOOK),
    "webhooks.list_deliveries": Need(ADMIN, Where.WEBHOOK),
    "webhooks.replay_delivery": Need(ADMIN, Where.WEBHOOK),
    # Questions
    "search.search": Need(READ, Where.REQUEST),
    "search.legacy_search": Need(READ, Where.REQUEST),
    "search_batch.search_batch": Need(READ, Where.REQUEST),
    "identify.identify_images": Need(READ, Where.REQUEST),
    "embed.embed": Need(READ, Where.NOWHERE),
    "export.export": Need(READ, Where.REQUEST),
    "duplicates.compare": Need(WRITE, Where.REQUEST),
    "duplicates.list_duplicates": Need(READ, Where.REQUEST),
    "label_issues.list_label_issues": Need(READ, Where.REQUEST),
    "curation.list_outliers": Need(READ, Where.REQUEST),
    "curation.list_representatives": Need(READ, Where.REQUEST),
    "curation.list_label_next": Need(READ, Where.REQUEST),
    "maps.get_map": Need(READ, Where.REQUEST),
    "maps.compute_map": Need(WRITE, Where.REQUEST),
    "vectors.bring_vectors": Need(WRITE, Where.REQUEST),
    # Collections
    "collections.create_collection": Need(WRITE, Where.REQUEST),
    "collections.list_collections": Need(READ, Where.LIST),
    "collections.get_collection": Need(READ, Where.PATH),
    "collections.change_collection": Need(ADMIN, Where.ALL),
    "collections.delete_collection": Need(ADMIN, Where.PATH),
    "calibrations.calibrate_collection": Need(WRITE, Where.PATH, audited=True),
    "calibrations.get_calibration": Need(READ, Where.PATH),
    "calibrations.remove_calibration": Need(WRITE, Where.PATH, audited=True),
    # The service
    "models.list_models": Need(READ, Where.NOWHERE),
    "models.get_model": Need(READ, Where.NOWHERE),
    "models.register_model": Need(ADMIN, Where.ALL),
    "models.activate_model": Need(ADMIN, Where.ALL),
    "models.rollback_model": Need(ADMIN, Where.ALL),
    "models.retire_model": Need(ADMIN, Where.ALL),
    "admin.measure": Need(ADMIN, Where.ALL),
    "admin.list_measured": Need(ADMIN, Where.ALL),
    "admin.reindex": Need(ADMIN, Where.ALL),
    "admin.list_audit": Need(ADMIN, Where.ALL),
    "keys.create": Need(ADMIN, Where.ALL),
    "keys.list_": Need(ADMIN, Where.ALL),
    "keys.revoke": Need(ADMIN, Where.ALL),
    "health.metrics": Need(READ, Where.ALL),
}
# A route that the table lacks needs an admin key for all collections.
STRICTEST = Need(ADMIN, Where.ALL)


def needs_key(endpoint: str | None) -> bool:
    """Whether there is such a route and it is not open to all."""
    return endpoint is not None and NEEDS.get(endpoint, STRICTEST) is not None
