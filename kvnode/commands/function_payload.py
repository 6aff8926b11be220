"""FUNCTION DUMP and RESTORE: libraries in the form of an RDB file's, with version and checksum.

Payloads of Redis are understood, compressed ones too; those made here are not compressed.
"""

from kvnode.base.errors import CommandError

OPCODE_FUNCTION = 245
VERSION = 10  # of what is made: Redis 7.0 reads it
VERSION_MAX = 12  # of Redis 7.4
FOOTER_BYTES = 10
LENGTH_32, LENGTH_64 = 0x80, 0x81
ENCODED, COMPRESSED = 3, 3  # of a length's first two bits; of its other six
WRONG = CommandError(b"ERR DUMP payload version or checksum are wrong")
POLYNOMIAL = 0x95AC9329AC4BC9B5  # Jones, reflected


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = _table()


def checksum(data: bytes) -> int:
    """Return the CRC-64 that ends payloads."""
    crc = 0
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def _length(n: int) -> bytes:
    if n < 1 << 6:
        return bytes((n,))
    if n < 1 << 14:
        return bytes((0x40 | n >> 8, n & 0xFF))
    return bytes((LENGTH_32,)) + n.to_bytes(4)


def dump(codes: list[bytes]) -> bytes:
    """Return the payload of libraries."""
    parts = [bytes((OPCODE_FUNCTION,)) + _length(len(code)) + code for code in codes]
    data = b"".join(parts) + VERSION.to_bytes(2, "little")
    return data + checksum(data).to_bytes(8, "little")


def restore(payload: bytes) -> list[bytes]:
    """Return the code of each library. Raises CommandError."""
    if len(payload) < FOOTER_BYTES:
        raise WRONG
    version = int.from_bytes(payload[-FOOTER_BYTES:-8], "little")
    if version > VERSION_MAX or checksum(payload[:-8]) != int.from_bytes(payload[-8:], "little"):
        raise WRONG
    reader = _Reader(payload[:-FOOTER_BYTES])
    codes = []
    while not reader.is_at_end:
        if reader.byte() != OPCODE_FUNCTION:
            raise CommandError(b"ERR given type is not a function")
        codes.append(reader.string())
    return codes


class _Reader:
    """Reads what an RDB file consists of. Raises CommandError where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def byte(self) -> int:
        return self._take(1)[0]

    def _take(self, n: int) -> bytes:
        if n > len(self._data) - self._at:
            raise CommandError(b"ERR failed loading library: the payload is cut off")
        self._at += n
        return self._data[self._at - n : self._at]

    def _length(self) -> int:
        first = self.byte()
        if first >> 6 == 0:
            return first
        if first >> 6 == 1:
            return (first & 0x3F) << 8 | self.byte()
        if first == LENGTH_32:
            return int.from_bytes(self._take(4))
        if first == LENGTH_64:
            return int.from_bytes(self._take(8))
        raise CommandError(b"ERR failed loading library: the payload is broken")

    def string(self) -> bytes:
        if not self.is_at_end and self._data[self._at] == (ENCODED << 6 | COMPRESSED):
            self._at += 1
            compressed, n = self._length(), self._length()
            return _decompress(self._take(compressed), n)
        return self._take(self._length())


def _decompress(data: bytes, n: int) -> bytes:
    """Return the `n` bytes that LZF has made `data` of. Raises CommandError."""
    out = bytearray()
    at = 0
    try:
        while at < len(data) and len(out) <= n:
            control = data[at]
            at += 1
            if control < 1 << 5:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            start = len(out) - ((control & 0x1F) << 8) - data[at] - 1
            at += 1
            if start < 0:
                raise IndexError
            for i in range(start, start + length + 2):  # may read what it has just written
                out.append(out[i])
    except IndexError:
        out.clear()
    if len(out) != n:
        raise CommandError(b"ERR failed loading library: the payload is broken")
    return bytes(out)
