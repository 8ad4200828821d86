"""The published selection, read as it is and reproduced as far as its own figures allow."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline.hub.batches import cut
from pipeline.hub.choose import _split, summarise
from pipeline.hub.pool import Candidate, Episode, SelectRules, band_of, episode_score
from pipeline.hub.relay_plan import plan_relay
from pipeline.hub.selection import BANDS, read_selection, write_csv, write_download_list
from pipeline.hub.units import GIB

#: Medians over the 11,478 candidates. The file does not hold them, but only one set of whole numbers
#: gives its 128 scores to all eight decimals.
TRAINING_MEDIAN = 2370747602
BAND_MEDIANS = {"short": 1693161892, "lower_mid": 1942181032, "upper_mid": 1973219428, "long": 1990033896}


def test_the_published_file_is_accepted_as_it_is(real_selection: Path) -> None:
    selection = read_selection(real_selection)
    assert len(selection.episodes) == 128
    assert len({episode.session for episode in selection.episodes}) == 128
    assert Counter(episode.split for episode in selection.episodes) == {"train": 96, "val": 16, "test": 16}
    assert len(selection.download_files) == 896
    assert selection.size == 298_189_759_263
    assert selection.commit == "ce943cf271a758b60240084892d05cf6dc12dd90"
    assert selection.version == 1
    assert not selection.hashed


def test_every_score_comes_out_of_the_formula(real_selection: Path) -> None:
    for episode in read_selection(real_selection).episodes:
        score = episode_score(
            episode.path,
            annotation=episode.annotation_bytes / BAND_MEDIANS[episode.band],
            training=episode.training_bytes / TRAINING_MEDIAN,
            number=episode.episode_number,
            seed=7,
        )
        assert score == pytest.approx(episode.score, abs=1e-12), episode.path


def test_bands_are_the_quartiles_of_all_complete_episodes(real_selection: Path) -> None:
    selection = read_selection(real_selection)
    summary = selection.annotation_size_summary_complete
    quartiles = [summary[f"{name}_bytes"] for name in ("p25", "median", "p75")]
    for episode in selection.episodes:
        assert band_of(episode.annotation_bytes, quartiles) == episode.band


def test_rank_is_band_then_score_then_path(real_selection: Path) -> None:
    episodes = read_selection(real_selection).episodes
    assert list(episodes) == sorted(episodes, key=lambda e: (BANDS.index(e.band), e.score, e.path))


def test_the_split_is_the_order_of_the_seeded_hash(real_selection: Path) -> None:
    selection = read_selection(real_selection)
    candidates = [Candidate(Episode(e.path, e.session, e.episode_number, ()), e.band, e.score)
                  for e in selection.episodes]  # fmt: skip
    splits = _split(candidates, SelectRules())
    assert splits == {episode.path: episode.split for episode in selection.episodes}


def test_the_summary_block_is_reproduced(real_selection: Path) -> None:
    selection = read_selection(real_selection)
    assert summarise(selection.episodes, 256) == selection.selected_summary


def test_the_thresholds_hold_for_every_episode(real_selection: Path) -> None:
    selection = read_selection(real_selection)
    for episode in selection.episodes:
        assert episode.annotation_bytes >= selection.rules["min_annotation_bytes"]
        assert episode.training_bytes >= selection.rules["min_training_bytes"]
        assert set(episode.files) == set()


def test_csv_and_download_list_are_the_published_ones(
    published: Path, real_selection: Path, tmp_path: Path
) -> None:
    selection = read_selection(real_selection)
    write_csv(tmp_path / "s.csv", selection)
    write_download_list(tmp_path / "s.txt", selection)
    omni = published / "omni"
    assert (tmp_path / "s.csv").read_text() == (omni / "xperience10m_128_episode_selection.csv").read_text()
    listed = (omni / "xperience10m_128_episode_download_files.txt").read_text()
    assert (tmp_path / "s.txt").read_text() == listed


@pytest.mark.parametrize(
    ("gib", "episodes", "batches", "each"), [(40, 16, 8, 16), (24, 8, 16, 8)]
)  # fmt: skip
def test_the_plan_of_the_seed_and_of_the_script(
    real_selection: Path, gib: float, episodes: int, batches: int, each: int
) -> None:
    selection = read_selection(real_selection)
    groups = list(cut(selection.episodes, max_gib=gib, max_episodes=episodes))
    assert [len(group) for group in groups] == [each] * batches
    plan = plan_relay(selection, batch_max_gib=gib, batch_max_episodes=episodes)
    assert plan.bytes == sum(batch.bytes for batch in plan.batches) == selection.size
    assert plan.files == 896
    assert plan.eta_s is None
    assert 35_600 <= plan.chunks <= 36_400
    if batches == 8:
        sizes = [round(batch.bytes / GIB, 1) for batch in plan.batches]
        assert (min(sizes), max(sizes)) == (32.9, 35.4)
