"""Pictures and their sounds, clear pitches, and an adversarial network on a very small scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.systems import sound_gan as system
from dl101.systems import sound_gan_data as data
from dl101.training import protocol, shipped
from dl101.training.fit import fit
from dl101.units import midi_to_hz

TINY = [
    "data.n_tracks=180",
    "n_test=8",
    "channels=4",
    "critic_channels=4",
    "training.max_epochs=2",
    "training.batch_size=8",
    "training.trainer={}",
]


# ---- sounds and pictures -------------------------------------------------------------------------


def tone(pitch: float, n_partials: int = 4) -> np.ndarray:
    """Return half a second of a tone that fades."""
    t = np.arange(data.N_SAMPLES) / data.RATE
    hz = float(midi_to_hz(pitch))
    partials = [np.sin(2 * np.pi * hz * k * t + k) / k for k in range(1, n_partials + 1)]
    return (0.1 * np.exp(-2 * t) * sum(partials[: int(0.45 * data.RATE / hz)])).astype(np.float32)


@pytest.mark.parametrize("pitch", [48, 53.2, 60, 66, 71])
def test_a_clear_pitch_is_found(pitch: float) -> None:
    assert abs(data.clear_pitch(tone(pitch)) - pitch) < 0.15


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal(data.N_SAMPLES).astype(np.float32)
    assert np.isnan(data.clear_pitch(noise))
    assert np.isnan(data.clear_pitch(np.zeros(data.N_SAMPLES, dtype=np.float32)))


def test_a_picture_is_its_sound() -> None:
    note = tone(57)
    picture = data.picture(note)
    assert picture.shape == (2, *data.SHAPE)
    assert np.abs(picture).max() <= 1
    middle = slice(200, -300)
    again, guessed = data.from_picture(picture), data.by_griffin_lim(picture)
    assert np.abs(again - note)[middle].max() < 0.005
    assert np.abs(guessed - note)[middle].max() > 0.02  # other phases


def test_a_picture_that_is_turned_over_is_the_same_note() -> None:
    notes = data.Notes(
        np.stack([tone(57), tone(60)] * 8), np.array([57, 60] * 8), np.array([""] * 16)
    )
    settings = system.load_config(settings=["training.batch_size=16"])
    batches = system.batches(settings, {"train": notes, "validation": notes})
    (batch,) = batches.train_dataloader()
    assert batch["input"].abs().max() <= 1
    for picture, number in zip(batch["input"].numpy(), batch["label"].tolist(), strict=True):
        made, note = data.from_picture(picture), tone(data.LOWEST + number)
        sign = np.sign(made @ note)
        assert np.abs(sign * made - note)[200:-300].max() < 0.005
    phases = batch["input"][:, 1, 10, 0]
    assert len(phases[batch["label"] == 9].unique()) == 2  # either way


# ---- the system ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings():
    return system.load_config(settings=TINY)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


@pytest.fixture(scope="module")
def trained(settings, tracks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return protocol.run(system, settings, folder, tracks=tracks, progress=False)


def test_the_test_side_is_parted_from_what_chooses_the_weights(settings, tracks):
    held_out = data.load(n_tracks=180, progress=False)["validation"]
    assert len(tracks["test"]) == settings.n_test
    parts = [tracks[side].audio for side in ("test", "validation")]
    assert np.array_equal(np.concatenate(parts), held_out.audio)
    judge = system.judge_of(tracks["test"])
    assert np.array_equal(judge.asked.audio, held_out.audio[1:8:2])


def test_a_run_trains_both_and_keeps_the_mean_generator(trained, tracks):
    assert [row["epoch"] for row in trained.fit.history] == [1, 2]
    assert {"train_loss", "critic_loss", "pitch_loss", "val_loss"} <= trained.fit.history[-1].keys()
    assert [name for name, _ in trained.system.named_children()] == ["network"]
    assert set(trained.evaluation.mean) >= {"pitch", "clear", "frechet", "kid", "coverage"}
    assert len(trained.evaluation.scores) == len(tracks["test"]) // 2
    best = min(trained.fit.history, key=lambda row: row["val_loss"])
    watched = system.build(trained.system.settings)
    watched.load_state_dict(trained.system.state_dict())
    watched.log = lambda name, value, **_: found.append(value)
    found = []
    watched.eval()
    watched.on_validation_epoch_start()
    with torch.no_grad():
        for number, batch in enumerate(system.batches(watched.settings, tracks).val_dataloader()):
            watched.validation_step(batch, number)
    watched.on_validation_epoch_end()
    assert found == [pytest.approx(best["val_loss"], rel=0.02)]  # bfloat16 there, 32 bits here


def test_a_run_goes_on_where_it_was_cut_off(trained, settings, tracks, tmp_path):
    def run(max_epochs: int, resume: bool) -> dict[str, torch.Tensor]:
        changed = replace(settings, training=replace(settings.training, max_epochs=max_epochs))
        made = system.build(changed)
        fit(made, system.batches(changed, tracks), tmp_path, resume=resume, progress=False)
        return made.state_dict()

    run(1, False)
    resumed = run(2, True)
    assert resumed.keys() == trained.system.state_dict().keys()
    assert all(torch.isfinite(x).all() for x in resumed.values())


def test_what_is_asked_for_depends_on_pitch_and_noise(trained):
    one, other = system.predict(trained.system, [3, 3])
    assert one.shape == (data.N_SAMPLES,)
    assert not np.allclose(one, other)
    again = system.predict(trained.system, [3, 9])
    assert np.array_equal(again[0], one)
    assert not np.allclose(again[1], other)
    assert not np.allclose(system.predict(trained.system, [3], seed=1)[0], one)


def test_the_baselines_are_in_order(settings, tracks):
    found = {name: each.mean for name, each in system.baselines(settings, tracks).items()}
    assert found["real"]["frechet"] < found["white noise"]["frechet"]
    assert found["real"]["clear"] > 0.7
    assert found["white noise"]["clear"] == 0


def test_each_player_sees_the_other_held_fixed(settings):
    made = system.build(settings)
    made.configure_model()
    made.log = lambda *_, **__: None
    batch = {"input": torch.rand(4, 2, *data.SHAPE) * 2 - 1, "label": torch.tensor([0, 1, 5, 9])}

    def gradients(loss: torch.Tensor, network: torch.nn.Module) -> list[torch.Tensor]:
        made.zero_grad()
        loss.backward()
        return [p.grad.clone() for p in network.parameters()]

    def of_critic(weight: float) -> list[torch.Tensor]:
        """Return the critic's gradients where the generator's loss counts so many times."""
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                system.sound_gan, "logistic_generator", lambda x: weight * torch.relu(1 - x).mean()
            )
            return gradients(made.training_step(batch, 0), made.critic)

    pairs = zip(of_critic(1.0), of_critic(30.0), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_the_critic_learns_faster_and_the_mean_does_not_learn(settings):
    made = system.build(settings)
    made.configure_model()
    maker, critic = made.parameter_groups()
    assert critic["lr"] == 2 * maker["lr"]
    assert maker["betas"] == (0.0, 0.99)
    trained = {id(p) for group in (list(maker["params"]), list(critic["params"])) for p in group}
    assert trained == {id(p) for p in made.parameters() if p.requires_grad}


# ---- the network that ships ----------------------------------------------------------------------


def test_the_network_that_ships_plays_what_is_asked():
    found = shipped.load("sound_gan")
    assert found.metrics["pitch"] > 0.8
    asked = np.arange(data.N_PITCHES)
    sounds = system.predict(found.system, asked, seed=5)
    heard = np.array([data.clear_pitch(sound) for sound in sounds])
    assert np.mean(np.abs(heard - asked - data.LOWEST) < 1 / 3) > 0.7
    level = np.sqrt(np.square(sounds).mean(axis=1))
    assert level.min() > 0.01
