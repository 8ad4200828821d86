"""Commands that only look: events, logs, watch, configuration, doctor, reference."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import Xops

from console.cli.reference import leaves, render

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_the_command_tree_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == render(), (
        "run: python -m console.cli.reference > docs/cli.md"
    )


def test_every_command_of_the_tree_has_json() -> None:
    from console.cli import COMMANDS, load_command

    for name in COMMANDS:
        command = load_command(name)
        for verb, leaf in list(leaves(command)) or [(name, command)]:
            assert any("--json" in option.opts for option in leaf.params), f"{name} {verb}"


ACTS = {
    "init": {"init"},
    "demo": {"demo"},
    "serve": {"serve"},
    "tty-reset": {"tty-reset"},
    "run": {"new", "start", "resume", "cancel", "reap", "invalidate"},
    "gate": {"waive", "sign"},
    "registry": {"scaffold"},
    "relay": {"run", "limit", "verify", "replace", "key"},
    "data": {"synth", "quarantine", "swap"},
}
LOSING = {("relay", "verify"), ("run", "cancel"), ("run", "reap"), ("run", "invalidate"), ("gate", "waive")}


def test_every_act_has_a_dry_run_and_every_loss_wants_a_yes() -> None:
    from console.cli import load_command

    for name, verbs in ACTS.items():
        command = load_command(name)
        leaves = getattr(command, "commands", None) or {name: command}
        for verb in verbs:
            options = {option for parameter in leaves[verb].params for option in parameter.opts}
            assert "--dry-run" in options, f"{name} {verb}"
            assert ("--yes" in options) is ((name, verb) in LOSING), f"{name} {verb}"


def test_run_ids_are_completed(xops: Xops) -> None:
    run = xops("run", "new", "quick", "--json").data["run_id"]
    words = {"_XOPS_COMPLETE": "complete_bash", "COMP_WORDS": f"xops run show {run[:6]}", "COMP_CWORD": "3"}
    assert run in xops(env=words).out


def test_events_are_printed_as_they_are_in_the_files(xops: Xops) -> None:
    xops("run", "new", "quick")
    xops("run", "start", "last")
    xops("run", "wait", "last")
    answer = xops("events", "tail", "last", "--json")
    events = [json.loads(line)["event"] for line in answer.out.splitlines()]
    assert events[0] == "stage_start"
    assert events[-1] == "complete"
    assert "stage_done" in events


def test_events_are_followed_until_interrupted(xops: Xops, tmp_path: Path) -> None:
    run = xops("run", "new", "quick", "--json").data["run_id"]
    command = [sys.executable, "-P", "-m", "console", "events", "tail", run, "--follow", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        xops("run", "start", run)
        assert json.loads(process.stdout.readline())["event"] == "stage_start"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_an_escape_in_a_log_never_reaches_the_terminal(xops: Xops, tmp_path: Path) -> None:
    run = xops("run", "new", "quick", "--json").data["run_id"]
    stage = tmp_path / "runs" / run / "stages" / "quick"
    stage.mkdir()
    (stage / "progress.jsonl").write_bytes(b'{"event":"\x1b]0;owned\x07x","timestamp":1}\n\xff\xfe\x1b[2J\n')
    assert "\x1b" not in xops("events", "tail", "last").out


def test_stage_log_prints_what_the_attempt_printed(xops: Xops) -> None:
    xops("run", "new", "quick", "--set", "quick.act=crashes")
    xops("run", "start", "last")
    assert xops("run", "wait", "last").code == 1
    assert "Traceback" in xops("stage", "log", "last", "quick").out


def test_watch_once(xops: Xops, tmp_path: Path) -> None:
    folder = tmp_path / "foreign" / "my_run"
    folder.mkdir(parents=True)
    rows = [
        {"event": "setup_done", "run_id": "my_run", "num_train_samples": 8, "timestamp": 1.0},
        {"event": "train_step", "global_step": 10, "rank0_batch_loss": 2.5, "timestamp": 2.0},
    ]
    (folder / "progress.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (log,) = xops("watch", str(tmp_path / "foreign"), "--once", "--json").data["logs"]
    assert log["path"] == "my_run/progress.jsonl"
    assert log["family"] == "train"
    assert (log["rows"], log["terminal"], log["last_loss"]) == (2, "none", 2.5)
    assert "my_run/progress.jsonl" in xops("watch", str(tmp_path / "foreign"), "--once").out
    assert xops("watch", str(tmp_path / "nowhere"), "--once").code == 5


def test_watch_follows_as_json_lines(xops: Xops, tmp_path: Path) -> None:
    del xops
    log = tmp_path / "progress.jsonl"
    log.write_text('{"event":"start","timestamp":1}\n')
    command = [sys.executable, "-P", "-m", "console", "watch", str(tmp_path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["rows"] == 1
        with log.open("a") as file:
            file.write('{"event":"more","timestamp":2}\n')
        assert json.loads(process.stdout.readline())["last_event"] == "more"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_configuration_mistakes_are_found(xops: Xops, tmp_path: Path) -> None:
    assert xops("config", "validate", "--json").data["valid"] is True
    assert xops("config", "schema").data["$defs"]
    (tmp_path / "xops.toml").write_text('[ui]\nthem = "x"\n')
    answer = xops("config", "validate")
    assert answer.code == 2
    assert "did you mean ui.theme" in answer.err


def test_doctor_names_every_check_and_shows_no_secret(xops: Xops) -> None:
    answer = xops("doctor", "--json", env={"HF_TOKEN": "hf_verysecretvalue"})
    findings = {finding["name"]: finding for finding in answer.data["findings"]}
    assert findings["hub token"]["detail"] == "from HF_TOKEN"
    assert {"python", "memory", "disk", "file system", "ssh", "gpus"} <= findings.keys()
    assert "verysecret" not in answer.out + answer.err


def test_spec_describes_parameters(xops: Xops) -> None:
    described = xops("spec", "a", "--json").data
    assert described["parameters"]["items"] == 10
    assert "a, b, c" in xops("spec").out


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org"])
def test_serve_refuses_what_others_can_reach(xops: Xops, host: str) -> None:
    answer = xops("serve", "--host", host, "--dry-run")
    assert answer.code == 2
    assert "ssh -L" in answer.err
    assert xops("serve", "--dry-run", "--json").data["url"] == "http://127.0.0.1:8008"


def test_tty_reset_without_a_terminal_says_so(xops: Xops) -> None:
    assert xops("tty-reset").code == 2
