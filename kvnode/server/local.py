"""A node's data plane in one process, without sockets, disk or threads: bytes in, bytes out.

For measuring what commands cost by themselves; nothing that it is told outlives it.
"""

from collections.abc import Callable
from importlib import import_module
from itertools import chain

from kvnode._core.dispatch import Dispatch, NativeHandler
from kvnode._core.logwriter import PythonSink
from kvnode._core.pubsub import PubSub
from kvnode._core.sequencer import Sequencer
from kvnode._core.session import Session
from kvnode._core.tip import Tip
from kvnode._core.transactions import Watches
from kvnode._core.view import View
from kvnode.commands import table
from kvnode.scripting import runtime

NATIVE_MODULES = (
    "databases",
    "element_scan",
    "expiry",
    "generic",
    "hash_expiry",
    "hashes",
    "lcs",
    "list_blocking",
    "list_edit",
    "list_moves",
    "lists",
    "liveness",
    "once",
    "pubsub",
    "random_choice",
    "scan",
    "script",
    "set_algebra",
    "sets",
    "sort",
    "string_edit",
    "strings",
    "transactions",
    "zset_algebra",
    "zset_blocking",
    "zset_pops",
    "zset_ranges",
    "zsets",
)

HASH_KEY = bytes(range(16))  # fixed: runs compare instruction by instruction
START_MS = 1_700_000_000_000
FIRST_ID = 1
TERM = 1


class _MemoryLog(PythonSink):
    """A log on which every entry is safe as soon as it is submitted; it keeps none."""

    def on_submit(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        self.set_written(term, index)
        self.set_synced(term, index)


def native_handlers() -> dict[str, NativeHandler]:
    """Return every handler of the native core by the name under which rows refer to it."""
    modules = (import_module(f"kvnode._core.{name}") for name in NATIVE_MODULES)
    return dict(chain.from_iterable(module.HANDLERS.items() for module in modules))


def connect() -> Callable[[bytes], bytes]:
    """Return feed(data): executes all complete requests on one session of a new node, lets their
    batches commit, and returns the replies.
    """
    tip = Tip(HASH_KEY, True)
    view = View(tip, FIRST_ID)
    dispatch = Dispatch(table.build(native_handlers()))
    view.connect(dispatch, Watches(tip))
    runtime.connect(view)
    sequencer = Sequencer(tip, view, dispatch, _MemoryLog(), TERM, 0, 0, 0)
    sequencer.serving = True
    PubSub(sequencer).connect()
    session = Session(1, START_MS)
    session.authenticated = session.parser.authenticated = True
    sequencer.begin(START_MS)
    sequencer.create_databases()
    sequencer.end()
    sequencer.log_moved()

    def feed(data: bytes) -> bytes:
        session.feed(data)
        replies = []
        wants_to_run = True
        while wants_to_run:
            sequencer.begin(START_MS)
            sequencer.serve(session)
            sequencer.end()
            sequencer.log_moved()
            sequencer.take_flushable()
            replies.append(session.take())
            wants_to_run = bool(sequencer.take_ready())
        return b"".join(replies)

    return feed
