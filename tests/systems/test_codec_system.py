"""The codec on a very small scale: interface, both players' gradients, training, scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.data import pair, pyjama, source
from dl101.data.embedded.export import CorpusFiles
from dl101.data.sounds import SoundTrack, at_level
from dl101.errors import ConfigError, Dl101Error, ShapeError
from dl101.evaluation.separation import si_sdr
from dl101.systems import codec, codec_data
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow

TINY = [
    "also=null",
    "data.patch_frames=8",
    "network={strides: [4, 5], channels: [4, 8, 12], latent_channels: 6}",
    "n_stages=3",
    "n_codes=16",
    "quantise_after=4",
    "windows=[256, 64]",
    "training.max_epochs=2",
    "training.batch_size=4",
]


def settings_with(*changes: str) -> codec.CodecConfig:
    return codec.load_config(settings=[*TINY, *changes])


def tone(hz: float, n_samples: int = 3200) -> np.ndarray:
    t = np.arange(n_samples) / 16000
    return (0.2 * np.sin(2 * np.pi * hz * t) * np.exp(-3 * t)).astype(np.float32)


@pytest.fixture(scope="module")
def tracks() -> dict[str, list[SoundTrack]]:
    counts = {"train": 16, "validation": 4, "test": 3}
    return {
        side: [SoundTrack(f"notes/{side}-{i}", side, tone(150 + 20 * i), {}) for i in range(n)]
        for side, n in counts.items()
    }


# ---- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["lab", "full"])
@pytest.mark.parametrize("bottleneck", ["rvq", "vae"])
@pytest.mark.parametrize("adversarial", ["null", "{}"])
def test_every_variant_is_one_setting_away(scale, bottleneck, adversarial):
    changes = [f"bottleneck={bottleneck}", f"adversarial={adversarial}"]
    settings = codec.load_config(scale=scale, settings=changes)
    with torch.device("meta"):  # sizes only
        built = codec.CodecSystem(settings)
    assert built.frame_rate == 50.0
    expected = () if bottleneck == "vae" else (settings.n_codes,) * 8
    assert built.codebooks == expected
    assert settings.variant == bottleneck + ("" if adversarial == "null" else "-adversarial")


def test_sizes_are_stated():
    with torch.device("meta"):
        lab, full = (codec.CodecSystem(codec.load_config(scale=s)) for s in ("lab", "full"))
    assert sum(p.numel() for p in lab.parameters()) == 348_933
    assert sum(p.numel() for p in full.network.parameters()) == 10_756_609


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="did you mean 'n_stages'"):
        settings_with("n_stage=2")
    with pytest.raises(ConfigError, match="one of 'rvq', 'vae'"):
        settings_with("bottleneck=gan")


# ---- interface ---------------------------------------------------------------------------------


def test_codes_go_out_and_come_back():
    built = codec.build(settings_with()).eval()
    audio = torch.randn(2, 165)
    codes = built.encode(audio)
    assert codes.shape == (2, 3, 9) and codes.dtype == torch.int64
    assert 0 <= int(codes.min()) and int(codes.max()) < 16
    assert built.decode(codes).shape == (2, 180)
    torch.testing.assert_close(built.decode(codes), built(audio).output)
    fewer = built.decode(codes[:, :1])
    assert fewer.shape == (2, 180) and not torch.allclose(fewer, built.decode(codes))
    assert (built.sample_rate, built.frame_rate, built.codebooks) == (16000, 800.0, (16,) * 3)
    with pytest.raises(ShapeError, match="audio to encode"):
        built.encode(audio[0])
    with pytest.raises(Dl101Error, match="codes"):
        built.decode(codes + 16)


def test_the_latents_of_a_vae_are_real_numbers_and_always_the_same():
    built = codec.build(settings_with("bottleneck=vae")).eval()
    audio = torch.randn(2, 160)
    latents = built.encode(audio)
    assert latents.shape == (2, 6, 8) and latents.is_floating_point() and built.codebooks == ()
    assert torch.equal(latents, built.encode(audio))
    torch.testing.assert_close(built.decode(latents), built(audio).output)


def test_predict_keeps_the_length_and_leaves_training_mode(tracks):
    built = codec.build(settings_with())
    built.train()
    decoded = codec.predict(built, tracks["test"][0].audio[:1003], n_stages=2)
    assert decoded.shape == (1003,) and decoded.dtype == np.float32 and not built.training


def test_a_short_sound_and_one_sample_are_coded():
    built = codec.build(settings_with())
    assert codec.predict(built, np.ones(1, np.float32)).shape == (1,)


# ---- training ----------------------------------------------------------------------------------


def test_each_player_gets_the_gradient_of_its_own_loss():
    built = codec.build(settings_with("adversarial={windows: [64], channels: 2}"))
    audio, decoded = torch.randn(2, 160), torch.randn(2, 160, requires_grad=True)
    cheated, caught = built.duel(audio, decoded)
    critic = list(built.critic.parameters())
    for p, gradient in zip(
        critic, torch.autograd.grad(cheated, critic, retain_graph=True, allow_unused=True),
        strict=True,
    ):  # fmt: skip
        assert gradient is None, p.shape
    (seen,) = torch.autograd.grad(caught, decoded, retain_graph=True, allow_unused=True)
    assert seen is None
    assert torch.autograd.grad(cheated, decoded, retain_graph=True)[0].abs().max() > 0
    weights = [p for p in critic if p.ndim > 1]  # the last bias may pull both ways alike
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(caught, weights))


@pytest.mark.parametrize(
    "changes", [(), ("bottleneck=vae",), ("adversarial={windows: [64], channels: 2}",)]
)
def test_training_scores_and_loading_go_end_to_end(tracks, tmp_path, changes):
    settings = settings_with(*changes)
    found = protocol.run(codec, settings, tmp_path / "run", tracks=tracks, progress=False)
    assert len(found.fit.history) == 2
    assert ("critic_loss" in found.fit.history[-1]) == (settings.adversarial is not None)
    scores = found.evaluation.mean
    stages = (0,) if settings.bottleneck == "vae" else (1, 2, 3)
    assert {f"si_sdr_db_{n}" for n in stages} <= set(scores)
    if stages != (0,):
        assert scores["bits_per_s_3"] == 800 * 3 * 4
        assert all(stage.started for stage in found.system.network.bottleneck.stages)
    baselines = codec.baselines(settings, tracks) if not changes else {}
    records = protocol.records("codec", settings, found, baselines, seed=0, command="dl101 train")
    path = tmp_path / "codec.safetensors"
    shipped.save(path, found.system, settings, records[0])
    again = shipped.load(path).system
    audio = tracks["test"][0].audio
    loaded, kept = codec.predict(again, audio), codec.predict(found.system, audio)
    assert si_sdr(loaded, kept) > 20  # half precision on disk
    if baselines:
        assert {"resampled", "vorbis", "opus"} <= {r.variant for r in records}
        assert baselines["resampled"].overall["bits_per_s"] == 3200


def test_a_small_codec_learns_tones(tracks):
    """In a loop of our own: after 150 steps it says more with three stages than with one."""
    built = codec.build(settings_with("quantise_after=0"), seed=1)
    sounds = [track.audio for track in tracks["train"]]
    batch = {"audio": torch.from_numpy(np.stack(sounds))}
    optimiser = torch.optim.AdamW(built.parameters(), lr=1e-2)
    built.train()
    for _ in range(150):
        optimiser.zero_grad()
        built.loss(batch).backward()
        optimiser.step()
    fewer, all_of_them = (
        np.mean([si_sdr(codec.predict(built, x, n_stages=n), x) for x in sounds]) for n in (1, 3)
    )
    assert all_of_them > 3 and all_of_them > fewer


def test_early_steps_quantise_nothing():
    built = codec.build(settings_with("quantise_after=1"))
    built.train()
    assert built(torch.randn(1, 160)).bottleneck is None  # step 0
    assert not any(stage.started for stage in built.network.bottleneck.stages)
    assert built.eval()(torch.randn(1, 160)).bottleneck is not None


# ---- data --------------------------------------------------------------------------------------


def test_level_is_set_by_rms_and_held_below_the_peak():
    x = np.sin(np.arange(1000)).astype(np.float32)
    assert np.sqrt(np.mean(at_level(0.01 * x) ** 2)) == pytest.approx(0.1, rel=1e-5)
    click = np.zeros(16000, np.float32)
    click[5] = 0.1
    assert np.abs(at_level(click)).max() == pytest.approx(0.95)
    assert not at_level(np.zeros(10, np.float32)).any()


def test_pieces_cover_a_sound_and_pad_its_end():
    sound = np.arange(1, 26, dtype=np.float32)
    pieces = codec_data.Pieces([SoundTrack("a/b", "train", sound, {})], 10)
    assert len(pieces) == 2  # the rest of 5 is half a piece: rounded to even, left out
    assert torch.equal(pieces[1]["audio"], torch.arange(11.0, 21.0))
    (short,) = codec_data.Pieces([SoundTrack("a/b", "train", sound[:3], {})], 10)
    assert torch.equal(short["audio"], torch.tensor([1.0, 2, 3] + [0] * 7))


def test_variation_cuts_scales_and_turns():
    audio = torch.arange(1.0, 101.0).repeat(64, 1)
    varied = codec_data.vary(audio, 20, np.random.default_rng(0))
    assert torch.equal(varied, codec_data.vary(audio, 20, np.random.default_rng(0)))
    steps = varied.diff(dim=1)  # a cut of a line is a line: its slope is the gain
    assert torch.allclose(steps, steps[:, :1].expand_as(steps), rtol=1e-3)
    gains = steps[:, 0]
    assert gains.abs().min() > 0.5 and gains.abs().max() < 2.0 and (gains < 0).any()
    starts = varied[:, 0] / gains
    assert starts.min() >= 1 and starts.max() <= 81.01 and len(starts.round().unique()) > 20


def test_a_published_dataset_goes_the_same_way(tmp_path, monkeypatch):
    """Files of the form of NSynth's guitars: two sides, no test; one is stereo, one silent."""
    files = CorpusFiles(tmp_path / "audio.hdf5", tmp_path / "annotations.pyjama")
    entries = []
    with pair.replacing_pair(files.audio, files.annotations) as (store, temporary):
        for i in range(40):
            side = "validation" if i % 4 == 0 else "train"
            key = f"guitar_acoustic_{100 * (i % 4 == 0) + i // 2:03d}-{40 + i:03d}-100.mp3"
            sound = tone(200 + 5 * i, 64000) if i != 7 else np.zeros(64000, np.float32)
            store.append(key, np.stack([sound, sound]) if i == 2 else sound, 16000)
            fields = {"pitchmidi": (pyjama.Atom(40.0 + i),), "split": (pyjama.Atom(side),)}
            entries.append(pyjama.Entry(key, i, fields))
        collection = pyjama.Collection(tuple(entries), audio_identity=store.identity)
        pyjama.write(temporary, collection, in_place=True)
    monkeypatch.setattr(source, "locate", lambda *_, **__: files)
    settings = codec.load_config(scale="full")
    sides = codec.load_tracks(settings, progress=False)
    assert sum(map(len, sides.values())) == 39 and all(sides.values())
    assert {track.audio.shape for track in sides["train"]} == {(64000,)}
    with torch.device("meta"):
        built = codec.CodecSystem(settings)
    assert built.hparams == {} and settings.network.hop_samples == 320
    fewer = codec.load_config(scale="full", settings=["data.n_tracks=20"])
    assert sum(map(len, codec.load_tracks(fewer, progress=False).values())) in (19, 20)
