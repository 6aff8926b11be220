"""The error taxonomy: each class says who raises it and what its catcher does.

Broken invariants are not here: they are AssertionError or InvariantError, and nobody catches them.
"""


class KvnodeError(Exception):
    """Base of every error that kvnode raises on purpose."""


class CommandError(KvnodeError):
    """The client's fault. Raised by handlers; dispatch turns it into one RESP error line.

    line: the whole line without '-', its code first, e.g. b"ERR syntax error".
    """

    def __init__(self, line: bytes) -> None:
        super().__init__(line.decode("utf-8", "replace"))
        self.line = line


class RecordMissing(KvnodeError):
    """A handler needs a record that is only on disk: the command parks and runs again."""


class RetryableError(KvnodeError):
    """Certainly not done, safe to send again. Raised before anything was proposed."""


class OutcomeUnknownError(KvnodeError):
    """Proposed, then leadership or time was lost: it may have been applied. Never retried here."""


class RemoteProtocolError(KvnodeError):
    """Bytes of a peer or client break the grammar: answer if possible, then close."""


class StorageError(KvnodeError):
    """The disk cannot be trusted. The node stops; it does not guess."""


class CorruptionError(StorageError):
    """Stored bytes are not what was written. Says which file or key."""


class StorageIOError(StorageError):
    """A write or sync failed. Never retried: after a failed fsync the page cache lies."""


class DirectoryInUseError(StorageError):
    """Another process holds the data directory. Start-up only."""


class FormatError(StorageError):
    """The data was written by a newer kvnode. Start-up only."""


class ConfigError(KvnodeError):
    """A wrong option or value; the text says what is right. Start-up and CONFIG SET only."""


class WorkspaceFullError(MemoryError):
    """A transaction needs more memory than it may have. It ends, with nothing done."""


class InvariantError(Exception):
    """Our own bug. Nobody catches it: the process ends."""


def first_error(error: BaseException) -> BaseException:
    """Return the first of what tasks within tasks have raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
