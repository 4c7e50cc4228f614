"""The system calls that Python 3.11 does not offer: namespaces, mounts, capabilities, process settings."""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOUNT_ATTR_RDONLY = 0x1
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture
_SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
_SIGCHLD = 17
_CAPABILITY_VERSION_3 = 0x20080522

# PyDLL keeps the GIL: these calls are short, and there is only one thread.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones. Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def fork_into(flags: int) -> int:
    """fork(2) whose child begins in new namespaces of the kinds in `flags`; 0 in the child. Raises OSError.

    Unlike unshare and fork, this can be done any number of times: a process may leave its PID namespace only once.
    """
    number = _SYS_CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"clone is not known on {os.uname().machine}")
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _libc.syscall(number, flags | _SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    failure = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(failure, os.strerror(failure), "clone")
    return pid


def setns(fd: int, kind: int) -> None:
    """Enter the namespace of `kind` that `fd` stands for. Raises OSError."""
    _checked(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)
    _checked(result, f"mount {target}")


def unmount(target: str) -> None:
    """Detach a mount lazily. Raises OSError."""
    _checked(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def set_read_only(path: str, *, recursive: bool, read_only: bool = True) -> None:
    """Make the mount at `path` (and with `recursive` those below) read-only, or writable again. Linux 5.12 or later."""
    attr = (ctypes.c_uint64 * 4)(*((MOUNT_ATTR_RDONLY, 0) if read_only else (0, MOUNT_ATTR_RDONLY)), 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    result = _libc.syscall(_SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, ctypes.byref(attr), ctypes.sizeof(attr))
    _checked(result, f"mount_setattr {path}")


def prctl(option: int, value: int = 0, more: int = 0) -> int:
    """prctl(2) with up to two arguments. Raises OSError."""
    return _checked(_libc.prctl(option, value, more, 0, 0), "prctl")


def set_process_name(name: str) -> None:
    """What `ps -o comm` shows, at most 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(buffer))


def set_hostname(name: str) -> None:
    """Name the present UTS namespace. Raises OSError."""
    encoded = name.encode()
    _checked(_libc.sethostname(encoded, len(encoded)), "sethostname")


def drop_bounding_capabilities(kept: int) -> None:
    """Make sure that no later exec gains a capability outside the bit mask `kept`."""
    for number in range(64):
        if kept >> number & 1:
            continue
        if _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) < 0:
            break  # past the last capability of this kernel
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def keep_capabilities(kept: int) -> None:
    """Give up every present capability outside the bit mask `kept`, and all inheritable ones. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    present = (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(header, present), "capget")
    low, high = kept & 0xFFFFFFFF, kept >> 32
    sets = (ctypes.c_uint32 * 6)(present[0] & low, present[1] & low, 0, present[3] & high, present[4] & high, 0)
    _checked(_libc.capset(header, sets), "capset")
