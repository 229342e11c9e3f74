"""What lies beside pictures and is never meant to be one: trash, snapshots, thumbnails that programs keep.

Each entry is a part of a path, as a regular expression in the syntax that Python and JavaScript share: the page of the
server asks for PATTERN. Sources: what Immich, PhotoPrism and Syncthing exclude, and what the systems themselves write.
"""

import re

_FOLDERS = (
    r"\.[^/]+",  # hidden, and so are .Trash-1000, .stversions, .@__thumb, .dropbox.cache; hidden files, too: ._a.jpg
    r"__MACOSX",  # in zips made by macOS
    r"Network Trash Folder|Temporary Items|TheVolumeSettingsFolder",  # macOS, on network shares
    r"@eaDir|#recycle|#snapshot|@tmp|@sharebin",  # Synology: thumbnails, trash, snapshots
    r"@Recycle|@Recently-Snapshot|@__thumb|@Transcode",  # QNAP
    r"~snapshot",  # NetApp
    r"\$RECYCLE\.BIN|RECYCLER|System Volume Information",  # Windows
    r"appdata_oc[a-z0-9]+|files_trashbin|files_versions",  # Nextcloud's data folder: previews, trash, versions
    r"[^/]+\.lrdata",  # Lightroom: previews
    r"THMBNL",  # cameras: thumbnails of films
)
_FILES = (
    r"Thumbs\.db|ehthumbs(?:_vista)?\.db|desktop\.ini|Icon\r",  # Windows, macOS
    r"[^/]+@Syno(?:EAStream|Resource)",
    r"~syncthing~[^/]*\.tmp",
    r"[^/]+\.(?:crdownload|part|partial|filepart|!sync|!ut|!qb)",  # on their way, not whole yet
)
# Of a library of Apple's Photos, iPhoto or Aperture only the pictures that people put there, not what it makes of them.
_IN_LIBRARIES = r"\.(?:photos|photo|migratedphoto|ap)library/(?!(?:originals|masters|modified)(?![^/]))"

PATTERN = rf"/(?:{'|'.join(_FOLDERS)})(?![^/])|/(?:{'|'.join(_FILES)})(?![\s\S])|{_IN_LIBRARIES}"
"""To be searched for, whatever the case of its letters, in "name of what is imported/path in it"."""

_SKIPPED = re.compile(PATTERN, re.IGNORECASE)


def skipped_path(path: str, top: str = "") -> bool:
    """Whether a file or folder is passed over, by its own name and those of the folders that it lies in.

    path: with slashes, relative to what is imported. top: the name of that, which is itself never a reason.
    """
    return bool(_SKIPPED.search(f"{top}/{path}"))
