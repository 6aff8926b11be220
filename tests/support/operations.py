"""The operations of a log entry, taken apart: for logs that lose some of them on purpose."""


def operations(payload: bytes) -> list[bytes]:
    """Return the operations of an entry, see docs/FORMATS.md."""

    def varint(at: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            byte = payload[at]
            number |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return number, at

    found = []
    at = 0
    while at < len(payload):
        length, end = varint(at + 1)
        end += length
        if payload[at] == 1:
            length, end = varint(end)
            end += length
        found.append(payload[at:end])
        at = end
    return found


def is_of(kind: int, operation: bytes) -> bool:
    """Whether it is about a record of a kind, whose key has less than 128 bytes."""
    return operation[1] < 128 and operation[2] == kind
