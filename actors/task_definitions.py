"""The actor that owns the task definitions of an account in a region. Wiring only; `engine` decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from attrs import evolve, frozen
from rpds import HashTrieMap

from actors.behaviours import Surroundings
from actors.registry import TASK_DEFINITIONS, Address
from engine.commands import DeleteTaskDefinitions, TaskDefinitionCommand
from engine.decision import Decision, Tick
from engine.lifecycle import ServiceStatus, TaskStatus
from engine.service import ServiceState
from engine.task_definition import Family, TaskDefinition, TaskDefinitionsState
from engine.task_definition_turn import decide

TaskDefinitionsMessage = TaskDefinitionCommand | Tick


def restored(families: Iterable[Family], definitions: Iterable[TaskDefinition]) -> TaskDefinitionsState:
    """The state that these records are the snapshot of."""
    return TaskDefinitionsState(
        HashTrieMap({family.name: family for family in families}),
        HashTrieMap({definition.task_definition_arn: definition for definition in definitions}),
    )


@frozen
class TaskDefinitionsBehaviour:
    """How the task definitions' actor takes its turns."""

    address: Address
    surroundings: Surroundings

    def decide(
        self, state: TaskDefinitionsState, message: TaskDefinitionsMessage, now: datetime
    ) -> Decision[TaskDefinitionsState]:
        """See `engine.task_definition_turn`; a deletion is told what is in use at this moment."""
        if isinstance(message, DeleteTaskDefinitions):
            message = evolve(message, in_use=frozenset(self._in_use()))
        return decide(state, message, now)

    async def restore(self) -> TaskDefinitionsState:
        """The state as it was made durable last."""
        snapshot = await self.surroundings.store.load_task_definitions(self.address.scope)
        return restored(snapshot.families, snapshot.task_definitions)

    def is_vacant(self, state: TaskDefinitionsState) -> bool:
        """Whether nothing was ever registered."""
        return not state.families

    def summary(self, state: TaskDefinitionsState) -> Mapping[str, object]:
        """How much there is."""
        return {"families": len(state.families), "task_definitions": len(state.definitions)}

    def task_arns(self, _state: TaskDefinitionsState) -> Iterable[str]:
        """It owns no tasks."""
        return ()

    def _in_use(self) -> Iterator[str]:
        """The task definitions that deployments and tasks of this scope use."""
        for actor in self.surroundings.registry:
            if actor.address.kind == TASK_DEFINITIONS or actor.address.scope != self.address.scope:
                continue
            state = actor.state
            if isinstance(state, ServiceState) and state.service is not None and _is_active(state):
                yield from (deployment.task_definition for deployment in state.service.deployments)
            for task in state.tasks.values():
                if task.last_status != TaskStatus.STOPPED:
                    yield task.task_definition_arn


def _is_active(held: ServiceState) -> bool:
    return held.service is not None and held.service.status != ServiceStatus.INACTIVE
