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
    binds = [(_open(source), target, read_only) for source, target, read_only in container["mounts"]]
    if container["read_only_root"]:
        syscalls.set_read_only("/", recursive=True)
    private = _private(pod)
    _make_mount_points(pod["private"] + "/root", [target for _, target, _ in binds])
    if own_processes:
        syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name, target in (*((name, f"/etc/{name}") for name in pod["files"]), ("shm", "/dev/shm")):
        if os.path.exists(target):
            syscalls.mount(f"/proc/self/fd/{private}/{name}", target, flags=MS_BIND)
    os.close(private)
    for descriptor, target, read_only in binds:
        syscalls.mount(f"/proc/self/fd/{descriptor}", target, flags=MS_BIND | MS_REC)
        if read_only or container["read_only_root"]:
            syscalls.set_read_only(target, recursive=False, read_only=read_only)
        os.close(descriptor)


def _private(pod: Message) -> int:
    """A directory in memory, with the container's /dev/shm and the pod's files for /etc."""
    directory = pod["private"]
    syscalls.mount("private", directory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
    os.umask(0)
    os.mkdir(directory + "/shm", 0o1777)
    os.umask(0o022)
    for name, text in pod["files"].items():
        descriptor = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.write(descriptor, text.encode())
        os.close(descriptor)
    return _open(directory)


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
