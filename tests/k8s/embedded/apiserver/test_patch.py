"""The three patches, by the examples of their standards and by properties."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.embedded.apiserver.errors import StatusError
from k8s.embedded.apiserver.patch import json_patch, merge_patch, strategic_merge
from k8s.embedded.apiserver.schema import shape

POD = shape("io.k8s.api.core.v1.Pod")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c", "~/"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_its_standard_says(document: Any, patch: Any, result: Any) -> None:
    assert merge_patch(document, patch) == result


@settings(deadline=None)
@given(json_values, json_values)
def test_a_merge_patch_twice_is_the_same_as_once_and_changes_nothing_it_was_given(document: Any, patch: Any) -> None:
    before = deepcopy((document, patch))
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once
    assert (document, patch) == before


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [  # RFC 6902, appendix A
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        ({"foo": ["a", "b", "c"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/2"}], {"foo": ["a", "c", "b"]}),
        ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"x": {}}}], {"foo": "bar", "child": {"x": {}}}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["x"]}], {"foo": ["bar", ["x"]]}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"foo": {"a": 1}}, [{"op": "copy", "from": "/foo", "path": "/bar"}], {"foo": {"a": 1}, "bar": {"a": 1}}),
        ({"foo": 1}, [{"op": "replace", "path": "", "value": {"bar": 2}}], {"bar": 2}),
    ],
)
def test_json_patch_does_what_its_standard_says(document: Any, operations: Any, result: Any) -> None:
    assert json_patch(document, operations) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/foo", "value": "other"},
        {"op": "add", "path": "/missing/deep", "value": 1},
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/list/7", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "add", "path": "/foo/bar", "value": 1},
        {"op": "move", "from": "/list", "path": "/list/0"},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "add", "path": "/novalue"},
        {"op": "dance", "path": "/foo"},
        {"path": "/foo"},
        {"op": "add", "path": None, "value": 1},
    ],
)
def test_an_operation_that_fails_refuses_the_whole_patch(operation: Any) -> None:
    document = {"foo": "bar", "list": [1, 2]}
    with pytest.raises(StatusError) as refused:
        json_patch(document, [{"op": "add", "path": "/new", "value": 1}, operation])
    assert refused.value.status == 422
    assert document == {"foo": "bar", "list": [1, 2]}


@pytest.mark.parametrize("operations", [None, {}, "x", [1], 5])
def test_what_is_no_list_of_operations_is_a_bad_request(operations: Any) -> None:
    with pytest.raises(StatusError) as refused:
        json_patch({}, operations)
    assert refused.value.status == 400


def _containers(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


def test_containers_merge_by_name() -> None:
    document = _containers({"name": "a", "image": "1", "tty": True}, {"name": "b", "image": "1"})
    patch = _containers({"name": "a", "image": "2"}, {"name": "c", "image": "3"})
    assert strategic_merge(document, patch, POD) == _containers(
        {"name": "a", "image": "2", "tty": True}, {"name": "b", "image": "1"}, {"name": "c", "image": "3"}
    )


def test_a_list_item_is_deleted_by_its_key() -> None:
    document = _containers({"name": "a"}, {"name": "b"})
    assert strategic_merge(document, _containers({"name": "a", "$patch": "delete"}), POD) == _containers({"name": "b"})


def test_a_list_is_replaced_on_request() -> None:
    document = _containers({"name": "a"}, {"name": "b"})
    assert strategic_merge(document, _containers({"name": "c"}, {"$patch": "replace"}), POD) == _containers(
        {"name": "c"}
    )


def test_lists_without_a_merge_strategy_are_replaced() -> None:
    document = _containers({"name": "a", "command": ["x", "y"]})
    patched = strategic_merge(document, _containers({"name": "a", "command": ["z"]}), POD)
    assert patched == _containers({"name": "a", "command": ["z"]})


def test_ports_merge_by_container_port_and_env_by_name() -> None:
    document = _containers({"name": "a", "ports": [{"containerPort": 80}], "env": [{"name": "X", "value": "1"}]})
    patch = _containers({"name": "a", "ports": [{"containerPort": 81}], "env": [{"name": "X", "value": "2"}]})
    merged = strategic_merge(document, patch, POD)["spec"]["containers"][0]
    assert merged["ports"] == [{"containerPort": 80}, {"containerPort": 81}]
    assert merged["env"] == [{"name": "X", "value": "2"}]


def test_finalizers_are_a_set_that_patches_add_to_and_take_from() -> None:
    document = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"finalizers": ["b", "c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_merge(document, patch, POD) == {"metadata": {"finalizers": ["b", "c"]}}


def test_the_order_of_a_list_is_set() -> None:
    document = _containers({"name": "a"}, {"name": "b"}, {"name": "c"})
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "a", "tty": True}],
        }
    }
    names = [item["name"] for item in strategic_merge(document, patch, POD)["spec"]["containers"]]
    assert names == ["c", "b", "a"]


def test_retained_keys_are_all_that_is_left() -> None:
    document = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    patch = {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}}
    assert strategic_merge(document, patch, POD)["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_an_object_is_replaced_or_deleted_on_request() -> None:
    document = {"metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"x": "y"}}}
    patch = {"metadata": {"labels": {"$patch": "replace", "c": "3"}, "annotations": {"$patch": "delete"}}}
    assert strategic_merge(document, patch, POD) == {"metadata": {"labels": {"c": "3"}}}


@pytest.mark.parametrize("patch", [_containers({"image": "no name"}), {"spec": {"$patch": "dance"}}])
def test_what_is_no_strategic_merge_patch_is_a_bad_request(patch: Any) -> None:
    with pytest.raises(StatusError) as refused:
        strategic_merge(_containers({"name": "a"}), patch, POD)
    assert refused.value.status == 400


@settings(deadline=None)
@given(json_values, json_values)
def test_a_strategic_merge_never_changes_what_it_was_given(document: Any, patch: Any) -> None:
    before = deepcopy((document, patch))
    strategic_merge(document, patch)
    assert (document, patch) == before
