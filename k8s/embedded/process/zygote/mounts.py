"""What a container sees of the file system: this machine's own, with a few things of its pod's on top.

Everything happens in the container's own mount namespace, so nothing of it is seen, or left behind, outside.
"""

from __future__ import annotations

import os

from k8s.embedded.process.zygote import syscalls
from k8s.embedded.process.zygote.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k8s.embedded.process.zygote.wire import Message


def arrange(pod: Message, container: Message, own_processes: bool) -> None:
    """Arrange the present mount namespace for a container. Raises OSError that names the path.

    Sources are opened before anything is put on top of them.
    """
    syscalls.mount("", "/", flags=MS_REC | MS_PRIVATE)
    files = [(f"{pod['directory']}/{name}", f"/etc/{name}", False) for name in pod["files"]]
    binds = [(_open(source), target, read_only) for source, target, read_only in files + container["mounts"]]
    if container["read_only_root"]:
        syscalls.set_read_only("/", recursive=True)
    _make_mount_points(pod["directory"] + "/root", [target for _, target, _ in binds[len(files) :]])
    if own_processes:
        syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if os.path.isdir("/dev/shm"):
        syscalls.mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777")
    for descriptor, target, read_only in binds:
        if os.path.exists(target):
            syscalls.mount(f"/proc/self/fd/{descriptor}", target, flags=MS_BIND | MS_REC)
            if read_only or container["read_only_root"]:
                syscalls.set_read_only(target, recursive=False, read_only=read_only)
        os.close(descriptor)


def _open(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _make_mount_points(staging: str, targets: list[str]) -> None:
    """Make directories that this machine does not have appear, without making them on this machine.

    The nearest directory that exists is covered by a tmpfs that shows the same entries and the missing one.
    """
    for target in targets:
        existing = target
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        if existing == target:
            continue
        if existing == "/":
            os.makedirs(staging, exist_ok=True)
            _cover("/", staging)
            os.chroot(staging)
            os.chdir("/")
        else:
            _cover(existing, existing)
        os.makedirs(target, exist_ok=True)


def _cover(directory: str, target: str) -> None:
    """Mount a tmpfs on `target` that shows the entries of `directory`."""
    original = _open(directory)
    below = f"/proc/self/fd/{original}"
    entries = [(entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in os.scandir(below)]
    syscalls.mount("covered", target, "tmpfs", MS_NOSUID, "mode=755")
    for name, is_directory, is_link in entries:
        path = f"{target}/{name}"
        if is_link:
            os.symlink(os.readlink(f"{below}/{name}"), path)
            continue
        if is_directory:
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        syscalls.mount(f"{below}/{name}", path, flags=MS_BIND | MS_REC)
    os.close(original)
