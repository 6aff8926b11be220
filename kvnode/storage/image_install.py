"""Puts a received image in the place of a node's store and log, whole or not at all.

    db.incoming/    the image           log.incoming/   an empty log that begins behind the image
    install         decided: from here on a start completes what is left to do
    db.old/ log.old/                    what was used before, removed at leisure

 1. The image is whole, durable and closed, with this node's identity; then the log is made.
 2. `install` gets its name, durably. Before this a start removes what is incoming, after it puts
    it in place: so Raft may be told as soon as this is done, and not before.
 3. The log, then the store: X becomes X.old, X.incoming becomes X, one durable change of a name
    after the other, so at each start what has been done is seen from the names.
 4. `install` is removed, durably; then what is old.

Term and vote (raft.state) stay: they are the node's, whatever its log says.
"""

import struct
from typing import Protocol

from kvnode._core import crc32c
from kvnode.base.errors import CorruptionError, FormatError
from kvnode.base.limits import ENGINE_CACHE_BYTES_MIN, IMAGE_OPEN_FILES_MAX
from kvnode.storage.disk import Disk
from kvnode.storage.engine import Engine, EngineOptions
from kvnode.storage.folder import Folders
from kvnode.storage.image import ImageFacts
from kvnode.storage.local import Position
from kvnode.storage.log_format import Link
from kvnode.storage.log_recovery import create_log

STORE = "db"
LOG = "log"
MARKER = "install"
MARKER_TMP = "install.tmp"
INCOMING = ".incoming"
OLD = ".old"

# Of the incoming store, which is open beside the one in use.
INCOMING_OPTIONS = EngineOptions(
    cache_bytes=ENGINE_CACHE_BYTES_MIN, open_files_max=IMAGE_OPEN_FILES_MAX
)

MAGIC = b"KVNODINS"
VERSION = 1

_MARKER = struct.Struct(">8sIIQQQ")
_CRC = struct.Struct(">I")


class MakeEngine(Protocol):
    """Opens or makes a store in a folder of the data directory."""

    def __call__(self, path: str) -> Engine: ...


class IncomingFolder:
    """The folder in which an image is received; see image_receiving.IncomingStore."""

    def __init__(self, folders: Folders, make_engine: MakeEngine) -> None:
        self._folders = folders
        self._make_engine = make_engine

    def make(self) -> Engine:
        return self._make_engine(f"{self._folders.path}/{STORE}{INCOMING}")

    def remove(self) -> None:
        self._folders.remove(STORE + INCOMING)


def install(
    disk: Disk, folders: Folders, facts: ImageFacts, *, segment_bytes: int, id_seed: int
) -> None:
    """Replace store and log, which are closed, by the received image and a log that follows it.

    id_seed: random u64. Raises StorageIOError: the node stops, and its next start looks.
    What is old is left for remove_old().
    """
    path = folders.path
    assert folders.has(STORE + INCOMING)
    assert MARKER not in disk.list(path)
    remove_old(folders)
    folders.remove(LOG + INCOMING)
    disk.make_dir(f"{path}/{LOG}{INCOMING}")
    at = facts.at
    create_log(
        disk,
        f"{path}/{LOG}{INCOMING}",
        segment_bytes=segment_bytes,
        id_seed=id_seed,
        base=Link(0, 0, 0, at.term, at.index, at.commit_ts),
    )
    folders.sync()
    _write_marker(disk, path, at)
    _switch(disk, folders)


def finish_installation(disk: Disk, folders: Folders) -> Position | None:
    """At start, before anything else is opened: complete an installation, or take it back.

    Returns the position of what was put in place now: the checkpoint that the store must have.
    Raises CorruptionError, FormatError, StorageIOError.
    """
    at = _read_marker(disk, folders.path)
    if at is None:
        for name in (STORE, LOG):
            if folders.has(name + OLD) and not folders.has(name):
                raise CorruptionError(
                    f"{folders.path}/{name} is missing, where {name}{OLD} is what was used before. "
                    "Nothing was changed. Restore the data directory from a backup, or remove the "
                    "node from its group and add it anew"
                )
            folders.remove(name + INCOMING)
        if MARKER_TMP in disk.list(folders.path):
            disk.unlink(f"{folders.path}/{MARKER_TMP}")
    else:
        _switch(disk, folders)
    remove_old(folders)
    return at


def remove_old(folders: Folders) -> None:
    """Remove what an installation has replaced. May take long: gigabytes of files."""
    for name in (STORE, LOG):
        folders.remove(name + OLD)


def _switch(disk: Disk, folders: Folders) -> None:
    """Put in place what is incoming, from wherever an earlier try has ended."""
    for name in (LOG, STORE):
        if folders.has(name + INCOMING):
            if folders.has(name):
                folders.rename(name, name + OLD)
                folders.sync()
            folders.rename(name + INCOMING, name)
            folders.sync()
        elif not folders.has(name):
            raise CorruptionError(
                f"{folders.path}: an image is being installed, but there is no {name}{INCOMING}. "
                "Nothing was changed. Remove the node from its group and add it anew"
            )
    disk.unlink(f"{folders.path}/{MARKER}")
    disk.fsync_dir(folders.path)


def _write_marker(disk: Disk, path: str, at: Position) -> None:
    body = _MARKER.pack(MAGIC, VERSION, 0, at.index, at.term, at.commit_ts)
    tmp = f"{path}/{MARKER_TMP}"
    file = disk.open(tmp, create=True)
    try:
        disk.truncate(file, 0)
        disk.pwrite(file, body + _CRC.pack(crc32c.extend(0, body)), 0)
        disk.fdatasync(file)
    finally:
        disk.close(file)
    disk.rename(tmp, f"{path}/{MARKER}")
    disk.fsync_dir(path)


def _read_marker(disk: Disk, path: str) -> Position | None:
    """Return where the image ends that is being installed; None: none is. It may be in the page
    cache only, and is durable afterwards."""
    if MARKER not in disk.list(path):
        return None
    name = f"{path}/{MARKER}"
    file = disk.open(name)
    try:
        data = disk.read(file, _MARKER.size + _CRC.size + 1, 0)
    finally:
        disk.close(file)
    body, crc = data[: _MARKER.size], data[_MARKER.size :]
    if len(body) < _MARKER.size or crc != _CRC.pack(crc32c.extend(0, body)) or body[:8] != MAGIC:
        raise CorruptionError(
            f"{name} is damaged: it says that an image is being installed. Nothing was changed. "
            "Remove the node from its group and add it anew"
        )
    _, version, _, index, term, commit_ts = _MARKER.unpack(body)
    if version > VERSION:
        raise FormatError(f"{name}: format {version}; this kvnode reads up to {VERSION}")
    disk.fsync_dir(path)
    return Position(index, term, commit_ts)
