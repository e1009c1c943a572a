"""The whole way on a very small scale: tones, training, streaming, scores, record, command."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from dl101 import cli
from dl101.chapters.inverse_synthesis import experiment
from dl101.data import pyjama, source
from dl101.data.audiostore import AudioStoreWriter
from dl101.data.embedded import export
from dl101.data.embedded.corpora import tones
from dl101.data.pyjama import Atom, Collection, Definition, Entry
from dl101.errors import ConfigError, DataError
from dl101.systems import inverse_synthesis as system
from dl101.systems import inverse_synthesis_data as data_of
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow

TINY = [
    "data.n_tracks=6",
    "data.patch_frames=20",
    "also=[]",
    "tones.n_tracks=12",
    "sines={n_bands: 32, stem: 4, widths: [2], blocks: [1], strides: [1], n_bins: 4}",
    "harmonic={width: 12, hidden: 8, n_harmonics: 8, n_bins: 16, series: 3}",
    "windows=[256, 64]",
    "real_frames=6",
    "real_batch=2",
    "training.max_epochs=2",
    "training.batch_size=4",
]


@pytest.fixture(scope="module")
def settings():
    return system.load_config(settings=TINY)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


@pytest.fixture
def network(settings):
    return system.build(settings).eval()


def batch_of(settings, tracks):
    return next(iter(system.batches(settings, tracks).train_dataloader()))


# ---- configurations ----------------------------------------------------------------------------


def test_the_full_scale_is_the_published_network():
    built = system.build(system.load_config(scale="full"))
    assert sum(p.numel() for p in built.sines.parameters()) == 59_043_365
    assert sum(p.numel() for p in built.harmonics.parameters()) == 1_541_541
    weights = built.settings.weights
    assert (weights.f0, weights.amplitude, weights.distribution) == (1, 10, 100)
    assert (weights.noise, weights.sinusoids, weights.bins) == (100, 0.1, 0)


def test_the_lab_network_fits_into_what_may_be_shipped():
    built = system.build(system.load_config())
    assert 2 * sum(p.numel() for p in built.parameters()) < 1.4e6  # bytes as float16


def test_variants_have_names():
    named = {
        (): "mixed",
        ("curriculum=tones",): "tones",
        ("stop_gradient=false",): "mixed-through",
        ("weights.sinusoids=0.0",): "mixed-inconsistent",
    }
    for changes, name in named.items():
        assert system.load_config(settings=[*TINY, *changes]).variant == name
    with pytest.raises(ConfigError, match="lower end"):
        system.load_config(settings=["low_midi=90.0"])


# ---- data --------------------------------------------------------------------------------------


def test_tones_are_those_of_the_corpus(settings, tracks):
    found = {track.key: track for side in tracks.values() for track in side if track.parameters}
    assert len(found) == 12
    item = tones.render(5, seed=0, duration_s=4.0, extras=False)[0]
    track = found["tones/00005-tone.wav"]
    np.testing.assert_array_equal(track.audio, item.values)
    (atom,) = item.fields["f0"]
    np.testing.assert_allclose(track.f0_midi, atom.value[0], atol=1e-3)
    assert track.side == item.fields["split"][0].value


def test_the_truth_of_a_tone_makes_its_sound_again(tracks):
    """Harmonics by the synthesiser of the network are those of the corpus' own."""
    track = next(t for side in tracks.values() for t in side if t.parameters)
    number = int(track.key[6:11])
    built = tones.restore(tones.render(number, seed=0, duration_s=4.0, extras=False)[0]
                          .fields["generator"][0].value)  # fmt: skip
    tone, wanted, _ = built
    network = system.build(system.load_config(settings=TINY))
    f0 = torch.from_numpy(tones._held(tone.f0_midi))
    given = system.Harmonics(
        system.parts.hz_of(f0)[None].float(),
        torch.from_numpy(tone.amplitude)[None].float(),
        torch.from_numpy(tone.harmonic_distribution.T)[None].float(),
        torch.zeros(1, len(f0), 2),
    )
    # the corpus adds up phases up to and with a sample, the synthesiser up to it: one sample apart
    made, wanted = network.play_harmonics(given)[0].numpy()[1:], wanted[:-1]
    gap = np.sqrt(np.mean((made - wanted) ** 2) / np.mean(wanted**2))
    assert gap < 0.1


def test_variation_moves_sound_and_truth_together(settings, tracks):
    """With filters and levels the spectrum of a tone has the amplitudes that are told."""
    n = 62 * 512
    t = torch.arange(n) / 16000
    shares = torch.tensor([0.5, 0.3, 0.2])
    f0_hz = 250.0
    audio = sum(0.2 * shares[k] * torch.sin(2 * torch.pi * f0_hz * (k + 1) * t) for k in range(3))[
        None
    ]
    batch = {
        "audio": audio,
        "f0_midi": torch.full((1, 62), 69 + 12 * np.log2(f0_hz / 440)).float(),
        "amplitude": torch.full((1, 62), 0.2),
        "distribution": shares.expand(1, 62, 3),
        "noise": torch.full((1, 62, 65), 1e-3),
    }
    changed = data_of.varied(batch, np.random.default_rng(3))
    spectrum = torch.fft.rfft(changed["audio"][0] * torch.hann_window(n)) * 4 / n
    assert not torch.allclose(changed["amplitude"], batch["amplitude"], rtol=0.05)
    for k in range(3):
        at = round(f0_hz * (k + 1) * n / 16000)
        heard = float(spectrum[at - 3 : at + 4].abs().max())
        told = float(changed["amplitude"][0, 0] * changed["distribution"][0, 0, k])
        assert heard == pytest.approx(told, rel=0.2)
    torch.testing.assert_close(changed["distribution"].sum(-1), torch.ones(1, 62))
    again = data_of.varied(batch, np.random.default_rng(3))
    assert torch.equal(again["audio"], changed["audio"])


def test_partials_above_the_range_are_silent(settings, tracks):
    batch = batch_of(settings, tracks)
    frequencies, amplitudes = data_of.partials_of(batch)
    assert (frequencies <= 8000).all()
    assert (amplitudes[frequencies >= 8000] == 0).all()


# ---- training ----------------------------------------------------------------------------------


@pytest.mark.parametrize("curriculum", ["mixed", "tones", "recordings"])
def test_every_curriculum_trains_and_is_recorded(curriculum, tracks, tmp_path):
    settings = system.load_config(
        settings=[*TINY, f"curriculum={curriculum}", "tones_alone=0.5", "weights.bins=1.0"]
    )
    run = protocol.run(system, settings, tmp_path, tracks=tracks, progress=False)
    assert np.isfinite([row["val_loss"] for row in run.fit.history]).all()
    records = protocol.records(
        "inverse_synthesis", settings, run, {}, seed=0, command="dl101 train inverse_synthesis"
    )
    metrics = records[0].metrics
    for name in ("raw_pitch_accuracy", "tones_raw_chroma_accuracy", "twm_raw_pitch_accuracy"):
        assert 0 <= metrics[name] <= 1
    assert metrics["twm_deviation"] in system.DEVIATIONS
    path = tmp_path / "weights.safetensors"
    shipped.save(path, run.system, settings, records[0])
    again = shipped.load(path)
    audio = tracks["test"][0].audio
    one, other = (system.predict(s, audio) for s in (run.system.cpu(), again.system))
    assert np.abs(12 * np.log2(one.f0_hz / other.f0_hz)).max() < 0.2  # half precision


@pytest.mark.parametrize("stops", [True, False])
def test_the_gradient_stops_between_the_encoders(stops, tracks):
    settings = system.load_config(settings=[*TINY, f"stop_gradient={stops}".lower()])
    network, batch = system.build(settings), batch_of(settings, tracks)
    network.told(network(batch["audio"]), batch)["f0"].backward()
    reached = any(p.grad is not None for p in network.sines.parameters())
    assert reached != stops
    assert all(p.grad is not None for n, p in network.harmonics.named_parameters() if "memory" in n)


def test_the_consistency_loss_reaches_both_encoders(settings, tracks):
    network, batch = system.build(settings), batch_of(settings, tracks)
    network.untold(network(batch["real"]), batch["real"])["sinusoids"].backward()
    for encoder in (network.sines, network.harmonics):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())


def test_a_silent_frame_teaches_no_pitch(settings, tracks):
    network, batch = system.build(settings), batch_of(settings, tracks)
    silent = {**batch, "amplitude": torch.zeros_like(batch["amplitude"])}
    found = network.told(network(batch["audio"]), silent)
    assert float(found["f0"]) == 0 and float(found["sinusoids"]) == 0
    assert float(found["amplitude"]) > 0


# ---- streaming ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_frames", [1, 7, 64])
@pytest.mark.parametrize("n_samples", [512, 700, 16000, 40001])
def test_a_sound_in_blocks_is_heard_as_the_whole(network, chunk_frames, n_samples):
    if chunk_frames == 1 and n_samples > 16000:
        pytest.skip("the same, slowly")
    rng = np.random.default_rng(0)
    audio = rng.normal(0, 0.1, n_samples).astype(np.float32)
    edges = np.unique(np.r_[0, rng.integers(0, n_samples, 5), n_samples])
    blocks = [audio[a:b] for a, b in itertools.pairwise(edges)]
    parts = list(system.follow(network, blocks, chunk_frames=chunk_frames))
    f0 = torch.cat([said.f0_hz for _, said in parts], 1)[0]
    sines = torch.cat([sines.amplitudes for sines, _ in parts], 1)[0]
    with torch.no_grad():
        spectrum = network.spectrum(torch.from_numpy(audio)[None]) / 10 - 1
        whole = network.hear(spectrum)
    assert len(f0) == 1 + n_samples // 512
    torch.testing.assert_close(f0, whole.harmonics.f0_hz[0], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(sines, whole.sines.amplitudes[0], rtol=1e-3, atol=1e-5)


def test_memory_does_not_grow_with_the_sound(network, monkeypatch):
    longest = 0
    spectrum = network.spectrum.forward

    def noted(audio):
        nonlocal longest
        longest = max(longest, audio.shape[-1])
        return spectrum(audio)

    monkeypatch.setattr(network.spectrum, "forward", noted)
    blocks = (np.zeros(16000, np.float32) for _ in range(60))
    n = sum(said.f0_hz.shape[1] for _, said in system.follow(network, blocks))
    assert n == 1 + 60 * 16000 // 512
    assert longest < 12 * 16000


def test_nothing_is_heard_of_nothing(network):
    assert list(system.follow(network, [])) == []
    assert len(system.curve(network, []).f0_hz) == 0


# ---- scores ------------------------------------------------------------------------------------


def test_the_truth_as_a_guess_is_right(settings, tracks):
    truth = {id(track.audio): track for track in tracks["test"]}

    def guess(audio):
        track = truth[id(audio)]
        f0 = np.nan_to_num(track.f0_midi, nan=60.0)
        times = np.arange(len(audio) // 160 + 1) * 0.01
        at = np.minimum(np.searchsorted(track.times_s, times + 1e-6) - 1, len(f0) - 1)
        return 440 * 2 ** ((f0[np.maximum(at, 0)] - 69) / 12)

    found = system.score(settings, tracks["test"], guess, hop_samples=160).mean
    assert found["raw_pitch_accuracy"] > 0.95 and found["tones_raw_pitch_accuracy"] > 0.8
    octave = system.score(settings, tracks["test"], lambda x: 2 * guess(x), hop_samples=160).mean
    assert octave["raw_pitch_accuracy"] == 0
    assert octave["raw_chroma_accuracy"] == pytest.approx(found["raw_chroma_accuracy"])


@pytest.mark.parametrize("name", ["yin", "sawtooth", "twm-peaks"])
def test_trackers_that_learn_nothing_follow_a_voice(name, settings, tracks):
    some = {side: [t for t in tracks[side] if t.corpus == "voice"][:1] for side in tracks}
    found = system.baseline(name, settings, some).mean
    assert found["raw_pitch_accuracy"] > (0.3 if name == "twm-peaks" else 0.6)


# ---- a downloaded dataset ------------------------------------------------------------------------


def test_a_pair_of_stems_is_read_like_a_corpus(tmp_path, monkeypatch):
    audio, annotations = tmp_path / "a.hdf5", tmp_path / "a.pyjama"
    rng = np.random.default_rng(0)
    curve = np.r_[np.zeros(20), np.full(80, 57.0)]
    with AudioStoreWriter(audio) as store:
        entries = []
        for i in range(4):
            name = f"Artist{i}_Song_STEM_01.RESYN.wav"
            store.append(name, rng.normal(0, 0.1, 22050).astype(np.float32), 22050)
            atom = Atom(curve[None], np.arange(100) * 0.01)
            entries.append(Entry(name, i, {"f0": (atom,)}))
        store.finish()
        identity = store.identity
    definitions = {"f0": Definition("f0", "breakpoint", "numeric")}
    pyjama.write(annotations, Collection(tuple(entries), definitions, audio_identity=identity))
    monkeypatch.setattr(
        source, "locate", lambda *args, **options: export.CorpusFiles(audio, annotations)
    )
    data = source.DataConfig(dataset="mdb-stem-synth")
    found = data_of.load_recordings(data, (24.0, 84.0), progress=False)
    assert found and len(found) <= 4
    assert np.isnan(found[0].f0_midi[:20]).all() and (found[0].f0_midi[20:] == 57).all()
    assert found[0].audio.shape == (16000,)
    with pytest.raises(DataError, match="no track with f0"):
        data_of.load_recordings(data, (60.0, 84.0), progress=False)


# ---- the experiment ------------------------------------------------------------------------------


def test_the_experiment_trains_on_from_the_tones(monkeypatch):
    monkeypatch.setattr(experiment, "settings_of", lambda variant, size=(): system.load_config(
        settings=[*TINY, *(x for x in size if not x.startswith(("also", "tones", "data"))),
                  *(x for x in variant if not x.startswith("training"))]))  # fmt: skip
    monkeypatch.setattr(experiment, "TOLD_FRAMES", 16)
    sides = system.load_tracks(experiment.settings_of(()), progress=False)
    data = experiment.Data(sides, ())
    trained = experiment.train(experiment.ON, data, seed=0)
    assert 0 in data.pretrained
    found = experiment.score(trained, experiment.ON, data)
    assert found["harmonics_distance"] > 0 and "notes_raw_pitch_accuracy" not in found
    told = experiment.train_told(2, data, seed=0)
    assert 0 <= experiment.score_told(told, 2, data)["raw_pitch_accuracy"] <= 1


# ---- the command -------------------------------------------------------------------------------


def test_the_command_writes_a_curve(settings, network, tmp_path, capsys):
    from dl101.evaluation.results import Record

    weights = tmp_path / "w.safetensors"
    record = Record(
        experiment="inverse_synthesis", variant="mixed", seed=0, data={}, split="test", n_items=1,
        metrics={"raw_pitch_accuracy": 0.5}, config={}, command="", wall_time_s=0.0,
        n_parameters=1, device="cpu",
    )  # fmt: skip
    shipped.save(weights, network, settings, record)
    t = np.arange(44100) / 44100
    stereo = np.stack([0.2 * np.sin(2 * np.pi * 220 * t)] * 2, axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 44100)
    given = ["pitch", str(tmp_path / "a.wav"), "--network", str(weights), "-o"]
    assert cli.main([*given, str(tmp_path / "a.csv")]) == 0
    table = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    assert table.shape == (1 + 16000 // 512, 3)
    assert "1.00 s, 32 frames" in capsys.readouterr().out
    assert cli.main([*given, str(tmp_path / "a.jams")]) == 0
    assert len(json.loads((tmp_path / "a.jams").read_text())["annotations"][0]["data"]) == 32
    assert cli.main([*given, str(tmp_path / "a.txt")]) == 1
    assert ".csv or .jams" in capsys.readouterr().err
    other = ["pitch", str(tmp_path / "a.wav"), "--network", "chords", "-o", str(tmp_path / "b.csv")]
    assert cli.main(other) == 1
    assert "finds no pitch" in capsys.readouterr().err


def test_settings_are_not_shared(settings):
    assert replace(settings, deviation=0.2).deviation == 0.2
