"""The commands as a user types them, without an instance that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.instances import Instance, InstanceError, Ports, Settings
from cli.options import complete_instance
from cli.shells import exports

SLOW_MODULES = [
    "rich",
    "trio",
    "attrs",
    "attr",
    "psutil",
    "duckdb",
    "botocore",
    "quart",
    "kr8s",
    "http.client",
    "orjson",
]


def kecs(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_imports_nothing_slow_before_it_knows_what_to_do() -> None:
    code = f"import sys, cli.main; print([name for name in {SLOW_MODULES} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_in_words_and_in_json() -> None:
    assert kecs("version").stdout.startswith("kecs 0.")
    assert json.loads(kecs("version", "--json").stdout).keys() == {"kecs", "python"}


def test_no_instances_yet() -> None:
    assert "`kecs start` makes one" in kecs("list").stdout
    assert json.loads(kecs("list", "--json").stdout) == {"instances": []}


@pytest.mark.parametrize("command", ["stop", "status", "restart", "reset", "backup", "logs", "env"])
def test_an_unknown_instance_is_told_in_one_sentence(command: str) -> None:
    done = kecs(command, "--instance", "nobody")
    assert done.returncode == 4
    assert done.stderr.startswith("There is no instance `nobody`: `kecs list` shows")
    assert len(done.stderr.splitlines()) == 1


def test_stopping_what_does_not_run_is_no_failure() -> None:
    Instance.named("idle").save(Settings(driver="simulated"), Ports(1, 2, 3))
    done = kecs("stop", "-i", "idle")
    assert (done.returncode, done.stdout) == (0, "KECS instance `idle` was not running.\n")
    assert json.loads(kecs("stop", "-i", "idle", "--json").stdout)["was_running"] is False


def test_commands_that_need_it_running_say_how_to_start_it() -> None:
    Instance.named("idle").save(Settings(), Ports(1, 2, 3))
    for command in ("reset", "restart"):
        done = kecs(command, "-i", "idle")
        assert done.returncode == 3
        assert done.stderr == "The instance `idle` is not running: `kecs start --instance idle` starts it.\n"


def test_the_status_of_a_stopped_instance() -> None:
    Instance.named("idle").save(Settings(), Ports(7000, 7001, 7002))
    done = kecs("status", "-i", "idle", "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert told["instance"] == "idle"
    assert told["state"] == "stopped"
    assert told["endpoint"] == "http://127.0.0.1:7000"
    assert told["processes"]["control"]["pid"] is None
    assert "stopped" in kecs("status", "-i", "idle").stdout


def test_impossible_options_are_refused_before_anything_is_made(home: Path) -> None:
    for arguments in (["--runtime", "docker"], ["--driver", "none"], ["--port", "0"], ["-i", "No_Name"]):
        done = kecs("start", "--detach", *arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
    assert not list(home.glob("instances/*/instance.json"))


def test_destroying_asks_where_there_is_nobody_to_ask() -> None:
    instance = Instance.named("idle")
    instance.save(Settings(), Ports(1, 2, 3))
    refused = subprocess.run(
        [sys.executable, "-m", "cli.main", "destroy", "-i", "idle"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert kecs("destroy", "-i", "idle", "--yes").returncode == 0
    assert not instance.path.exists()


def test_config_shows_and_sets_defaults() -> None:
    assert "port=\n" in kecs("config", "-i", "one").stdout
    assert kecs("config", "port=7000", "grace_s=1", "-i", "one").returncode == 0
    assert json.loads(kecs("config", "-i", "one", "--json").stdout)["settings"]["port"] == 7000
    assert kecs("config", "colour=red", "-i", "one").returncode == 2


def test_env_speaks_each_shell() -> None:
    Instance.named("one").save(Settings(), Ports(7000, 7001, 7002))
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:7000\n" in kecs("env", "-i", "one", "--shell", "zsh").stdout
    assert "set -gx AWS_ENDPOINT_URL 'http://127.0.0.1:7000';" in kecs("env", "-i", "one", "--shell", "fish").stdout
    assert "$Env:AWS_DEFAULT_REGION = 'eu-west-1'" in (
        kecs("env", "-i", "one", "--shell", "powershell", "--region", "eu-west-1").stdout
    )
    variables = json.loads(kecs("env", "-i", "one", "--json").stdout)
    assert variables["KUBECONFIG"].endswith("/instances/one/kubernetes/kubeconfig")
    assert kecs("env", "-i", "one", "--shell", "tcsh").returncode == 2


def test_exports_survive_every_shells_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = 'it\'s a $HOME \\ "path"'
    done = subprocess.run(
        ["sh", "-c", f'{exports({"X": odd}, "sh")}\nprintf %s "$X"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == odd
    assert exports({"X": "it's"}, "powershell") == "$Env:X = 'it''s'"
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert exports({"X": "it's"}) == "set -gx X 'it\\'s';"
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert exports({"X": "y"}) == "export X=y"
    with pytest.raises(InstanceError):
        exports({}, "tcsh")


def test_logs_show_the_last_lines() -> None:
    instance = Instance.named("one")
    instance.save(Settings(), Ports())
    path = instance.log_file("control")
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"line {number}\n" for number in range(200)))
    assert kecs("logs", "-i", "one", "-n", "2").stdout == "line 198\nline 199\n"
    assert kecs("logs", "cook", "-i", "one").returncode == 2
    assert kecs("logs", "node", "-i", "one").returncode == 1


def test_names_of_instances_complete() -> None:
    for name in ("one", "other", "two"):
        Instance.named(name).save(Settings(), Ports())
    assert complete_instance("o") == ["one", "other"]


def test_a_home_that_cannot_be_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KECS_HOME", str(tmp_path / "file"))
    done = kecs("start", "--detach")
    assert done.returncode == 1
    assert "KECS_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 1
