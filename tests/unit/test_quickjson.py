"""With and without orjson the same is read, and the same is meant by what is written."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redlock_beat import quickjson

#: orjson is there in the part of CI that installs the extra `speed`.
WAYS = [True, False] if find_spec("orjson") else [False]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(params=WAYS, ids=["orjson" if way else "json" for way in WAYS])
def way(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(quickjson, "orjson", None)


def same(one, other):
    """Whether two values are the same in value and kind; NaN is itself."""
    return repr(one) == repr(other)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VALUES, st.booleans())
def test_a_text_is_read_as_json_reads_it(value, ascii_):
    text = json.dumps(value, ensure_ascii=ascii_)
    assert same(quickjson.read_text(text), json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        *("18446744073709551616", "-9223372036854775809", "-9223372036854775808", "9" * 400, "1e400", "-0", "-0.0"),
        *("1e5", "NaN", "[-Infinity]", '"\\ud800"', '"\udc80"', '{"a": 1, "a": 2}', "[" * 900 + "]" * 900),
        *('"1234567890123456789012"', "123456789012345678.9", " [1 ,\n2]\t", '"\\/"'),
    ],
)
def test_texts_that_json_libraries_disagree_on(text, way):
    assert same(quickjson.read_text(text), json.loads(text))


@pytest.mark.parametrize("text", ["", "{", "[1,]", '"\n"', "01", "nul", "\ufeff1", "'a'"])
def test_what_is_no_json_is_refused_alike(text, way):
    with pytest.raises(ValueError, match=r"."):
        quickjson.read_text(text)


@pytest.mark.parametrize(
    "columns", [{"n": ["a", 'ü "x" \x00 🎉'], "q": [["celery", 3]]}, {"n": ["\udc80"]}, {"n": [10**30]}, {}]
)
def test_columns_mean_the_same(columns, way):
    written = quickjson.write_texts(columns)
    text = written.decode() if isinstance(written, bytes) else written
    assert json.loads(text) == columns
