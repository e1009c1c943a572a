"""The singing vocoder on a very small scale: settings, data, both players, training, scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.data import pyjama
from dl101.errors import ConfigError
from dl101.systems import singing_vocoder as vocoder
from dl101.systems import singing_vocoder_data as voices
from dl101.systems.singing_vocoder_data import VoiceTrack
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow
KINDS = ("sawsing", "ddsp-add", "wavetable", "nsf", "hifi-gan", "melgan")
RATE, HOP = 24_000, 240
TINY = [
    "data.patch_frames=20",
    "encoder={channels: 8, n_layers: 1, n_heads: 2, head_channels: 4, kernel: 3}",
    "synthesis={filter_channels: 4, filter_features: 4, dilations: [1, 2]}",
    "generator={channels: [8, 6, 4, 4, 4], kernels: [3, 5], dilations: [1]}",
    "adversarial={periods: [2, 3], divisors: [1, 2], channels: 2, n_layers: 2}",
    "pieces_per_epoch=8",
    "training.max_epochs=2",
    "training.batch_size=4",
]


def settings_with(*changes: str) -> vocoder.VocoderConfig:
    return vocoder.load_config(settings=[*TINY, *changes])


def phrase(hz: float, n_frames: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Return a note in which four harmonics fade, with silence before it, and its fundamental."""
    f0_hz = np.full(n_frames + 1, hz, np.float32)
    f0_hz[:10] = np.nan
    t = np.arange(n_frames * HOP) / RATE
    sound = sum(0.1 / k * np.sin(2 * np.pi * k * hz * t) for k in (1, 2, 3, 4)) * np.exp(-t)
    sound[: 10 * HOP] = 0.0
    return sound.astype(np.float32), f0_hz


@pytest.fixture(scope="module")
def tracks() -> dict[str, list[VoiceTrack]]:
    counts = {"train": 5, "validation": 2, "test": 3}
    styles = ("source-filter", "source-filter", "sampled")
    return {
        side: [
            VoiceTrack(f"{side}-{i}", side, styles[i % 3], *phrase(150.0 + 20 * i))
            for i in range(n)
        ]
        for side, n in counts.items()
    }


def test_every_variant_is_one_setting_away():
    for scale in ("lab", "full"):
        for kind in KINDS:
            settings = vocoder.load_config(scale=scale, settings=[f"kind={kind}", "n_phrases=3"])
            built = vocoder.VocoderSystem(settings)
            assert (built.critic is not None) == (kind in ("hifi-gan", "melgan"))
            assert settings.variant == f"{kind}, 3 phrases"
    assert settings_with("synthesis.compensate=false").variant == "sawsing, delay left in"
    with pytest.raises(ConfigError, match="product is not 240"):
        settings_with("kind=melgan", "generator.strides=[8,5,3,3]")


def test_a_fundamental_is_read_or_heard():
    audio, f0_hz = phrase(200.0)
    midi = 69 + 12 * np.log2(f0_hz.astype(float) / 440)
    atom = pyjama.Atom(midi[None], np.arange(len(midi)) * 0.01)
    read = voices.f0_of(pyjama.Entry("a.wav", 0, {"f0": (atom,)}), audio, RATE, HOP)
    np.testing.assert_allclose(read, f0_hz, rtol=1e-5)
    audio, f0_hz = phrase(200.0, 40)
    heard = voices.f0_of(pyjama.Entry("a.wav", 0, {}), audio, RATE, HOP)
    assert heard.shape == f0_hz.shape
    both = np.isfinite(heard) & np.isfinite(f0_hz)
    assert both.sum() > 20 and np.abs(heard[both] / 200 - 1).max() < 0.02


def test_pieces_repeat_and_pad(tracks):
    pieces = voices.Phrases(tracks["train"][:1], 50, HOP, 7)
    assert len(pieces) == 7 and len(pieces.places) == 2
    assert torch.equal(pieces[0]["audio"], pieces[2]["audio"])
    longer = voices.Phrases(tracks["train"][:1], 200, HOP)
    assert len(longer) == 1 and not longer[0]["audio"][120 * HOP :].any()
    assert torch.isnan(longer[0]["f0_hz"][121:]).all()


def test_a_cut_keeps_sound_and_pitch_together():
    """Of a ramp that says its place, with the place for a pitch, at every speed."""
    ramp = torch.arange(61.0 * HOP)[None].repeat(32, 1)
    batch = {"audio": ramp[:, : 60 * HOP], "f0_hz": torch.arange(61.0)[None].repeat(32, 1)}
    audio, f0_hz = voices.cut(batch, 20, HOP, np.random.default_rng(0))
    assert audio.shape == (32, 20 * HOP) and f0_hz.shape == (32, 21)
    speed = f0_hz.diff(dim=1)[:, :1].sqrt()  # the pitch rises by a place a frame, times the speed
    assert speed.min() > 0.8 and speed.max() < 1.2 and (speed - 1).abs().min() < 1e-4
    assert 4 < ((speed - 1).abs() < 1e-4).sum() < 28, "half of them as they were"
    gain = (audio[:, 5 * HOP + 1] - audio[:, 5 * HOP])[:, None] / speed
    place = f0_hz[:, :-1] / speed
    torch.testing.assert_close(audio[:, ::HOP] / gain, HOP * place, rtol=2e-3, atol=1.0)
    assert gain.abs().min() > 0.49 and gain.abs().max() < 2.01 and (gain < 0).any()
    assert len(f0_hz[:, 0].unique()) > 5


def test_a_faster_voice_is_a_higher_one():
    t = torch.arange(60 * HOP) / RATE
    batch = {
        "audio": torch.sin(2 * torch.pi * 600 * t)[None].repeat(8, 1),
        "f0_hz": torch.full((8, 61), 600.0),
    }
    batch["f0_hz"][:, 30] = torch.nan
    audio, f0_hz = voices.cut(batch, 20, HOP, np.random.default_rng(1))
    for sound, hz in zip(audio, f0_hz, strict=True):
        wanted = hz[torch.isfinite(hz)][0]
        spectrum = torch.fft.rfft(sound * torch.hann_window(len(sound)), 2**18).abs()
        assert spectrum.argmax() * RATE / 2**18 == pytest.approx(wanted.item(), rel=1e-3)
        assert (hz[torch.isfinite(hz)] == wanted).all() and len(hz) - torch.isfinite(hz).sum() <= 3


def test_few_phrases_are_drawn_by_the_seed_and_sung(tracks):
    drawn = {
        tuple(
            t.key
            for t in vocoder.batches(settings_with("n_phrases=2"), tracks, seed=s).train.tracks
        )
        for s in range(8)
    }
    assert len(drawn) > 1 and {len(d) for d in drawn} == {2}
    assert "train-2" not in {key for d in drawn for key in d}, "a recorded voice"
    data = vocoder.batches(settings_with("n_phrases=2"), tracks)
    assert len(data.train) == 8


def test_the_pitch_loss_counts_ratios_of_voiced_frames():
    wanted = torch.tensor([[100.0, 400.0, float("nan"), 200.0]])
    given = torch.tensor([[200.0, 200.0, 900.0, 200.0]], requires_grad=True)
    loss = vocoder.f0_loss(given, wanted)
    assert loss.item() == pytest.approx(2 * np.log(2) / 3)
    loss.backward()
    assert torch.isfinite(given.grad).all() and given.grad[0, 2] == 0
    assert vocoder.f0_loss(given, torch.full_like(wanted, torch.nan)).item() == 0.0


@pytest.mark.parametrize("kind", ["hifi-gan", "melgan"])
def test_each_player_gets_the_gradient_of_its_own_loss(kind):
    built = vocoder.build(settings_with(f"kind={kind}"))
    audio, made = torch.randn(2, 2400), torch.randn(2, 2400, requires_grad=True)
    cheated, caught = built.duel(audio, made)
    critic = list(built.critic.parameters())
    seen = torch.autograd.grad(cheated, critic, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in seen)
    (seen,) = torch.autograd.grad(caught, made, retain_graph=True, allow_unused=True)
    assert seen is None
    assert torch.autograd.grad(cheated, made)[0].abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_training_scores_and_loading_go_end_to_end(tracks, tmp_path, kind):
    settings = settings_with(f"kind={kind}")
    found = protocol.run(vocoder, settings, tmp_path / "run", tracks=tracks, progress=False)
    assert len(found.fit.history) == 2
    assert ("critic_loss" in found.fit.history[-1]) == (found.system.critic is not None)
    scores = found.evaluation.mean
    assert {"msstft", "f0_cents", "phase_jitter", "frechet", "real_time_factor"} <= set(scores)
    assert len(found.evaluation.scores) == 2 and "recorded_msstft" in scores
    baselines = vocoder.baselines(settings, tracks) if kind == "sawsing" else {}
    records = protocol.records(
        "singing_vocoder", settings, found, baselines, seed=0, command="dl101 train"
    )
    path = tmp_path / "vocoder.safetensors"
    shipped.save(path, found.system, settings, records[0])
    again = shipped.load(path).system
    audio = tracks["test"][0].audio[:5003]
    loaded, kept = vocoder.predict(again, audio), vocoder.predict(found.system, audio)
    assert loaded.shape == (5003,) and loaded.dtype == np.float32
    spectra = found.system.spectra
    distance = spectra(*(torch.from_numpy(x)[None] for x in (loaded, kept)))
    assert float(distance) < 0.2  # half precision on disk
    if baselines:
        assert baselines["original"].mean["msstft"] == 0
        assert baselines["original"].mean["f0_cents"] < 5
        assert baselines["griffin-lim"].mean["msstft"] < 1


def test_controls_can_be_changed_before_the_sound(tracks):
    built = vocoder.build(settings_with())
    audio = tracks["test"][0].audio
    controls = vocoder.controls_of(built, audio)
    made = vocoder.sound_of(built, controls)
    np.testing.assert_allclose(made[: len(audio)], vocoder.predict(built, audio), atol=1e-6)
    assert not np.allclose(made, vocoder.sound_of(built, controls, seed=1))


def test_a_small_vocoder_learns_a_note(tracks):
    """In a loop of our own: 60 steps bring the spectra near and the pitch within a semitone."""
    built = vocoder.build(settings_with("encoder.channels=16"), seed=0)
    audio, f0_hz = (torch.from_numpy(x)[None] for x in phrase(180.0, 60))
    optimiser = torch.optim.AdamW(built.parameters(), lr=1e-2)
    built.train()
    for _ in range(60):
        optimiser.zero_grad()
        loss = built.loss({"audio": audio, "f0_hz": f0_hz})
        loss.backward()
        optimiser.step()
    controls = vocoder.controls_of(built, audio[0].numpy())
    heard = controls.f0_hz[0, 15:55].numpy()
    assert np.abs(12 * np.log2(heard / 180)).max() < 1
    assert loss.item() < 1.0
