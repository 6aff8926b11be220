"""Hash slots of Redis Cluster: CRC16 (XMODEM) of a key, or of the part in braces."""

SLOTS = 16384
POLYNOMIAL = 0x1021


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ (POLYNOMIAL if crc & 0x8000 else 0)
        rows.append(crc & 0xFFFF)
    return tuple(rows)


TABLE = _table()


def crc16(data: bytes) -> int:
    """Return CRC16/XMODEM: 0x31c3 for b"123456789"."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ TABLE[crc >> 8 ^ byte]
    return crc


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of what is in its first braces, if there is something in them."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc16(key) % SLOTS
