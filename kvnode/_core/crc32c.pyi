from typing_extensions import Buffer

def extend(crc: int, data: Buffer) -> int:
    """Return the CRC-32C of what `crc` covers followed by `data`; `crc` of nothing is 0."""

def extend_table(crc: int, data: Buffer) -> int:
    """As extend, always by table: what machines without SSE4.2 run."""

def is_accelerated() -> bool:
    """Whether this processor computes the CRC by instruction."""
