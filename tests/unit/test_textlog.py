"""The end of text logs with carriage returns and endless lines."""

from __future__ import annotations

from pathlib import Path

from pipeline.engine.textlog import LINE_CHARS, read_end


def end_of(path: Path, data: bytes, lines: int = 20) -> tuple[str, ...]:
    path.write_bytes(data)
    return read_end(path, lines).lines


def test_only_the_last_state_of_a_line_counts(tmp_path: Path) -> None:
    bar = b"".join(b"\rLoading: %d/2034" % i for i in range(2035))
    assert end_of(tmp_path / "x.log", b"start\n" + bar + b"\ndone\n") == (
        "start",
        "Loading: 2034/2034",
        "done",
    )


def test_a_bar_of_600_kilobytes_gives_its_last_state(tmp_path: Path) -> None:
    bar = b"".join(b"\r%s %d%%" % (b"#" * 100, i % 100) for i in range(6000))
    assert end_of(tmp_path / "x.log", b"start\n" + bar)[-1].endswith("99%")


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    (line,) = end_of(tmp_path / "x.log", b"x" * 600_000)
    assert len(line) == LINE_CHARS + 3


def test_the_last_lines_are_kept(tmp_path: Path) -> None:
    assert end_of(tmp_path / "x.log", b"".join(b"%d\n" % i for i in range(100_000)), 2) == ("99998", "99999")


def test_no_escape_or_control_character_survives(tmp_path: Path) -> None:
    hostile = b"\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m \x9b31m \x00\x08 [bold]markup[/bold] \xff\n"
    (line,) = end_of(tmp_path / "x.log", hostile)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)
    assert "red" in line
    assert "[bold]markup[/bold]" in line


def test_empty_and_missing_files(tmp_path: Path) -> None:
    assert end_of(tmp_path / "x.log", b"") == ()
    assert read_end(tmp_path / "no.log").problem == "no such file or directory"
