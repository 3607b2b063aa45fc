"""Have the kernel refuse what a network drive, a phone or a FAT disk refuses.

    python tests/refuse.py PROGRAM ARGUMENT...

runs a program for which every hard link fails with EPERM: a seccomp filter, as Android's, that
holds for its children too. Linux on x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_LINK_CALLS = {"x86_64": (86, 265), "aarch64": (37,)}  # link, linkat
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def can_refuse() -> bool:
    return sys.platform == "linux" and platform.machine() in _LINK_CALLS


def refuse_links() -> None:
    """From now on, and in each program started from here, no hard link can be made."""
    calls = _LINK_CALLS[platform.machine()]
    code = struct.pack("HBBI", _LOAD, 0, 0, 0)  # the number of the call
    for at, call in enumerate(calls):
        code += struct.pack("HBBI", _EQUAL, len(calls) - at, 0, call)
    code += struct.pack("HBBI", _RETURN, 0, 0, _ALLOW)
    code += struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | errno.EPERM)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(code) // 8, code)
    for call in ((_NO_NEW_PRIVS, 1, 0, 0, 0), (_SET_SECCOMP, _FILTER, ctypes.byref(program))):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "the kernel takes no filter")


if __name__ == "__main__":
    refuse_links()
    os.execvp(sys.argv[1], sys.argv[1:])
