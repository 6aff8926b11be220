"""What handlers find of the configuration in their view."""

from itertools import product
from typing import TYPE_CHECKING

from kvnode._core.messages import OUTPUT_LIMIT
from kvnode.server.config import Config
from kvnode.server.values import wanted_events

if TYPE_CHECKING:
    from kvnode._core.view import View

# Of parameters for OBJECT ENCODING.
LISTPACK_LIMITS = tuple(product(("hash", "set", "zset"), ("entries", "value")))


def apply_to_view(view: "View", config: Config) -> None:
    """Bring a view in line with the configuration."""
    view.kept_bytes_max = config[OUTPUT_LIMIT]["normal"].hard
    view.databases_count = config["databases"]
    view.scripts.budget_micros = config["script-time-budget"]
    view.scripts.limit_micros = config["script-time-limit"] * 1000
    view.string_bytes_max = config["proto-max-bulk-len"]
    view.set_intset_entries = config["set-max-intset-entries"]
    view.list_listpack_size = config["list-max-listpack-size"]
    for kind, bound in LISTPACK_LIMITS:
        setattr(view, f"{kind}_listpack_{bound}", config[f"{kind}-max-listpack-{bound}"])
    view.pubsub.set_events(**wanted_events(config["notify-keyspace-events"]))
