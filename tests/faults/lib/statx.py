"""The birth time of a file: Python has no statx(2)."""
import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, BTIME = -100, 0x800


def birth(path):
    """(seconds, nanoseconds)."""
    data = ctypes.create_string_buffer(256)
    if _libc.statx(AT_FDCWD, os.fsencode(path), 0, BTIME, data) != 0:
        raise OSError(ctypes.get_errno(), "statx", str(path))
    seconds, nanoseconds = struct.unpack_from("=qI", data.raw, 0x50)
    return seconds, nanoseconds
