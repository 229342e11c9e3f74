"""The client for programs that use async: `AsyncUmbel("http://…")`.

It has the methods of `Umbel`, each with the same arguments and answers. The requests are made by the same code, in
threads that anyio lends, so that it works under asyncio and trio, and no request holds up the event loop.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from anyio.to_thread import run_sync

from umbel_client.admin import Admin
from umbel_client.collections import Collections
from umbel_client.curation import Curation
from umbel_client.duplicates import LabelErrors, NearDuplicates
from umbel_client.images import Images
from umbel_client.imports import Imports
from umbel_client.jobs import Jobs
from umbel_client.keys import Keys
from umbel_client.models import Models
from umbel_client.syncs import Syncs
from umbel_client.trash import Trash
from umbel_client.umbel import Umbel
from umbel_client.webhooks import Webhooks

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Waitable(Protocol[T_co]):
    """What can be waited for: an upload, a job."""

    def wait(self, timeout: float | None = None) -> T_co:
        """Until it is done. timeout: seconds."""
        ...


class Part:
    """One part of the client. of: the same of the other client."""

    def __init__(self, of: Any) -> None:
        self._of = of


def awaited(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The method as a coroutine. Cancelled, it leaves at once, and the request goes on to its end unheard."""

    @wraps(method)
    async def call(self: Part, /, *arguments: P.args, **named: P.kwargs) -> T:
        return await run_sync(partial(method, self._of, *arguments, **named), abandon_on_cancel=True)

    return call


def iterated(method: Callable[Concatenate[Any, P], Iterator[T]]) -> Callable[Concatenate[Any, P], AsyncIterator[T]]:
    """The method as an asynchronous iterator."""

    @wraps(method)
    async def call(self: Part, /, *arguments: P.args, **named: P.kwargs) -> AsyncIterator[T]:
        items, end = method(self._of, *arguments, **named), object()
        while (item := await run_sync(next, items, end, abandon_on_cancel=True)) is not end:
            yield item  # type: ignore[misc]

    return call


class AsyncJobs(Part):
    """The methods of `Jobs`."""

    get, close, cancel = awaited(Jobs.get), awaited(Jobs.close), awaited(Jobs.cancel)
    retry, pause, resume = awaited(Jobs.retry), awaited(Jobs.pause), awaited(Jobs.resume)
    list, items, items_csv = iterated(Jobs.list), iterated(Jobs.items), awaited(Jobs.items_csv)


class AsyncImports(Part):
    """The methods of `Imports`."""

    open, file = awaited(Imports.open), awaited(Imports.file)
    folder, s3 = awaited(Imports.folder), awaited(Imports.s3)


class AsyncImages(Part):
    """The methods of `Images`."""

    upload, upload_url = awaited(Images.upload), awaited(Images.upload_url)
    upload_files, upload_folder = awaited(Images.upload_files), awaited(Images.upload_folder)
    check, known_files = awaited(Images.check), awaited(Images.known_files)
    get, list, count = awaited(Images.get), iterated(Images.list), awaited(Images.count)
    update, update_many = awaited(Images.update), awaited(Images.update_many)
    delete, delete_many = awaited(Images.delete), awaited(Images.delete_many)
    open_file = awaited(Images.open_file)
    file, thumbnail, sign = awaited(Images.file), awaited(Images.thumbnail), awaited(Images.sign)
    similar = awaited(Images.similar)


class AsyncSyncs(Part):
    """The methods of `Syncs`."""

    add, get, list = awaited(Syncs.add), awaited(Syncs.get), iterated(Syncs.list)
    change, run, remove = awaited(Syncs.change), awaited(Syncs.run), awaited(Syncs.remove)
    pause, resume = awaited(Syncs.pause), awaited(Syncs.resume)


class AsyncTrash(Part):
    """The methods of `Trash`."""

    list, restore, purge = iterated(Trash.list), awaited(Trash.restore), awaited(Trash.purge)


class AsyncCollections(Part):
    """The methods of `Collections`."""

    get, list, create = awaited(Collections.get), iterated(Collections.list), awaited(Collections.create)
    delete, set_quota = awaited(Collections.delete), awaited(Collections.set_quota)
    set_tiles = awaited(Collections.set_tiles)
    calibrate, calibration = awaited(Collections.calibrate), awaited(Collections.calibration)
    remove_calibration = awaited(Collections.remove_calibration)


class AsyncModels(Part):
    """The methods of `Models`."""

    get, list, register = awaited(Models.get), iterated(Models.list), awaited(Models.register)
    register_external, bring_vectors = awaited(Models.register_external), awaited(Models.bring_vectors)
    activate, rollback, retire = awaited(Models.activate), awaited(Models.rollback), awaited(Models.retire)


class AsyncNearDuplicates(Part):
    """The methods of `NearDuplicates`."""

    compare, list, page = (
        awaited(NearDuplicates.compare),
        iterated(NearDuplicates.list),
        awaited(NearDuplicates.page),
    )


class AsyncLabelErrors(Part):
    """The methods of `LabelErrors`."""

    list, page = iterated(LabelErrors.list), awaited(LabelErrors.page)


class AsyncCuration(Part):
    """The methods of `Curation`."""

    outliers, outliers_page = iterated(Curation.outliers), awaited(Curation.outliers_page)
    representatives, label_next = awaited(Curation.representatives), awaited(Curation.label_next)


class AsyncAdmin(Part):
    """The methods of `Admin`."""

    reindex, measure_recall = awaited(Admin.reindex), awaited(Admin.measure_recall)
    audit, recalls = iterated(Admin.audit), iterated(Admin.recalls)


class AsyncWebhooks(Part):
    """The methods of `Webhooks`."""

    create, get, list = awaited(Webhooks.create), awaited(Webhooks.get), iterated(Webhooks.list)
    delete, enable, disable = awaited(Webhooks.delete), awaited(Webhooks.enable), awaited(Webhooks.disable)
    deliveries, replay = iterated(Webhooks.deliveries), awaited(Webhooks.replay)
    replay_since = awaited(Webhooks.replay_since)


class AsyncKeys(Part):
    """The methods of `Keys`."""

    create, list, revoke = awaited(Keys.create), iterated(Keys.list), awaited(Keys.revoke)


class AsyncUmbel(Part):
    """A client of one Umbel API, as `Umbel`: its arguments and errors are the same."""

    def __init__(
        self, url: str | None = None, *, key: str | None = None, timeout: float = 60, retries: int = 4
    ) -> None:
        umbel = Umbel(url, key=key, timeout=timeout, retries=retries)
        super().__init__(umbel)
        self.jobs = AsyncJobs(umbel.jobs)
        self.imports = AsyncImports(umbel.imports)
        self.images = AsyncImages(umbel.images)
        self.trash = AsyncTrash(umbel.trash)
        self.collections = AsyncCollections(umbel.collections)
        self.models = AsyncModels(umbel.models)
        self.duplicates = AsyncNearDuplicates(umbel.duplicates)
        self.label_issues = AsyncLabelErrors(umbel.label_issues)
        self.curation = AsyncCuration(umbel.curation)
        self.admin = AsyncAdmin(umbel.admin)
        self.webhooks = AsyncWebhooks(umbel.webhooks)
        self.syncs = AsyncSyncs(umbel.syncs)
        self.keys = AsyncKeys(umbel.keys)

    search, identify, embed = awaited(Umbel.search), awaited(Umbel.identify), awaited(Umbel.embed)
    search_all, search_pages = iterated(Umbel.search_all), iterated(Umbel.search_pages)
    search_batch = awaited(Umbel.search_batch)
    facets, ready, export = awaited(Umbel.facets), awaited(Umbel.ready), awaited(Umbel.export)
    events = iterated(Umbel.events)

    async def wait(self, work: Waitable[T], timeout: float | None = None) -> T:
        """What `work.wait(timeout)` gives: of an upload its image, of a job the job when it has finished."""
        return await run_sync(partial(work.wait, timeout), abandon_on_cancel=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        self._of.close()
