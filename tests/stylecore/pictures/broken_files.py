"""Files that are no picture, cut short, damaged, or too large."""

import io
import struct
import zlib


def png(width: int, height: int, depth: int, color: int, samples: bytes, *chunks: tuple[bytes, bytes]) -> io.BytesIO:
    """A PNG of one row per filter byte in `samples`, with kinds of samples that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = [chunk(b"IHDR", header), *(chunk(*c) for c in chunks), chunk(b"IDAT", zlib.compress(samples))]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b""))
