"""At scale: both inputs are one music, streams lose nothing, networks are the thesis's, records."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dl101.chapters.at_scale import experiment, networks, stores, throughput, verdicts
from dl101.chapters.at_scale.networks import FRONT_ENDS, STORE, Training
from dl101.data.embedded import export
from dl101.errors import ConfigError
from dl101.evaluation.results import Measured
from dl101.nn.sample_level import TAGGING_AT_SCALE, SampleLevelFrontend
from dl101.nn.shapes import MusicnnBackend, ShapedConvs, musicnn_shapes

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
N_TRACKS = 60


def count(*parts: nn.Module) -> int:
    return sum(p.numel() for part in parts for p in part.parameters())


@pytest.fixture(scope="module")
def corpus() -> stores.Corpus:
    return stores.load(seed=0, n_tracks=N_TRACKS, progress=False)


# ---- what is read ------------------------------------------------------------------------------


def test_both_inputs_are_the_same_music(corpus) -> None:
    files = export.cached_corpus(stores.CORPUS, n_tracks=N_TRACKS, seed=0, progress=False)
    key = corpus.sides["test"].keys[1]
    with stores.pair.opened(files.audio, files.annotations) as (_, store):
        inputs = stores.framed(*store.read(key))
    waves, spectra = (corpus.stores[name].read_frames(key) for name in stores.INPUTS)
    assert waves.shape == (486, 136) and spectra.shape == (48, 136)
    np.testing.assert_allclose(waves, inputs["waves"], atol=5e-4)  # 16 bits
    np.testing.assert_allclose(spectra, inputs["spectra"], atol=5e-3)
    again = stores.framed(waves.T.ravel(), stores.SAMPLE_RATE)["spectra"]
    assert np.abs(again - spectra).mean() < 0.01
    assert np.abs(again - np.roll(spectra, 1, axis=1)).mean() > 0.1  # a frame apart


def test_frames_are_joined_in_time_order() -> None:
    audio = torch.arange(3 * 486.0)
    frames = audio.reshape(3, 486).T[None]
    torch.testing.assert_close(networks.Unframed()(frames)[0, 0], audio)


def test_sides_are_those_of_the_corpus_and_small_corpora_its_beginning(corpus) -> None:
    assert {side: len(tracks) for side, tracks in corpus.sides.items()} == {
        "train": 40,
        "validation": 10,
        "test": 10,
    }
    small = experiment.share_of(corpus, 0.2)
    assert len(small) == 8 and set(small.keys) < set(corpus.sides["train"].keys)
    shorter = stores.load(seed=0, n_tracks=12, progress=False)
    assert shorter.sides["train"].keys == small.keys
    np.testing.assert_array_equal(shorter.sides["train"].targets, small.targets)
    for a, b in itertools.combinations(corpus.sides.values(), 2):
        assert not set(a.keys) & set(b.keys)


def test_the_stream_gives_every_patch_once_an_epoch_in_the_same_order_to_both(corpus) -> None:
    tracks = corpus.sides["train"]
    seen = {}
    for name in stores.INPUTS:
        stream = stores.batches(corpus.stores[name], tracks, batch_size=24, seed=3, block_tracks=7)
        seen[name] = list(itertools.islice(stream, 10))  # 40 tracks, 3 patches each: two epochs
    tags = [torch.cat([tags for _, tags in batches]) for batches in seen.values()]
    torch.testing.assert_close(*tags)
    waves = torch.cat([patches for patches, _ in seen["waves"]])
    first, second = (set(map(float, part.double().sum(dim=(1, 2)))) for part in waves.split(120))
    assert len(first) == 120 and first == second
    assert not torch.equal(waves[:120], waves[120:])


def test_few_tracks_fill_no_batch_and_are_learned_from_all_the_same(corpus) -> None:
    stream = stores.batches(corpus.stores["spectra"], corpus.sides["train"].within(1), batch_size=8)
    assert [len(patches) for patches, _ in itertools.islice(stream, 2)] == [3, 3]


def test_what_is_said_of_a_track_is_the_mean_over_its_patches(corpus) -> None:
    network = networks.build("spectrogram").eval()
    tracks = corpus.sides["test"].some(slice(3))
    said = networks.logits(network, "spectrogram", corpus, tracks)
    values = torch.from_numpy(corpus.stores["spectra"].read_frames(tracks.keys[2]))
    with torch.inference_mode():
        both = network(torch.stack([values[:, :68], values[:, 68:]]))
    np.testing.assert_allclose(said[2], both.mean(dim=0), atol=1e-4)


# ---- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FRONT_ENDS)
def test_networks_share_the_back_end_and_learn(kind, corpus) -> None:
    network = networks.build(kind)
    patches, _ = next(
        stores.batches(corpus.stores[STORE[kind]], corpus.sides["train"], batch_size=4)
    )
    assert network(patches).shape == (4, len(stores.TASK.classes))
    backs = [networks.build(other)[2] for other in FRONT_ENDS]
    assert count(*backs[0].children()) - count(backs[0].conv1) == count(backs[1]) - count(
        backs[1].conv1
    )


def test_front_ends_are_a_quarter_of_the_published_ones() -> None:
    widths = [n // 4 for n in TAGGING_AT_SCALE]
    published = SampleLevelFrontend(widths=widths, same=False)
    whole = count(published, MusicnnBackend(widths[-1], 50))
    assert whole == GOLDEN["thesis/T5.2 wave front x0.25"]["count"]
    assert count(networks.front_end("waveform")[1]) == count(published)
    vertical, horizontal = musicnn_shapes(96, width=0.25)
    front = ShapedConvs(96, vertical=vertical, horizontal=horizontal)
    whole = count(front, MusicnnBackend(front.out_channels, 50))
    assert whole == GOLDEN["thesis/T5.3 spec front x0.25"]["count"]
    assert networks.front_end("spectrogram")[2] == front.out_channels


def test_training_keeps_the_random_numbers_of_others_and_its_own_result(corpus) -> None:
    tracks = corpus.sides["train"]
    short = Training(n_steps=4, batch_size=8, n_looks=2)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    found = [
        networks.train_network("spectrogram", corpus, tracks, training=short, seed=1)
        for _ in range(2)
    ]
    assert torch.rand(1) == expected
    for a, b in zip(*(network.parameters() for network in found), strict=True):
        torch.testing.assert_close(a, b)


# ---- scores ------------------------------------------------------------------------------------


def test_a_comparison_is_paired() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 4)) < 0.3).astype(float)
    noise = rng.standard_normal(truth.shape)
    said = {"good": 2 * truth + noise, "twin": 2 * truth + noise, "bad": truth + noise}
    found = experiment.compared(truth, said, n_draws=50)
    assert found["good over twin"] == found["good over twin (error)"] == 0
    assert found["good over bad"] > 3 * found["good over bad (error)"] > 0


def test_an_experiment_runs_at_any_size_and_leaves_out_what_is_done(monkeypatch) -> None:
    monkeypatch.setattr(experiment, "Training", lambda **_: Training(n_steps=2, n_looks=1))
    monkeypatch.setattr(throughput, "STAGES", {"reading": throughput.reading})
    monkeypatch.setattr(experiment, "HEARD", (2, 8))
    measured = list(experiment.run(0, N_TRACKS))
    names = [each.variant for each in measured]
    assert names[:2] == ["speed: reading", "prior"]
    assert {"spectrogram: 60", "waveform: 6", "trees: 1", "gap: 60", "heard: 6"} < set(names)
    assert "gap, longer: 60" in names and "heard, longer: 60" not in names
    by_name = {each.variant: each for each in measured}
    assert by_name["speed: reading"].metrics["read_gb"] == pytest.approx(60 * 6 * 22050 * 4 / 1e9)
    assert 0.05 < by_name["speed: reading"].metrics["peak_gb"] < 4
    assert by_name["waveform: 60"].metrics["n_train"] == 40
    assert by_name["waveform: 60"].metrics["passes"] == pytest.approx(2 * 32 / 120)
    assert by_name["waveform, longer: 60"].metrics["passes"] == pytest.approx(4 * 2 * 32 / 120)
    assert by_name["heard: 60"].n_items == 2
    assert not list(experiment.run(0, N_TRACKS, done=names))


def test_a_tiny_corpus_works_and_one_without_sides_is_refused() -> None:
    tiny = stores.load(seed=0, n_tracks=12, progress=False)
    assert len(experiment.share_of(tiny, 0.01)) == 1
    nothing = np.zeros((2, len(stores.TASK.classes)))
    found = experiment.heard(tiny.sides["test"], dict.fromkeys(FRONT_ENDS, nothing))
    assert {name.split()[0] for name in found} == {"2"} and set(found.values()) == {0.5}
    with pytest.raises(ConfigError, match="3 or more"):
        stores.load(seed=0, n_tracks=2, progress=False)


# ---- verdicts and records ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> Measured:
    return Measured.of("at_scale")


def test_lines_are_exact_where_scores_lie_on_one() -> None:
    class Table:
        def each(self, variant: str, metric: str) -> np.ndarray:
            return np.array([0.1, 0.2]) + 0.05 * np.log10(float(variant.split(": ")[1]))

    slope, height = verdicts.lines(Table(), "x")
    np.testing.assert_allclose(slope, 0.05)
    np.testing.assert_allclose(height, [0.1, 0.2])
    np.testing.assert_allclose(verdicts.projected(Table(), "x", 1e5), [0.35, 0.45])


def test_the_records_are_complete(measured) -> None:
    assert len(measured.seeds) >= 3
    for size in verdicts.SIZES:
        for system in experiment.SYSTEMS:
            runs = measured.runs(f"{system}: {size}")
            assert [run.seed for run in runs] == measured.seeds
            prior = measured.each("prior", "macro_ap")
            assert np.all(measured.each(f"{system}: {size}", "macro_ap") > prior)
    for kind in FRONT_ENDS:
        found = measured.runs(f"{kind}: 100")[0]
        assert found.n_parameters == count(networks.build(kind))


def test_ten_thousand_tracks_need_less_than_4_gb(measured) -> None:
    for stage in throughput.STAGES:
        name = f"{throughput.PREFIX}{stage}"
        assert measured.runs(name)[0].data["n_tracks"] == 10_000
        assert np.all(measured.each(name, "peak_gb") < 4)
    assert np.all(measured.each("speed: reading", "read_gb") > 4)


def test_every_claim_has_its_verdict(measured) -> None:
    for claim, found in verdicts.verdicts(measured):
        assert found.low <= found.value <= found.high, claim.text
        assert found.verdict in ("confirmed", "denied", "undecided")
    there, back = (
        verdicts.gap(*pair, 100)(measured)
        for pair in (("waveform", "spectrogram"), ("spectrogram", "waveform"))
    )
    assert there.value == -back.value and there.low == pytest.approx(-back.high)
