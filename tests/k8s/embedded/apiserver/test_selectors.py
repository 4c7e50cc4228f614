"""Label and field selectors, by example and by property."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.embedded.apiserver.errors import StatusError
from k8s.embedded.apiserver.selectors import Selector, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "kecs.dev/task-id": "abc", "empty": "", "size": "7"}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "  ",
        "app",
        "app=web",
        "app==web",
        "app = web",
        "app!=db",
        "missing!=db",
        "!missing",
        "app in (web, db)",
        "app in(web)",
        "app notin (db),tier",
        "missing notin (db)",
        "kecs.dev/task-id=abc,tier=front",
        "empty=",
        "empty in (,x)",
        "size>5,size<8",
        "!in",
    ],
)
def test_selectors_that_match(selector: str) -> None:
    assert parse_labels(selector).matches(LABELS)


@pytest.mark.parametrize(
    "selector",
    [
        "app=db",
        "missing",
        "!app",
        "app!=web",
        "app in (db)",
        "app notin (web)",
        "missing in (a)",
        "size>7",
        "app>1",
        "empty=x",
    ],
)
def test_selectors_that_do_not_match(selector: str) -> None:
    assert not parse_labels(selector).matches(LABELS)


@pytest.mark.parametrize(
    "selector",
    [
        "=",
        "app=web,",
        "app in",
        "app in (a",
        "app in a",
        "app=web db",
        "a b",
        "app=we$b",
        "-x=1",
        "/x=1",
        "a>b",
        "(",
        "app=!x",
    ],
)
def test_what_is_no_selector_is_a_bad_request(selector: str) -> None:
    with pytest.raises(StatusError) as refused:
        parse_labels(selector)
    assert refused.value.status == 400


def _outcome(parse: Callable[[str], Selector], text: str) -> object:
    try:
        parse(text).matches({"a": "b"})
    except StatusError as refused:
        return refused.status
    return "a selector"


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    for parse in (parse_labels, lambda text: parse_fields(text, {"metadata.name"})):
        assert _outcome(parse, text) in ("a selector", 400)


names = st.from_regex(r"[a-z]([a-z0-9]{0,5})", fullmatch=True).filter(lambda name: name not in ("in", "notin"))


@settings(deadline=None)
@given(st.dictionaries(names, names, min_size=1, max_size=4), names, names)
def test_in_and_notin_are_each_others_opposite(labels: dict[str, str], key: str, value: str) -> None:
    assert parse_labels(f"{key} in ({value})").matches(labels) != parse_labels(f"{key} notin ({value})").matches(labels)
    assert parse_labels(key).matches(labels) != parse_labels(f"!{key}").matches(labels)
    assert parse_labels(",".join(f"{name}={text}" for name, text in labels.items())).matches(labels)


def test_fields_are_compared_and_may_be_escaped() -> None:
    fields = {"metadata.name": "a,b=c", "status.phase": "Running"}
    assert parse_fields(r"metadata.name=a\,b\=c,status.phase!=Failed", fields).matches(fields)
    assert not parse_fields("status.phase=Failed", fields).matches(fields)
    assert parse_fields("metadata.name==x", fields).exact("metadata.name") == "x"
    assert parse_fields("metadata.name!=x", fields).exact("metadata.name") is None


@pytest.mark.parametrize("selector", ["spec.unknown=1", "metadata.name", "metadata.name>1", "=x"])
def test_what_is_no_field_selector_is_a_bad_request(selector: str) -> None:
    with pytest.raises(StatusError) as refused:
        parse_fields(selector, {"metadata.name"})
    assert refused.value.status == 400
