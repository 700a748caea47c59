"""What HEIC and HEIF files, the photos of phones, are known by."""

import struct

HEIF = "HEIF"
"""Pillow's name of the format."""
CODED_AS_HEVC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
"""Brands of pictures that are coded by HEVC. AVIF files have the same containers and other brands."""
HEAD_BYTES = 256
"""Of a file, to know its brands by."""


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with these bytes, up to `HEAD_BYTES`, is a HEIC or HEIF picture.

    By ISO/IEC 14496-12, section 4.3, it begins with its length, "ftyp", a major brand, a version and other brands.
    """
    if len(head) < 16 or head[4:8] != b"ftyp":
        return False
    (length,) = struct.unpack(">I", head[:4])
    brands = head[8:12] + head[16 : min(length, len(head))]
    return any(brands[start : start + 4] in CODED_AS_HEVC for start in range(0, len(brands), 4))
