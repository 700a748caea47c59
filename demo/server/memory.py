"""The page's memory: what large pictures took goes back to the system when they are gone."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""glibc's names of what `mallopt` sets (malloc.h)."""


def return_freed_memory() -> bool:
    """Let glibc give every freed block of 1 MB or more back at once; False where there is no glibc.

    Left alone, it raises its threshold with the largest block that was freed, and keeps what threads have freed in
    arenas of their own: a server that stylized large photos for an hour kept several times what it used.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    settings = ((_MMAP_THRESHOLD, 1 << 20), (_TRIM_THRESHOLD, 16 << 20), (_ARENA_MAX, 2))
    taken = [mallopt(name, value) for name, value in settings]
    return all(each == 1 for each in taken)
