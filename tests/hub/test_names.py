"""Names from a listing: refused with a reason, or safe to become paths."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.errors import UsageError
from pipeline.hub import names
from pipeline.hub.listing import make_listing
from pipeline.hub.types import RemoteFile


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../up/ep1/annotation.hdf5", "leaves its root"),
        ("a/../../b", "leaves its root"),
        ("a//b", "not in normal form"),
        ("./a", "not in normal form"),
        ("a\\..\\b", "backslash"),
        ("a/ep1/x\x1b[2J.mp4", "control characters"),
        ("a/ep1/x\n.mp4", "control characters"),
        ("a/\u202e4pm.exe", "control characters"),
        ("a/" + "x" * 256, "too long"),
        ("caf\u00e9/ep1/annotation.hdf5", "characters outside ASCII"),
    ],
)
def test_a_hostile_name_is_refused_with_its_reason(path: str, reason: str) -> None:
    assert names.refusal(path) == reason
    with pytest.raises(UsageError, match=reason):
        names.place(Path("/data"), path)


@given(st.text())
def test_whatever_is_not_refused_stays_below_its_root(path: str) -> None:
    if names.refusal(path) is None:
        placed = Path("/data/root") / path
        assert placed.is_relative_to("/data/root")
        assert ".." not in placed.parts
        assert path.isprintable()


def test_a_symbolic_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "session").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="symbolic link"):
        names.place(root, "session/ep1/annotation.hdf5")
    (root / "file").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="symbolic link"):
        names.place(root, "file")


def test_a_listing_records_what_it_refuses() -> None:
    files = [
        RemoteFile("../x", 1),
        RemoteFile("s/ep1/annotation.hdf5", 2),
        RemoteFile("s/ep1/annotation.hdf5", 3),
        RemoteFile("s/ep1/\x1b]0;x", 4),
        RemoteFile("s/ep2/annotation.hdf5", -1),
        RemoteFile("README.md", 5),
    ]
    listing = make_listing("a/b", "c" * 40, files)
    assert [file.path for file in listing.files] == ["README.md"]
    assert {refused.path: refused.reason for refused in listing.refused} == {
        "../x": "leaves its root",
        "s/ep1/annotation.hdf5": "listed 2 times",
        "s/ep1/\\x1b]0;x": "control characters",
        "s/ep2/annotation.hdf5": "size -1",
    }


@pytest.mark.parametrize("path", ["README.md", "s/ep01/a", "s/ep/a", "s/ep1/b/a", "s/epx/a", "s/ep-1/a"])
def test_only_the_episode_grammar_makes_an_episode(path: str) -> None:
    assert names.parse(path) is None


def test_an_episode_path_is_taken_apart() -> None:
    parsed = names.parse("8a8e/ep48/stereo_left.mp4")
    assert parsed is not None
    assert (parsed.session, parsed.number, parsed.name, parsed.text) == (
        "8a8e", 48, "stereo_left.mp4", "8a8e/ep48",
    )  # fmt: skip
