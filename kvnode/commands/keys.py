"""Which arguments of a command are keys, and what the command does with them."""

from collections.abc import Sequence

from kvnode.commands.row import KEY_FLAGS, Key, Row


def key_positions(row: Row, args: Sequence[bytes]) -> list[int]:
    """Return the positions of the keys in `args`, the command's name included.

    None at all when the call states a number of keys that it does not have.
    """
    return [position for _, positions in _found(row, args) for position in positions]


def keys_and_flags(row: Row, args: Sequence[bytes]) -> list[tuple[bytes, list[str]]]:
    """Return each key with the flags of what is done to it; none where key_positions has none."""
    found = []
    for key, positions in _found(row, args):
        words = (key.flags if key.variable is None else key.variable(args)).split()
        words.sort(key=KEY_FLAGS.index)
        found += [(args[position], words) for position in positions]
    return found


def _found(row: Row, args: Sequence[bytes]) -> list[tuple[Key, range]]:
    found = [(key, key.positions(args)) for key in row.keys]
    is_valid = all(positions or key.find is not None for key, positions in found)
    return found if is_valid else []
