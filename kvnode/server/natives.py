"""The native handlers by the names that rows of the command table use."""

from kvnode._core import databases, expiry, generic, lcs, scan, string_edit, strings, transactions
from kvnode._core.dispatch import NativeHandler

MODULES = (strings, string_edit, lcs, generic, expiry, scan, databases, transactions)


def native_handlers() -> dict[str, NativeHandler]:
    """Return all of them."""
    handlers: dict[str, NativeHandler] = {}
    for module in MODULES:
        handlers.update(module.HANDLERS)
    return handlers
