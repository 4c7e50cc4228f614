"""Backups of an instance's state: made by the control plane while it runs, by the command itself otherwise."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from cli.components import CONTROL
from cli.control import NOT_RUNNING, alive, changing
from cli.instances import Instance, InstanceError

_KEPT_BESIDE = "replaced"


def write(instance: Instance, file: Path | None) -> Path:
    """Copy the state into `file`, or into the instance's backups. Returns where it is. Raises InstanceError."""
    target = file.expanduser().absolute() if file else None
    if instance.running(CONTROL):
        from cli.admin_client import post

        return Path(post(instance, "/backup", {"path": str(target)} if target else {})["path"])
    if not instance.database.exists():
        raise InstanceError(f"The instance `{instance.name}` has no state yet.")
    from datetime import UTC, datetime

    from actors.database import Database
    from actors.ports import StoreFailedError

    with changing(instance):
        try:
            database = Database(instance.database, instance.backups, restore_command(instance))
        except StoreFailedError as failure:
            raise InstanceError(str(failure)) from failure
        try:
            now = datetime.now(UTC)
            target = target or instance.backups / f"kecs-{now:%Y%m%dT%H%M%S%f}Z-v{database.version}.duckdb"
            database.backup(target)
        finally:
            database.close()
    return target


def restore(instance: Instance, file: Path | None) -> Path:
    """Replace a stopped instance's state with a backup; returns which. Raises InstanceError, changing nothing then."""
    with changing(instance):
        if alive(instance):
            raise InstanceError(f"The instance `{instance.name}` is running: `kecs stop` it first.", NOT_RUNNING)
        source = file.expanduser().absolute() if file else _newest(instance)
        if not source.is_file():
            raise InstanceError(f"There is no file {source}.", 2)
        prepared = instance.database.with_name(".restored.duckdb")
        prepared.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, prepared)
        try:
            _check(instance, prepared, source)
            _put_aside(instance)
            prepared.replace(instance.database)
        finally:
            for left in (prepared, _log_of(prepared)):
                left.unlink(missing_ok=True)
        if not instance.exists:
            instance.save(*instance.load())
    return source


def restore_command(instance: Instance) -> str:
    """What to type to restore, up to the file's name."""
    return "kecs restore" if instance.name == "default" else f"kecs restore --instance {instance.name}"


def _newest(instance: Instance) -> Path:
    found = sorted(instance.backups.glob("kecs-*.duckdb"))
    if not found:
        raise InstanceError(f"There is no backup in {instance.backups}: name the file to restore.", 2)
    return found[-1]


def _check(instance: Instance, prepared: Path, source: Path) -> None:
    """Open and read the copy, and bring its schema up to date."""
    from actors.database import Database
    from actors.ports import StoreFailedError

    try:
        database = Database(prepared, instance.backups, restore_command(instance))
        try:
            database.load()
        finally:
            database.close()
    except StoreFailedError as failure:
        reason = str(failure).replace(str(prepared), str(source)).partition(". ")[0]
        raise InstanceError(f"Nothing was restored: {reason}.") from failure


def _put_aside(instance: Instance) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for present in (instance.database, _log_of(instance.database)):
        if present.exists():
            instance.backups.mkdir(parents=True, exist_ok=True)
            present.replace(instance.backups / f"{_KEPT_BESIDE}-{stamp}-{present.name}")


def _log_of(database: Path) -> Path:
    """DuckDB's write-ahead log of a file that was not closed."""
    return database.with_name(f"{database.name}.wal")
