"""Which of the engine's classes each shape of the ECS model is read into.

The engine's classes are named as the shapes are; the few that differ are listed. A structure shape without a class
stays a mapping with snake_case keys: the members that have such shapes are refused by the engine when they are given.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from api.protocol.model import ServiceModel
from engine import cluster, commands, container_definition, network, overrides, service, tags, task_definition, volume

_MODULES = (cluster, container_definition, network, overrides, service, tags, task_definition, volume)
_RENAMED: Mapping[str, type] = {
    "ClusterServiceConnectDefaultsRequest": cluster.ClusterServiceConnectDefaults,
    "DeploymentConfiguration": commands.DeploymentConfigurationChange,
    "DeploymentEphemeralStorage": task_definition.EphemeralStorage,
    "NvidiaMpsConfiguration": container_definition.NvidiaMpsAllocation,
    "TaskDefinitionPlacementConstraint": task_definition.PlacementConstraint,
}


def classes(model: ServiceModel) -> dict[str, type]:
    """The engine's class for each structure shape that has one."""
    by_name = {
        name.lower(): cls
        for module in _MODULES
        for name, cls in vars(module).items()
        if isinstance(cls, type) and attrs.has(cls)
    }
    found = {
        name: by_name[name.lower()]
        for name, shape in model.shapes.items()
        if shape["type"] == "structure" and name.lower() in by_name
    }
    return found | {name: cls for name, cls in _RENAMED.items() if name in model.shapes}
