from __future__ import annotations

from pathlib import Path

import pytest

from api.ecs import unsupported
from api.ecs.operations import READS, WRITES
from api.protocol import model
from engine.unsupported import STORED_ONLY, UNSUPPORTED_PARAMETERS, Parameter

PAGE = Path(__file__).parents[2] / "docs" / "unsupported.md"


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text() == unsupported.page(), "run: python -m api.ecs.unsupported > docs/unsupported.md"


def test_the_table_names_only_operations_of_the_model() -> None:
    assert set(READS) | set(WRITES) <= set(model.load("ecs").operations)
    assert not set(READS) & set(WRITES)


@pytest.mark.parametrize("parameter", [*UNSUPPORTED_PARAMETERS, *STORED_ONLY], ids=str)
def test_every_parameter_on_the_page_exists_in_the_model(parameter: Parameter) -> None:
    service = model.load("ecs")
    shape = service.shapes[service.input_shape(parameter.operation)]
    path = parameter.member.split(".")
    if path[0] == "taskDefinition":  # a parameter of the task definition that is named
        shape, path = service.shapes["TaskDefinition"], path[1:]
    path[-1], _, value = path[-1].partition("=")
    for name in path:
        while shape["type"] == "list":
            shape = service.shapes[shape["member"]["shape"]]
        shape = service.shapes[shape["members"][name]["shape"]]
    assert not value or value in shape["enum"]
