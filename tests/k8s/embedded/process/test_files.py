"""What containers see of the file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k8s.embedded.driver import EmptyDir, Failure, Files, HostPath, Mount, Phase
from tests.k8s.embedded.process.subjects import container, exit_of, output_of, pod, running


async def test_an_empty_directory_is_shared_and_goes_with_the_pod(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        spec = pod(volumes=(EmptyDir("shared"), EmptyDir("fast", in_memory=True, size_bytes=1 << 20)))
        mounts = (Mount("shared", "/mnt"), Mount("fast", "/media"))
        writer = container("sh", "-c", "echo one > /mnt/a; echo two > /media/b", mounts=mounts)
        await driver.start_pod(spec, [writer])
        assert (await exit_of(driver)).exit_code == 0
        reader = container("sh", "-c", "cat /mnt/a /media/b; stat -f -c %T /media", name="reader", mounts=mounts)
        await driver.start_container("pod-1", reader)
        await exit_of(driver, name="reader")
        lines = driver.log_path("pod-1", "reader").read_text().splitlines()
        assert [line.split()[3] for line in lines] == ["one", "two", "tmpfs"]
        await driver.remove_pod("pod-1")
        assert not (tmp_path / "pods" / "pod-1").exists()


async def test_mount_points_that_this_machine_lacks_appear_in_the_container_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("here\n")
    async with running(tmp_path / "node") as (driver, _):
        spec = pod("mounts", volumes=(HostPath("data", str(data)),))
        paths = ("/kecs-test/deep/inside", "/usr/kecs-test")
        lines = await output_of(
            driver,
            "sh", "-c", "cat /kecs-test/deep/inside/file /usr/kecs-test/file; ls /usr/bin/env; ls / | grep -c etc; pwd",
            pod_spec=spec,
            mounts=tuple(Mount("data", path) for path in paths),
        )  # fmt: skip
        assert lines == ["here", "here", "/usr/bin/env", "1", "/"]
    assert not any(os.path.exists(path) for path in ("/kecs-test", "/usr/kecs-test"))  # noqa: ASYNC240, PTH110 - quick


async def test_files_are_readable_with_their_modes_and_read_only(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        spec = pod("files", volumes=(Files("config", {"a/b": (b"text\n", 0o640)}),))
        command = ("sh", "-c", "cat /mnt/a/b; stat -c %a /mnt/a/b; echo x > /mnt/c || echo refused")
        lines = await output_of(driver, *command, pod_spec=spec, mounts=(Mount("config", "/mnt"),))
        assert [line for line in lines if "/mnt/c" not in line] == ["text", "640", "refused"]


async def test_a_read_only_root_leaves_volumes_writable(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        spec = pod("ro", volumes=(EmptyDir("data"),))
        command = (
            "touch /tmp/kecs-no 2>/dev/null || echo refused; touch /mnt/yes && echo kept; touch /dev/shm/x && echo shm"
        )
        lines = await output_of(
            driver, "sh", "-c", command, pod_spec=spec, mounts=(Mount("data", "/mnt"),), read_only_root=True
        )
        assert lines == ["refused", "kept", "shm"]


async def test_part_of_a_volume(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        spec = pod("sub", volumes=(EmptyDir("data"),))
        mounts = (Mount("data", "/mnt"), Mount("data", "/media", sub_path="part", read_only=True))
        command = ("sh", "-c", "touch /mnt/part/x; ls /media; touch /media/y 2>/dev/null || echo refused")
        assert await output_of(driver, *command, pod_spec=spec, mounts=mounts) == ["x", "refused"]


@pytest.mark.parametrize(
    ("volume", "mount"),
    [
        (HostPath("data", "/no/such/kecs", "Directory"), Mount("data", "/mnt")),
        (HostPath("data", "/etc/hosts", "Directory"), Mount("data", "/mnt")),
        (EmptyDir("data"), Mount("other", "/mnt")),
    ],
)
async def test_a_volume_that_is_not_there_is_said(tmp_path: Path, volume: HostPath | EmptyDir, mount: Mount) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(volumes=(volume,)), [container("true", mounts=(mount,))])
        state = started.containers[0]
        assert (state.phase, state.failure) == (Phase.FAILED, Failure.CONFIG)
        assert state.message
