"""The DuckDB file: opening, migrating, writing batches, reading, copying. Blocking calls, for one thread at a time.

Together with `actors.snapshots` the only importer of duckdb. A file is never opened twice in one process: closing the
second connection would drop the lock of the first.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from actors.codec import Stored, decode, encode
from actors.migrations import MIGRATIONS, Migration
from actors.ports import Snapshot, StoreFailedError
from actors.tables import CLUSTERS, FAMILIES, SERVICES, TABLES, TASK_DEFINITIONS, TASKS, Table, table_of, table_of_arn
from engine.arn import Scope
from engine.decision import Forget, Record

T = TypeVar("T")
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_BACKUP_NAME = re.compile(r"kecs-\d{8}T\d{12}Z-v(\d+)\.duckdb")


class UnreadableStoreError(StoreFailedError):
    """The file is damaged, or newer than this KECS. The message says which backup to restore, and how."""


class StoreInUseError(StoreFailedError):
    """Another process has the file open."""


class Database:
    """An open file. Every method may raise UnreadableStoreError where it finds damage."""

    def __init__(
        self, path: Path, backups: Path, restore_command: str, migrations: Sequence[Migration] = MIGRATIONS
    ) -> None:
        self.path = path
        self.backups = backups
        self._restore_command = restore_command
        self._migrations = migrations
        self._connection = self._connect()
        try:
            self._migrate()
            self._connection.execute("PRAGMA disable_optimizer")  # a third of a small transaction is planning
        except BaseException:
            self._connection.close()
            raise

    @property
    def version(self) -> int:
        """The newest schema version this program knows."""
        return self._migrations[-1].version

    def close(self) -> None:
        """Fold the log into the file, and close it."""
        self._connection.close()

    # writing

    def write(self, records: Iterable[Record]) -> None:
        """Make records durable, in one transaction; of records with the same ARN the last counts."""
        last = {record.arn: record for record in records}
        removed: defaultdict[str, list[str]] = defaultdict(list)
        written: defaultdict[str, list[Stored]] = defaultdict(list)
        for arn, record in last.items():
            if isinstance(record, Forget):
                removed[table_of_arn(arn).name].append(arn)
            else:
                name = table_of(record).name
                removed[name].append(arn)
                written[name].append(record)
        self._connection.begin()
        for table in TABLES:
            if arns := removed.get(table.name):
                self._connection.execute(table.delete, [arns])
            if new := written.get(table.name):
                self._connection.execute(table.insert, [[encode(record) for record in new]])
        self._connection.commit()

    def clear(self) -> None:
        """Forget everything, in one transaction."""
        self._connection.begin()
        for table in TABLES:
            self._connection.execute(f"DELETE FROM {table.name}")
        self._connection.commit()

    # reading

    def load(self) -> Snapshot:
        """Everything."""
        return self._read("TRUE", "TRUE", "TRUE", "TRUE", [])

    def load_cluster(self, cluster_arn: str) -> Snapshot:
        """A cluster and the tasks of no service in it."""
        return self._read(
            "cluster_arn = $1", "FALSE", "FALSE", "cluster_arn = $1 AND service_arn IS NULL", [cluster_arn]
        )

    def load_service(self, service_arn: str) -> Snapshot:
        """A service and its tasks."""
        return self._read("FALSE", "FALSE", "service_arn = $1", "service_arn = $1", [service_arn])

    def load_task_definitions(self, scope: Scope) -> Snapshot:
        """The families and task definitions of a scope."""
        prefix = scope.arn("task-definition", "")
        return Snapshot(
            families=self._records(FAMILIES, "starts_with(arn, $1)", [prefix]),
            task_definitions=self._records(TASK_DEFINITIONS, "starts_with(task_definition_arn, $1)", [prefix]),
        )

    def _read(self, clusters: str, definitions: str, services: str, tasks: str, parameters: list[str]) -> Snapshot:
        return Snapshot(
            clusters=self._records(CLUSTERS, clusters, parameters),
            families=self._records(FAMILIES, definitions, parameters),
            task_definitions=self._records(TASK_DEFINITIONS, definitions, parameters),
            services=self._records(SERVICES, services, parameters),
            tasks=self._records(TASKS, tasks, parameters),
        )

    def _records(self, table: Table, condition: str, parameters: list[str]) -> Sequence[Any]:
        if condition == "FALSE":
            return ()
        used = parameters if "$1" in condition else []
        query = f"SELECT snapshot FROM {table.name} WHERE {condition} ORDER BY {table.key}"
        rows = self._guarded(lambda: self._connection.execute(query, used).fetchall())
        return self._guarded(lambda: tuple(decode(table.record, text) for (text,) in rows))

    # copies

    def backup_and_prune(self, now: datetime, keep: int) -> Path:
        """Back up under a name that says when, and keep only the newest `keep` of such."""
        path = self.backups / f"kecs-{now:%Y%m%dT%H%M%S%f}Z-v{self.version}.duckdb"
        self.backup(path)
        prune(self.backups, keep)
        return path

    def backup(self, path: Path) -> None:
        """Copy everything into a new file at `path`, which appears complete or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        unfinished.unlink(missing_ok=True)
        source = self._connection.execute("SELECT current_database()").fetchall()[0][0]
        self._connection.execute(f"ATTACH {_quoted(unfinished)} AS copy_of_everything")
        try:
            self._connection.execute(f'COPY FROM DATABASE "{source}" TO copy_of_everything')
        finally:
            self._connection.execute("DETACH copy_of_everything")
        unfinished.chmod(0o600)
        unfinished.replace(path)

    # opening

    def _connect(self) -> duckdb.DuckDBPyConnection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.chmod(0o700)  # anybody might read DuckDB's log, which it makes by itself
        try:
            connection = duckdb.connect(str(self.path), config=_SETTINGS)
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise StoreInUseError(f"{self.path} is in use by another process") from None
            raise self._unreadable("is damaged") from error
        except duckdb.Error as error:
            raise self._unreadable("is damaged") from error
        self.path.chmod(0o600)  # snapshots hold the environment of containers
        return connection

    def _migrate(self) -> None:
        found = self._guarded(self._found_version)
        if found > self.version:
            raise self._unreadable(f"was written by a newer KECS (schema {found}, this one knows {self.version})")
        pending = [migration for migration in self._migrations if migration.version > found]
        if pending and found:
            self.backup(self.backups / f"before-schema-{self.version}.duckdb")
        for migration in pending:
            self._connection.begin()
            for statement in migration.statements:
                self._connection.execute(statement)
            self._connection.execute("INSERT INTO schema_version VALUES (?, now())", [migration.version])
            self._connection.commit()

    def _found_version(self) -> int:
        tables = {name for (name,) in self._connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if "schema_version" not in tables:
            return 0
        return int(self._connection.execute("SELECT max(version) FROM schema_version").fetchall()[0][0])

    def _guarded(self, read: Callable[[], T]) -> T:
        """Read; whatever goes wrong in it is damage, since nothing but `write` ever wrote here."""
        try:
            return read()
        except Exception as error:
            raise self._unreadable(f"is damaged ({type(error).__name__})") from None  # its text may quote values

    def _unreadable(self, what: str) -> UnreadableStoreError:
        backup = newest_backup(self.backups, self.version)
        if backup is None:
            way_out = f"There is no backup in {self.backups}; move the file away to start with an empty one."
        else:
            way_out = f"The newest backup is {backup}; restore it with: {self._restore_command} {backup}"
        return UnreadableStoreError(f"{self.path} {what}. {way_out}")


def restore(backup: Path, path: Path) -> None:
    """Put a copy of a backup in the place of a store that nobody has open. Blocks.

    Raises UnreadableStoreError when the backup cannot be read; the store is untouched then.
    """
    copy = path.with_name(f".{path.name}.restoring")
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(backup, copy)
        with duckdb.connect(str(copy), read_only=True, config=_SETTINGS) as connection:
            connection.execute("SELECT version FROM schema_version").fetchall()
            for table in TABLES:
                connection.execute(f"SELECT count(snapshot::VARCHAR) FROM {table.name}").fetchall()
    except (OSError, duckdb.Error) as error:
        copy.unlink(missing_ok=True)
        raise UnreadableStoreError(f"{backup} is no backup that can be read ({type(error).__name__})") from None
    copy.chmod(0o600)
    Path(f"{path}.wal").unlink(missing_ok=True)
    copy.replace(path)


def newest_backup(backups: Path, version: int) -> Path | None:
    """The newest backup of this schema version or an older one."""
    return next((path for path in _backups(backups) if _version(path) <= version), None)


def prune(backups: Path, keep: int) -> None:
    """Delete all but the newest backups."""
    for path in _backups(backups)[keep:]:
        with suppress(FileNotFoundError):
            path.unlink()


def _backups(backups: Path) -> list[Path]:
    """Newest first: their names begin with the time."""
    found = backups.glob("kecs-*.duckdb") if backups.is_dir() else ()
    return sorted((path for path in found if _BACKUP_NAME.fullmatch(path.name)), reverse=True)


def _version(path: Path) -> int:
    match = _BACKUP_NAME.fullmatch(path.name)
    return int(match.group(1)) if match is not None else 0


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
