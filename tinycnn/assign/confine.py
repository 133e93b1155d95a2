"""Confinement of a process that runs a student's function: no files, network or other processes, and limited memory.

Nothing here needs privileges; protections that the system lacks are left out, and :func:`confine` returns those that
hold. Linux has all of them: resource limits, seccomp (system calls that fail from now on; Drewry 2012) and Landlock
(files that can be reached; Salaün 2021). macOS has the limits, Windows none of them. The child imports this file by
itself: standard library only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from typing import Any

PROTECTIONS = {
    "limits": "limits on processor time, file size and open files",
    "memory": "a limit on memory",
    "calls": "no network, no new processes, no signals to other processes",
    "files": "files other than its own and Python's can be neither read nor written",
}

_NOBODY = 65534
_EPERM, _ENOSYS = 1, 38


def confine(settings: dict[str, Any]) -> list[str]:
    """Give up rights for good.

    Parameters
    ----------
    settings : dict
        ``memory`` and ``file_size`` in bytes, ``seconds`` of processor time, ``files`` open at once, ``user``: True to
        become an unprivileged user, ``read`` and ``write``: the paths that stay reachable.

    Returns
    -------
    list of str
        The keys of :data:`PROTECTIONS` that hold now.
    """
    done = _limit(settings)
    if sys.platform == "linux":
        if settings["user"]:
            _drop_root()
        _drop_capabilities()
        _end_with_the_grader()
        if _prctl_no_new_privileges():
            done += ["files"] if _hide_files(settings["read"], settings["write"]) else []
            done += ["calls"] if _refuse_calls() else []
    return done


def _limit(settings: dict[str, Any]) -> list[str]:
    try:
        import resource
    except ImportError:
        return []
    names = {"CORE": "", "CPU": "seconds", "FSIZE": "file_size", "NOFILE": "files"}
    lowered = [_lower(resource, name, settings.get(value, 0)) for name, value in names.items()]
    memory = sys.platform != "darwin" and _lower(resource, "AS", settings["memory"])  # macOS does not keep it
    return (["limits"] if all(lowered) else []) + (["memory"] if memory else [])


def _lower(resource: Any, name: str, value: int) -> bool:
    kind = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(kind)[1]
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(kind, (least, least))
    except (ValueError, OSError):
        return False
    return True


def _drop_root() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _drop_capabilities() -> None:
    """Drop root's capabilities: limits cannot be raised again."""
    header, none = struct.pack("<Ii", 0x20080522, 0), bytes(24)  # the third version of the kernel's structures
    _libc().capset(header, none)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _end_with_the_grader() -> None:
    _libc().prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL


def _prctl_no_new_privileges() -> bool:
    return _libc().prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS


# -- Landlock: files that can be reached -------------------------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REG, _TRUNCATE = 1 << 7, 1 << 8, 1 << 14
_RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights each version knows; from 5 on there are 16
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
_OF_A_FILE = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE


def _hide_files(read: list[str], write: list[str]) -> bool:
    """Restrict file access to these paths and the files beneath them."""
    syscall = _libc().syscall
    version = syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    handled = (1 << _RIGHTS_OF_VERSION.get(version, 16)) - 1
    attributes = struct.pack("<QQQ", handled, 0, 3 if version >= 6 else 0)  # signals and abstract sockets, too
    size = 24 if version >= 6 else 8
    ruleset = syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    for rights, paths in ((_READ, read), (_WRITE, write)):
        for path in paths:
            _allow(syscall, ruleset, path, rights & handled)
    done = syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return done


def _allow(syscall: Any, ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # the path does not exist
        return
    rights &= rights if os.path.isdir(path) else _OF_A_FILE
    syscall(_ADD_RULE, ruleset, 1, struct.pack("<Qi", rights, place), 0)
    os.close(place)


# -- seccomp: system calls that fail -----------------------------------------------------------------------------------

_REFUSED = {  # numbers on x86_64 and on aarch64
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, audit architecture
_CLONE, _CLONE3, _PRLIMIT = (56, 220), 435, (302, 261)
_CLONE_THREAD = 0x10000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in the kernel's struct seccomp_data


def _refuse_calls() -> bool:
    """Make these calls return EPERM, in this thread and those that it starts."""
    if platform.machine() not in _MACHINES or sys.maxsize < 2**32:
        return False
    code = b"".join(struct.pack("<HBBI", *line) for line in _program(*_MACHINES[platform.machine()]))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    return _libc().prctl(22, 2, program, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def _program(column: int, architecture: int) -> list[tuple[int, int, int, int]]:
    """Return the filter: lines of (operation, lines to skip if true, if false, operand)."""
    refuse = (_RETURN, 0, 0, _FAIL | _EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        *((_EQUAL, 1, 0, architecture), refuse),
        (_LOAD, 0, 0, _NUMBER),
        *((_AT_LEAST, 0, 1, 0x40000000), refuse),  # the x32 calls, which have numbers of their own
        *((_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _FAIL | _ENOSYS)),  # the C library then takes clone
    ]
    for number in (numbers[column] for numbers in _REFUSED.values()):
        lines += [(_EQUAL, 0, 1, number), refuse] if number is not None else []
    first = (_LOAD, 0, 0, _FIRST_ARGUMENT)
    lines += [(_EQUAL, 0, 4, _CLONE[column]), first, (_ANY_BIT, 0, 1, _CLONE_THREAD), allow, refuse]  # threads only
    lines += [(_EQUAL, 0, 4, _PRLIMIT[column]), first, (_EQUAL, 0, 1, 0), allow, refuse]  # one's own limits only
    return [*lines, allow]
