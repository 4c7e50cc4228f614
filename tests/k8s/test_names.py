import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arn import Scope
from k8s import names

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

_ECS_NAMES = st.text("abcXYZ019_-", min_size=1, max_size=255)
_ARNS = st.builds(
    lambda account, region, name: Scope(account, region).cluster_arn(name),
    st.sampled_from(["000000000000", "123456789012"]),
    st.sampled_from(["us-east-1", "eu-west-1"]),
    _ECS_NAMES,
)


@given(_ARNS, st.sampled_from(["default", "ci-2"]))
def test_a_namespace_is_a_dns_label(arn: str, instance: str) -> None:
    assert _DNS_LABEL.fullmatch(names.namespace(arn, instance))


@given(_ARNS, _ARNS)
def test_two_clusters_have_two_namespaces(one: str, other: str) -> None:
    assert (names.namespace(one, "i") == names.namespace(other, "i")) == (one == other)


def test_two_instances_share_no_namespace() -> None:
    arn = Scope().cluster_arn("default")
    assert names.namespace(arn, "default") != names.namespace(arn, "ci")


def test_a_namespace_shows_its_cluster() -> None:
    assert names.namespace(Scope().cluster_arn("My_Shop"), "default").startswith("kecs-my-shop-")


@given(st.text(max_size=255))
def test_any_text_becomes_a_dns_label(text: str) -> None:
    assert _DNS_LABEL.fullmatch(names.label(text))


@given(st.text(max_size=255))
def test_any_text_becomes_a_label_value(text: str) -> None:
    assert _LABEL_VALUE.fullmatch(names.label_value(text))


@given(st.lists(_ECS_NAMES, unique=True, max_size=20))
def test_names_stay_different(ecs_names: list[str]) -> None:
    assert len(set(names.container_names(ecs_names).values())) == len(ecs_names)
    assert len({names.label_value(name) for name in ecs_names}) == len(ecs_names)


@given(_ECS_NAMES)
def test_nobody_can_choose_the_name_that_another_was_given(name: str) -> None:
    given_name = names.label(name)
    if given_name != name:
        assert names.label(given_name) != given_name
    given_value = names.label_value(name)
    if given_value != name:
        assert names.label_value(given_value) != given_value


@pytest.mark.parametrize("name", ["web", "side-car", "a", "0" * 63])
def test_a_legal_name_stays_as_it_is(name: str) -> None:
    assert names.label(name) == name
    assert names.label_value(name) == name


def test_a_pod_is_named_for_its_task() -> None:
    task_id = "0123456789abcdef" * 2
    assert names.pod_name(Scope().task_arn("default", task_id)) == task_id
