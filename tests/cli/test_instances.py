from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cli.instances import Instance, InstanceError, PortPlan, Ports, Settings, all_instances
from cli.settings_text import with_changes


def listening(port: int = 0) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken


def test_settings_and_ports_are_kept() -> None:
    instance = Instance.named("one")
    assert instance.load() == (Settings(), Ports())
    settings, ports = Settings(port=7000, driver="simulated"), Ports(7000, 7001, 7002)
    instance.save(settings, ports)
    assert Instance.named("one").load() == (settings, ports)
    assert [found.name for found in all_instances()] == ["one"]


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "../x", "a" * 41, "a/b", "."])
def test_a_name_that_cannot_be_a_folder_or_a_label_is_refused(name: str) -> None:
    with pytest.raises(InstanceError) as refused:
        Instance.named(name)
    assert refused.value.exit_code == 2


def test_a_damaged_settings_file_is_told_by_name() -> None:
    instance = Instance.named("one")
    instance.save(Settings(), Ports())
    instance.settings_file.write_text("{")
    with pytest.raises(InstanceError, match=r"instance\.json cannot be read"):
        instance.load()


def test_settings_of_a_newer_version_do_no_harm() -> None:
    instance = Instance.named("one")
    instance.save(Settings(grace_s=5), Ports())
    instance.settings_file.write_text(
        instance.settings_file.read_text().replace('"grace_s"', '"new_one": 1, "grace_s"')
    )
    assert instance.load()[0] == Settings(grace_s=5)


@pytest.mark.parametrize(
    "choices",
    [{"runtime": "docker"}, {"driver": "x"}, {"driver": "none"}, {"port": 0}, {"admin_port": 70000}, {"colour": "red"}],
)
def test_choices_that_make_no_sense_are_refused(choices: dict[str, object]) -> None:
    with pytest.raises(InstanceError) as refused:
        Settings().changed(choices)
    assert refused.value.exit_code == 2


def test_another_instance_gets_free_ports_and_keeps_them() -> None:
    with listening() as busy:
        port = busy.getsockname()[1]
        first, second = Instance.named("first"), Instance.named("second")
        first.save(Settings(), Ports(port + 1, port + 2, port + 3))
        chosen = PortPlan.of(second).choose()
        assert not {chosen.aws, chosen.admin, chosen.kubernetes} & {port, port + 1, port + 2, port + 3}
        assert len({chosen.aws, chosen.admin, chosen.kubernetes}) == 3
        second.save(Settings(), chosen)
        assert PortPlan.of(second).choose() == chosen


def test_a_taken_port_that_was_asked_for_is_refused_with_its_holder() -> None:
    with listening() as busy:
        port = busy.getsockname()[1]
        instance = Instance.named("one")
        instance.save(Settings(port=port), Ports())
        with pytest.raises(InstanceError, match=rf"Port {port} is taken by .*--port") as refused:
            PortPlan.of(instance).choose()
        assert refused.value.exit_code == 5


def test_survivors_keep_their_ports() -> None:
    with listening() as ours:
        ports = Ports(ours.getsockname()[1], 1, 2)
        instance = Instance.named("one")
        instance.save(Settings(port=ports.aws), ports)
        assert PortPlan.of(instance).choose(busy_is_ours=True) == ports


def test_one_port_cannot_serve_twice() -> None:
    instance = Instance.named("one")
    with listening() as free:
        port = free.getsockname()[1]
    instance.save(Settings(port=port, admin_port=port), Ports())
    with pytest.raises(InstanceError, match="cannot be both"):
        PortPlan.of(instance).choose()


def test_settings_are_changed_as_text() -> None:
    changed = with_changes(Settings(), ["port=7000", "grace-s=0.5", "log_level=DEBUG"])
    assert (changed.port, changed.grace_s, changed.log_level) == (7000, 0.5, "DEBUG")
    assert with_changes(changed, ["port=", "grace_s="]) == Settings(log_level="DEBUG")
    for wrong in ("port", "port=x", "colour=red", "runtime=docker"):
        with pytest.raises(InstanceError) as refused:
            with_changes(Settings(), [wrong])
        assert refused.value.exit_code == 2


def test_the_stop_may_have_a_grace_of_its_own(home: Path) -> None:
    instance = Instance.named("one")
    assert instance.grace_s(Settings(grace_s=3)) == 3
    (instance.path / "run").mkdir(parents=True)
    (instance.path / "run" / "grace").write_text("0.5")
    assert instance.grace_s(Settings(grace_s=3)) == 0.5
