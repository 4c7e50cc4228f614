"""From a container's description to its first process: what happens between fork and exec.

A child reports through a pipe that closes on exec: nothing there means that the command runs. Messages of failures are
worded as Docker's.
"""

from __future__ import annotations

import _signal
import errno
import os
import resource
import select
from fcntl import ioctl

from k8s.embedded.process.zygote import mounts, reaper, syscalls
from k8s.embedded.process.zygote.syscalls import CLONE_NEWNS, CLONE_NEWPID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from k8s.embedded.process.zygote.wire import Message

CONFIG, CREATE, RUN = "CreateContainerConfigError", "CreateContainerError", "RunContainerError"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EXECUTED_WITHIN_S = 10
_TIOCSCTTY = 0x540E
_SIGNALS_PYTHON_CHANGES = (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT, _signal.SIGCHLD)


class LaunchError(Exception):
    """A process could not be started. `failure` is the kubelet's word for why."""

    def __init__(self, failure: str, message: str) -> None:
        super().__init__(failure, message)
        self.failure = failure
        self.message = message


def start_first_process(pod: Message, container: Message, streams: Sequence[int]) -> int:
    """Start a container on these three descriptors; its pid on the host. Raises LaunchError."""
    flags = (CLONE_NEWPID if container["own_processes"] else 0) | (CLONE_NEWNS if pod["own_mounts"] else 0)

    def become(told: int) -> None:
        _join_cgroups(container)
        if pod["own_mounts"]:
            mounts.arrange(pod, container, container["own_processes"])
        if container["init"]:
            reaper.fork_below_init(told)
        _become_command(container, container["argv"], streams)

    return _start(flags, become)


def start_further_process(
    container: Message,
    pod_namespaces: Sequence[tuple[int, int]],
    first_process: int,
    argv: Sequence[str],
    streams: Sequence[int],
    env: dict[str, str],
) -> tuple[int, int]:
    """Start a command inside a running container: the pid that the caller must wait for, and the command's own.

    The former ends as the latter does. Raises LaunchError.
    """
    try:
        namespaces, root = _open_namespaces(first_process)
    except OSError as error:
        raise LaunchError(RUN, "the container is not running") from error
    report, pid_told = os.pipe2(os.O_CLOEXEC)

    def become(told: int) -> None:
        for descriptor, kind in (*pod_namespaces, *namespaces):
            syscalls.setns(descriptor, kind)
        pid = os.fork()
        if pid == 0:
            os.setsid()  # whoever hangs up kills this process group
            os.fchdir(root)
            os.chroot(".")
            _join_cgroups(container)
            _become_command(container | {"env": container["env"] | env}, argv, streams)
        os.write(pid_told, b"%d" % pid)
        os.close(told)
        os._exit(exit_code(os.waitpid(pid, 0)[1]))

    try:
        waited_for = _start(0, become)
        return waited_for, int(os.read(report, 32))
    finally:
        for descriptor in (report, pid_told, root, *(descriptor for descriptor, _ in namespaces)):
            os.close(descriptor)


def exit_code(status: int) -> int:
    """A wait status as shells and Docker write it: 128 + signal when a signal ended the process."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def kill_group(pid: int) -> None:
    """SIGKILL a process group; one that is gone is no error."""
    try:
        os.killpg(pid, _signal.SIGKILL)
    except ProcessLookupError:
        pass


def _open_namespaces(pid: int) -> tuple[list[tuple[int, int]], int]:
    opened = []
    for kind, flag in (("pid", CLONE_NEWPID), ("mnt", CLONE_NEWNS)):
        path = f"/proc/{pid}/ns/{kind}"
        if os.stat(path).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:
            opened.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), flag))
    return opened, os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)


def _start(flags: int, become: Callable[[int], None]) -> int:
    """Fork a child that calls `become`, and wait until it has executed its command. Raises LaunchError."""
    report, told = os.pipe2(os.O_CLOEXEC)
    try:
        pid = syscalls.fork_into(flags) if flags else os.fork()
    except OSError as error:
        os.close(report)
        os.close(told)
        raise LaunchError(CREATE, f"fork: {error.strerror}") from error
    if pid == 0:
        os.close(report)
        _run_child(become, told)
    os.close(told)
    failed = _all_of(report)
    if failed is None:  # it hangs, perhaps in a file system that does not answer
        os.kill(pid, _signal.SIGKILL)
        failed = f"{CREATE}\nthe command was not executed within {_EXECUTED_WITHIN_S} s".encode()
    if failed:
        os.waitpid(pid, 0)
        failure, _, message = failed.decode().partition("\n")
        raise LaunchError(failure, message)
    return pid


def _all_of(report: int) -> bytes | None:
    """What a pipe says until it closes; None when that takes too long. Closes it."""
    said = b""
    poll = select.poll()
    poll.register(report, select.POLLIN)
    try:
        while poll.poll(_EXECUTED_WITHIN_S * 1000):
            if not (piece := os.read(report, 65536)):
                return said
            said += piece
        return None
    finally:
        os.close(report)


def _run_child(become: Callable[[int], None], told: int) -> NoReturn:
    try:
        os.setsid()
        _die_with_parent(told)
        _signal.set_wakeup_fd(-1)
        for number in _SIGNALS_PYTHON_CHANGES:
            _signal.signal(number, _signal.SIG_DFL)
        become(told)
    except LaunchError as error:
        os.write(told, f"{error.failure}\n{error.message}".encode())
    except BaseException as error:
        os.write(told, f"{CREATE}\n{error}".encode())
    os._exit(127)


def _die_with_parent(told: int) -> None:
    """Be killed when the parent dies, also when it died before this call: then nobody reads the pipe."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _signal.SIGKILL)
    poll = select.poll()
    poll.register(told, 0)
    if poll.poll(0):
        os._exit(127)


def _join_cgroups(container: Message) -> None:
    for group in container["cgroups"]:
        descriptor = os.open(group["path"] + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, b"0")
        os.close(descriptor)


def _become_command(container: Message, argv: Sequence[str], streams: Sequence[int]) -> None:
    """Turn into the command, in the present namespaces. Raises LaunchError."""
    env = dict(container["env"])
    env.setdefault("PATH", DEFAULT_PATH)
    env.setdefault("HOME", container["home"])
    if os.isatty(streams[0]):
        env.setdefault("TERM", "xterm")
    _limit(container["ulimits"])
    os.umask(0o022)
    try:
        os.chdir(container["cwd"])
    except OSError as error:
        raise LaunchError(RUN, f'chdir to cwd ("{container["cwd"]}") failed: {_words(error)}') from error
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target, inheritable=True)
    if os.isatty(0):
        ioctl(0, _TIOCSCTTY, 0)
    _change_user(container["uid"], container["gid"], container)
    if container["no_new_privileges"]:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    path = _find(argv[0], env["PATH"])
    try:
        os.execve(path, list(argv), env)
    except OSError as error:
        raise LaunchError(RUN, f'exec: "{argv[0]}": {_words(error)}') from error


def _find(command: str, path: str) -> str:
    """The file to execute. Raises LaunchError in Docker's words."""
    if not command:
        raise LaunchError(RUN, 'exec: "": executable file not found in $PATH')
    candidates = [command] if "/" in command else [f"{entry or '.'}/{command}" for entry in path.split(":")]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    if "/" not in command:
        raise LaunchError(RUN, f'exec: "{command}": executable file not found in $PATH')
    if os.path.exists(command):
        raise LaunchError(RUN, f'exec: "{command}": permission denied')
    raise LaunchError(RUN, f'exec: "{command}": stat {command}: no such file or directory')


def _words(error: OSError) -> str:
    """What went wrong, as Go and so Docker writes it."""
    return "exec format error" if error.errno == errno.ENOEXEC else os.strerror(error.errno or 0).lower()


def _change_user(uid: int, gid: int, container: Message) -> None:
    """Take on the container's user and no more capabilities than it may have. Raises LaunchError."""
    groups = container["groups"]
    try:
        if container["can_change_user"]:
            os.setgroups(groups)
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.setresgid(gid, gid, gid)
        if container["capabilities"] is not None:
            syscalls.drop_bounding_capabilities(container["capabilities"])
        if uid != os.geteuid():
            os.setresuid(uid, uid, uid)
        if container["capabilities"] is not None:
            syscalls.keep_capabilities(container["capabilities"])
    except OSError as error:
        message = f"user {uid}:{gid}: {_words(error)} (this node may not become another user)"
        raise LaunchError(CONFIG, message) from error
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _signal.SIGKILL)  # changing the user has cleared it


def _limit(ulimits: Sequence[tuple[str, int, int]]) -> None:
    for name, soft, hard in ulimits:
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise LaunchError(CONFIG, f"invalid ulimit type: {name}")
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as error:
            raise LaunchError(CONFIG, f"ulimit {name}: {error}") from error
