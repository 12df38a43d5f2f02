"""The sandbox of a codec child: once it is set up it may compute, read what it is sent, answer, and end.

Linux: a seccomp filter with a list of allowed system calls, for every other one EPERM. It needs no privilege and no
library, holds for root, and costs nothing per picture. Since no file can be opened, there is no blob, no other
process's environment and no new module to reach, so everything must have been imported before.
Everywhere: limits of the kernel, and no descriptor but those named.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of classic BPF: LD|W|ABS, JMP|JEQ|K, RET|K
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
_NUMBER_AT, _MACHINE_AT, _FIRST_AT, _SECOND_AT = 0, 4, 16, 24  # in struct seccomp_data; the low halves of arguments
_DESCRIPTORS: Final = 16  # a source at a time, on top of what is open

# The numbers on x86-64 and on AArch64 (asm/unistd_64.h, asm-generic/unistd.h).
_FREE: Final = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "sendto": (44, 206),  # on a connected pair of sockets: to its other end alone
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "brk": (12, 214),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "getcwd": (79, 17),  # Pillow asks before it writes
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "getrandom": (318, 278),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_OF_ITSELF: Final = {"kill": (62, 129), "tgkill": (234, 131)}  # `abort` is one: the worker's log then names the signal
_PRLIMIT: Final = (302, 261)
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # the column above, AUDIT_ARCH_*


def enter(kept: Collection[int]) -> bool:
    """From here on this process is confined, for good; True if the filter of system calls holds as well."""
    _close_all_but(kept)
    for kind, amount in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_NPROC, 0),  # of this process's own forks; root is exempt
    ):
        with suppress(OSError, ValueError):  # some systems know a limit and refuse to set it
            resource.setrlimit(kind, (amount, amount))
    return _filter_system_calls()


def _close_all_but(kept: Collection[int]) -> None:
    """From the fork server a child has what keeps that alive, the resource tracker's pipe and the worker's log."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    for descriptor in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if descriptor > 2 and descriptor not in kept:
            with suppress(OSError):  # the one of the listing is closed by now
                os.close(descriptor)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _filter_system_calls() -> bool:
    machine = _MACHINES.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None or sys.maxsize < 2**32:
        return False
    body = b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions(*machine, os.getpid()))
    program = _Program(len(body) // 8, body)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0) == 0)


def _instructions(column: int, audit_name: int, pid: int) -> list[tuple[int, int, int, int]]:
    """Each is a code, how many to skip if true and if false, and a constant."""
    allow, refuse = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)
    program = [(_LOAD, 0, 0, _MACHINE_AT), (_IF_EQUAL, 1, 0, audit_name), refuse, (_LOAD, 0, 0, _NUMBER_AT)]
    for numbers in _FREE.values():
        program += [(_IF_EQUAL, 0, 1, numbers[column]), allow]
    for numbers in _OF_ITSELF.values():
        program += [(_IF_EQUAL, 0, 4, numbers[column]), (_LOAD, 0, 0, _FIRST_AT), (_IF_EQUAL, 0, 1, pid), allow, refuse]
    # Its own limit of processor time alone: as root it could lift that of memory.
    program += [(_IF_EQUAL, 0, 6, _PRLIMIT[column]), (_LOAD, 0, 0, _FIRST_AT), (_IF_EQUAL, 0, 3, 0)]
    program += [(_LOAD, 0, 0, _SECOND_AT), (_IF_EQUAL, 0, 1, resource.RLIMIT_CPU), allow, refuse]
    return [*program, refuse]
