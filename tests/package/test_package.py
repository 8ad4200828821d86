"""What may leave: only what is listed, looked into, redacted, proved and audited again."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_folders import CONTRACT, HOME, Folders, edit, read, write

from pipeline.engine.config import HostConfig, WorkspaceConfig
from pipeline.engine.errors import NotFoundError, UsageError
from pipeline.package.audit import AUDIT_FILE, SUMMARY_FILE, as_record, audit_package
from pipeline.package.build import build_package, redactor_for
from pipeline.package.kinds import hidden_data, kind_of
from pipeline.package.secrets import Redactor, find


def built(folders: Folders, out: Path, *, kind: str = "pilot") -> Path:
    redactor = Redactor({HOME: "<workspace>", f"{HOME}/models": "<model-cache>"}, ["relay7"])
    build_package(out, folders.sources, CONTRACT, kind=kind, redactor=redactor)
    return out


def test_a_package_holds_what_the_contract_owes_and_nothing_of_this_host(
    folders: Folders, tmp_path: Path
) -> None:
    out = built(folders, tmp_path / "package")
    audit = audit_package(out)
    assert audit.issues == ()
    assert audit.status == "pass"
    names = {file.path for file in audit.files}
    assert {f"eval/{name}" for name in CONTRACT.artifact_contract.required_eval_files} <= names
    text = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
    assert HOME not in text
    assert "<workspace>" in text
    assert "<model-cache>/qwen" in text
    summary = read(out / SUMMARY_FILE)
    assert summary["dataset"]["skipped_episodes"][0]["reason"] == "no labelled windows"
    assert summary["eval"]["baselines"]
    assert not any(path.suffix == ".safetensors" for path in out.rglob("*"))


@pytest.mark.parametrize("kind", ["smoke", "overfit"])
def test_what_is_no_result_is_never_packaged(folders: Folders, tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="is not a result"):
        built(folders, tmp_path / "package", kind=kind)


def test_a_failed_validation_or_a_secret_stops_the_package(folders: Folders, tmp_path: Path) -> None:
    edit(folders.sources.train / "training_metadata.json", note="token hf_" + "Ab1" * 10)
    with pytest.raises(UsageError, match="Hugging Face token"):
        built(folders, tmp_path / "one")
    edit(folders.sources.validate / "eval.json", status="fail")
    with pytest.raises(UsageError, match="validation of the eval did not pass"):
        built(folders, tmp_path / "two")


def _npz() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY")
    return data.getvalue()


_SAFETENSORS = struct.pack("<Q", 60) + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}      '


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("eval/notes.md", b"\x00\x00\x00\x20ftypisom" + b"\0" * 40, "its content is media"),
        ("eval/table.csv", b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "its content is hdf5"),
        ("eval/weights.json", _SAFETENSORS + b"\0" * 8, "its content is model weights"),
        ("eval/data.txt", gzip.compress(b"x"), "its content is gzip archive"),
        ("eval/features.json", _npz(), "its content is zip archive"),
        ("eval/run.md", b"RRF2" + b"\0" * 20, "its content is rerun recording"),
        ("eval/model.txt", b"\x80\x04\x95" + b"\0" * 20, "its content is pickle"),
        ("eval/raw.txt", b"a\0b" * 20, "its content is binary"),
        ("eval/clip.mp4", b"text", "not on the allow-list"),
        ("eval/tensor.json", json.dumps({"w": [[0.5] * 200] * 200}).encode(), "a list of 40,000 numbers"),
        ("eval/encoded.json", json.dumps({"w": "QUJD" * 2000}).encode(), "an encoded file"),
        ("eval/log.txt", b"saved to /home/cy/Ropedia/results", "path /home/cy"),
        ("eval/log2.txt", b"ssh ada@gpu-17.example.org", "host ada@gpu-17"),
        ("eval/key.txt", b"-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_content_decides_and_not_the_name(
    folders: Folders, tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    out = built(folders, tmp_path / "package")
    (out / name).write_bytes(data)
    audit = audit_package(out)
    assert audit.status == "fail"
    assert any(issue.startswith(name) and told in issue for issue in audit.issues), audit.issues


def test_links_are_refused_and_not_followed(folders: Folders, tmp_path: Path) -> None:
    out = built(folders, tmp_path / "package")
    os.symlink("/etc", out / "eval" / "etc")
    os.symlink("metrics.json", out / "eval" / "alias.json")
    issues = audit_package(out).issues
    assert "eval/etc: a symbolic link out of the package" in issues
    assert "eval/alias.json: a symbolic link" in issues
    assert not any("passwd" in issue for issue in issues)


def _drop_metric(out: Path) -> None:
    summary = read(out / SUMMARY_FILE)
    summary["eval"]["primary_metrics"]["object_micro_f1"] = None
    write(out / SUMMARY_FILE, summary)


def _invent_metric(out: Path) -> None:
    summary = read(out / SUMMARY_FILE)
    summary["eval"]["primary_metrics"]["object_micro_f1"] = 0.99
    write(out / SUMMARY_FILE, summary)


def _no_rows(out: Path) -> None:
    summary = read(out / SUMMARY_FILE)
    write(out / SUMMARY_FILE, summary | {"eval": summary["eval"] | {"prediction_rows": 0, "num_samples": 0}})


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda out: (out / "eval" / "predictions.csv").unlink(), "eval/predictions.csv is missing"),
        (lambda out: edit(out / SUMMARY_FILE, status="draft"), "not 'verified'"),
        (lambda out: edit(out / SUMMARY_FILE, run_kind="smoke"), "a smoke run is not a result"),
        (lambda out: edit(out / SUMMARY_FILE, backbone="unknown"), "no contract is known"),
        (lambda out: edit(out / SUMMARY_FILE, dataset={}), "which episodes were skipped"),
        (
            lambda out: edit(out / "validation" / "eval.json", status="fail"),
            "validation/eval.json does not say pass",
        ),
        (lambda out: (out / SUMMARY_FILE).write_text("{torn"), f"{SUMMARY_FILE} is missing or no JSON"),
        (_drop_metric, "primary metric object_micro_f1 is missing or null"),
        (_invent_metric, "0.99 in the summary"),
        (_no_rows, "it counts no prediction"),
    ],
)
def test_a_claim_without_its_evidence_fails(
    folders: Folders, tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    out = built(folders, tmp_path / "package")
    spoil(out)
    assert any(told in issue for issue in audit_package(out).issues)


def test_a_published_package_passes_and_paths_of_its_host_are_found(published: Path) -> None:
    good = published / "omni" / "pkg" / "q1_valmon_eval"
    if not good.is_dir():
        pytest.skip(f"no {good}")
    assert as_record(audit_package(good))["status"] == "pass"
    raw = audit_package(published / "omni" / "c_nano_eval")
    assert any("path /home/" in issue for issue in raw.issues)


def test_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        audit_package(tmp_path / "nowhere")


def test_the_redactor_knows_the_workspace_its_hosts_and_data(tmp_path: Path) -> None:
    config = WorkspaceConfig(hosts={"gpu": HostConfig(address="cy@h20-node:22", data_root="/srv/xp")})
    redactor = redactor_for(tmp_path, config, {})
    text, count = redactor.redact(f"{tmp_path}/runs on h20-node from /srv/xp/a.hdf5 as cy@h20-node")
    assert text == "<workspace>/runs on <host> from <data>/a.hdf5 as <host>"
    assert count == 4


@given(st.text(), st.sampled_from(["/home/a b", "/data/x", "C:\\Users\\a", "a@b.c", "10.1.2.3", "/root"]))
def test_nothing_redactable_is_left_after_redaction(text: str, bad: str) -> None:
    clean, _ = Redactor({"/data/x": "<data>"}, ["node"]).redact(f"{text} {bad} {text}")
    assert [one for one in find(clean) if one.redactable] == []


def test_ordinary_text_is_left_alone(tmp_path: Path) -> None:
    text = "accuracy 0.5 at 3/4 of https://example.org/home/page; ratio 1.2.3; <project>/results/x"
    assert Redactor({}).redact(text) == (text, 0)
    path = tmp_path / "a.md"
    path.write_text(text)
    assert kind_of(path) == "text"
    assert hidden_data(path) == ""


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda f: edit(f.sources.train / "training_metadata.json", adapter_sha256="b" * 64),
         {"same_adapter", "same_adapter_as_trained"}),
        (lambda f: (f.sources.train.parent / "progress.jsonl").write_text('{"event":"failed"}\n'),
         {"training_complete"}),
        (lambda f: (f.sources.train / "adapter" / "adapter_config.json").unlink(), {"training_files"}),
        (lambda f: edit(f.sources.export / "dataset_manifest.json", action_options=["cut", "stir"]),
         {"labels_from_train"}),
        (lambda f: edit(f.sources.export / "dataset_manifest.json", num_samples=99), {"rows_conserved"}),
        (lambda f: edit(f.sources.merge / "metrics.json", eval_split="val"),
         {"held_out", "coverage", "only_held_out_ids"}),
        (lambda f: edit(f.sources.merge / "metrics.json", object_micro_f1=None), {"primary_metrics"}),
        (lambda f: edit(f.sources.merge / "metrics.json", error_rows=["x"]), {"every_row_answered"}),
    ],
)  # fmt: skip
def test_evidence_that_does_not_fit_is_named(
    folders: Folders, spoil: Callable[[Folders], object], names: set[str]
) -> None:
    assert folders.failing() == set()
    spoil(folders)
    assert folders.failing() == names


def test_a_test_row_in_the_train_file_and_a_missing_answer_are_found(folders: Folders) -> None:
    dataset = folders.sources.export / "dataset.jsonl"
    rows = [json.loads(line) for line in dataset.open()]
    rows[0]["episode_id"] = rows[-1]["episode_id"]
    rows[1]["media"] = rows[-1]["media"]
    dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    failing = folders.failing()
    assert {"episodes_apart", "media_apart", "same_dataset"} <= failing
    predictions = folders.sources.merge / "predictions.jsonl"
    predictions.write_text("".join(predictions.open().readlines()[:-1]))
    coverage = next(q for q in folders.questions() if q.name == "coverage")
    assert coverage.ok is None, "amber: a person decides"
    assert coverage.detail.startswith("11 of 12 rows")


def test_reports_escape_what_foreign_text_brings(folders: Folders) -> None:
    from pipeline.reporting.facts import gather
    from pipeline.reporting.markdown import run_report
    from pipeline.reporting.page import page

    s = folders.sources
    evil = "<script>alert(1)</script>`| \x1b[31m"
    edit(s.train / "training_metadata.json", model_id=evil, settings={evil: evil})
    write(
        s.export / "dataset_manifest.json",
        read(s.export / "dataset_manifest.json")
        | {"skipped_episodes": [{"episode_path": evil, "reason": evil}]},
    )
    facts = gather(evil, "smoke", dataset=s.export, train=s.train, merge=s.merge, validate=s.validate)
    html, text = page(facts), run_report(facts)
    assert "<script" not in html
    assert "default-src 'none'" in html
    assert ">smoke<" in html
    assert "\x1b" not in html + text
    assert "http" not in html.replace("http-equiv", "")
    assert AUDIT_FILE not in html
    assert text.splitlines()[0] == "# Qwen3-Omni LoRA Sharded Evaluation"
    assert "- Merged predictions: `12`" in text
