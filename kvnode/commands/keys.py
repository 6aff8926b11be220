"""Which arguments of a command are keys, and what the command does with them."""

from collections.abc import Sequence

from kvnode.commands.row import KEY_FLAGS, Row


def key_positions(row: Row, args: Sequence[bytes]) -> list[int]:
    """Return the positions of the keys in `args`, the command's name included."""
    return [position for key in row.keys for position in key.positions(len(args))]


def keys_and_flags(row: Row, args: Sequence[bytes]) -> list[tuple[bytes, list[str]]]:
    """Return each key with the flags of what is done to it."""
    found = []
    for key in row.keys:
        words = (key.flags if key.variable is None else key.variable(args)).split()
        words.sort(key=KEY_FLAGS.index)
        found += [(args[position], words) for position in key.positions(len(args))]
    return found
