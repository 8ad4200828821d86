"""Equal questions have equal fingerprints; a difference is explained in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.engine.errors import DamagedFileError, NotFoundError
from pipeline.engine.fingerprint import (
    Question,
    differences,
    publish_inputs,
    read_inputs,
    rescan,
    scan,
    sha256_of,
)

QUESTION = Question(
    stage="train",
    version=1,
    params={"rate": 0.1, "steps": 10},
    dataset={"repo_id": "x/y", "revision": "abc"},
    upstream={"index": "d1"},
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_the_order_of_keys_does_not_matter(params: dict[str, object]) -> None:
    turned = dict(reversed(params.items()))
    assert replace(QUESTION, params=params).digest == replace(QUESTION, params=turned).digest


@given(st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=4))
def test_questions_differ_exactly_when_something_can_be_named(
    old: dict[str, object], new: dict[str, object]
) -> None:
    a, b = replace(QUESTION, params=old), replace(QUESTION, params=new)
    if a.digest == b.digest:
        assert differences(a, b) == () or old == new
    else:
        assert differences(a, b) or _equal_but_for_type(old, new)


def _equal_but_for_type(old: object, new: object) -> bool:
    return old == new  # 1 and 1.0 and True: other text, equal in Python


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "the stage itself changed (version 1 -> 2)"),
        ({"params": {"rate": 0.2, "steps": 10}}, "parameter rate: 0.1 -> 0.2"),
        ({"params": {"rate": 0.1, "steps": 10, "warm": 5}}, "parameter warm is new (5)"),
        ({"params": {"rate": 0.1}}, "parameter steps is gone (was 10)"),
        ({"dataset": {"repo_id": "x/y", "revision": "def"}}, "dataset revision: 'abc' -> 'def'"),
        ({"upstream": {"index": "d2"}}, "the outputs of index are not those it was made from"),
        ({"upstream": {"index": ""}}, "index has no outputs now"),
        ({"shard": (0, 4)}, "the split into shards changed (None -> (0, 4))"),
    ],
)
def test_a_change_is_named(change: dict[str, object], sentence: str) -> None:
    changed = replace(QUESTION, **change)
    assert changed.digest != QUESTION.digest
    assert differences(QUESTION, changed) == (sentence,)


def test_files_count_by_content_or_by_time(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "a.json"
    file.write_text("1")
    content, stat = scan("in", tmp_path, "content"), scan("in", tmp_path, "stat")
    assert content.files[0].path == "sub/a.json"
    assert content.files[0].sha256 == sha256_of(file)
    os.utime(file, ns=(1, 1))
    before_c, before_s = replace(QUESTION, external=(content,)), replace(QUESTION, external=(stat,))
    after_c, after_s = (replace(q, external=rescan(q.external)) for q in (before_c, before_s))
    assert before_c.digest == after_c.digest
    assert differences(before_s, after_s) == ("input in: sub/a.json changed",)


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(b"x")
    known = scan("in", file, "content")
    file.chmod(0)
    marked = replace(known, files=(replace(known.files[0], sha256="as recorded"),))
    assert rescan([marked])[0].files[0].sha256 == "as recorded"


def test_inputs_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    before = replace(QUESTION, external=(scan("in", file, "stat"),))
    file.unlink()
    after = replace(before, external=rescan(before.external))
    assert differences(before, after) == (f"input in: {file} is gone",)
    with pytest.raises(NotFoundError, match="input 'in'"):
        scan("in", file, "stat")


def test_a_fingerprint_does_not_depend_on_where_the_files_are(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("same")
        digests.append(replace(QUESTION, external=(scan("in", tmp_path / name, "content"),)).digest)
    assert digests[0] == digests[1]


def test_the_record_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    assert read_inputs(path) is None
    publish_inputs(path, QUESTION, attempt=3)
    record = read_inputs(path)
    assert record is not None
    assert (record.question.digest, record.fingerprint, record.attempt) == (
        QUESTION.digest,
        QUESTION.digest,
        3,
    )
    path.write_text("{}")
    with pytest.raises(DamagedFileError, match="not a record of inputs"):
        read_inputs(path)
