"""Augmentations on signals whose answer is known, against librosa, and the labels beside them."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.data.pyjama import Atom
from dl101.errors import ConfigError, DataError
from dl101.signal import augment
from dl101.signal.waveforms import level_dbfs, snr_db
from dl101.units import amplitude_to_db
from tests.signal.sounds import RATE, pitch_of, rising_noise, tone


def soft(frequency_hz: float, duration_s: float = 2.0) -> np.ndarray:
    return tone(frequency_hz, duration_s, 0.3)


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    return rising_noise()


# ---- changes -----------------------------------------------------------------------------------


def test_flip_and_gain(music):
    np.testing.assert_array_equal(augment.flip(augment.flip(music)), music)
    assert augment.flip(music)[100] == -music[100]
    assert level_dbfs(augment.gain(music, -7.0)) - level_dbfs(music) == pytest.approx(
        -7.0, abs=1e-4
    )


@pytest.mark.parametrize("wanted_db", [-10.0, 0.0, 17.0])
@pytest.mark.parametrize("slope", [0.0, 3.0, 6.0])
def test_noise_has_the_snr(music, wanted_db, slope):
    rng = np.random.default_rng(1)
    noisy = augment.add_noise(music, wanted_db, rng, slope_db_per_octave=slope)
    assert snr_db(music, noisy) == pytest.approx(wanted_db, abs=0.01)
    assert not augment.add_noise(np.zeros(500, np.float32), wanted_db, rng).any()


@pytest.mark.parametrize("slope", [0.0, 3.0, 6.0])
def test_noise_falls_by_its_slope(slope):
    sound = augment.noise(1 << 17, np.random.default_rng(0), slope_db_per_octave=slope)
    power = np.abs(np.fft.rfft(sound)) ** 2
    octaves = [10 * np.log10(power[n : 2 * n].mean()) for n in (1 << 10, 1 << 12, 1 << 14)]
    np.testing.assert_allclose(np.diff(octaves), -2 * slope, atol=0.5)


@pytest.mark.parametrize(
    ("change", "kept_hz", "lost_hz"),
    [(augment.low_pass, 200.0, 4000.0), (augment.high_pass, 4000.0, 200.0)],
)
def test_filters(change, kept_hz, lost_hz):
    def lost_db(frequency_hz: float) -> float:
        sound = soft(frequency_hz)
        return level_dbfs(sound[RATE:]) - level_dbfs(change(sound, RATE, 1000.0)[RATE:])

    assert lost_db(1000.0) == pytest.approx(3.01, abs=0.05)
    assert lost_db(kept_hz) == pytest.approx(0.0, abs=0.05)
    assert lost_db(lost_hz) > 45.0  # two octaves of 24 dB
    with pytest.raises(ConfigError, match="half the sample rate"):
        change(soft(440), RATE, 20000.0)


def test_delay_is_one_echo():
    click = np.zeros(1000, np.float32)
    click[10] = 1.0
    echoed = augment.delay(click, 1000, 0.25, gain_db=-6.0)
    assert np.flatnonzero(echoed).tolist() == [10, 260]
    assert amplitude_to_db(echoed[260]) == pytest.approx(-6.0, abs=1e-3)
    assert not augment.delay(click, 1000, 5.0)[11:].any()


@pytest.mark.parametrize("rt60_s", [0.3, 1.2])
def test_rooms_fall_by_60_db_in_their_time(rt60_s):
    response = augment.impulse_response(
        RATE, rt60_s, np.random.default_rng(0), direct_to_reverb_db=4.0
    )
    assert response[0] == 1.0
    assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(4.0)
    # Schroeder's curve: the energy that is still to come
    to_come = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1])
    first, last = (int(np.argmax(to_come <= to_come[0] - drop)) for drop in (5, 25))
    assert (last - first) / RATE == pytest.approx(rt60_s / 3, rel=0.1)


def test_a_room_keeps_length_level_and_onset():
    click = np.zeros(RATE, np.float32)
    click[500] = 0.5
    heard = augment.room(click, augment.impulse_response(RATE, 0.4, np.random.default_rng(0)))
    assert heard.shape == click.shape
    assert np.abs(heard).argmax() == 500
    assert np.abs(heard[:500]).max() < 1e-6
    assert level_dbfs(heard) == pytest.approx(level_dbfs(click), abs=1e-3)


# ---- pitch and time ----------------------------------------------------------------------------


# ---- mixing and masks --------------------------------------------------------------------------


def test_mixup_mixes_inputs_and_targets_alike():
    rng = np.random.default_rng(3)
    targets = np.eye(6, dtype=np.float32)
    inputs, mixed = augment.mixup(targets * 2, targets, rng, alpha=1.0)
    np.testing.assert_allclose(inputs, 2 * mixed)
    np.testing.assert_allclose(mixed.sum(axis=1), 1.0, rtol=1e-6)
    assert inputs.dtype == np.float32
    assert ((mixed > 0).sum(axis=1) == 2).any()
    with pytest.raises(DataError, match="eye"):
        augment.mixup(np.zeros((4, 3)), np.arange(4), rng)


def test_remix_takes_each_stem_from_any_song():
    stems = {"voice": [np.full(4, 0.1), np.full(4, 0.2)], "drums": [np.ones(4), np.full(4, 3.0)]}
    drawn = set()
    for seed in range(40):
        mixture, parts = augment.remix(stems, np.random.default_rng(seed), gain_db=(0.0, 0.0))
        np.testing.assert_allclose(mixture, parts["voice"] + parts["drums"], rtol=1e-6)
        drawn.add((round(abs(float(parts["voice"][0])), 3), round(abs(float(parts["drums"][0])))))
    assert drawn == {(0.1, 1), (0.1, 3), (0.2, 1), (0.2, 3)}


def test_spec_masks_are_stripes_of_all_allowed_widths():
    widths = {"bands": [], "frames": []}
    for seed in range(300):
        masked = augment.spec_mask(
            10, 30, np.random.default_rng(seed), max_bands=3, max_frames=8, max_share=0.2
        )
        bands, frames = masked.all(axis=1), masked.all(axis=0)
        np.testing.assert_array_equal(masked, bands[:, None] | frames[None, :])
        for name, stripe in (("bands", bands), ("frames", frames)):
            assert np.abs(np.diff(np.pad(stripe.astype(int), 1))).sum() <= 2  # one run
            widths[name].append(int(stripe.sum()))
    assert set(widths["bands"]) == {0, 1, 2, 3}
    assert set(widths["frames"]) == set(range(7))  # 0.2 of 30
    assert np.bincount(widths["bands"]).min() > 50  # each about 75 times


def test_spec_augment_fills_and_leaves_the_rest():
    values = np.random.default_rng(0).random((2, 10, 30)).astype(np.float32)
    rng = np.random.default_rng(5)
    changed = augment.spec_augment(values, rng, max_bands=3, max_frames=8, fill=-7.0)
    masked = changed == -7.0
    assert masked.any()
    np.testing.assert_array_equal(masked[0], masked[1])
    np.testing.assert_array_equal(changed[~masked], values[~masked])
    assert changed.dtype == np.float32


# ---- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "semitones", "wanted"),
    [
        ("C:maj", 2, "D:maj"),
        ("B", 1, "C"),
        ("Bb:min7/b3", -3, "G:min7/b3"),
        ("D major", 12, "D major"),
        ("A#:hdim7", 1, "B:hdim7"),
        ("E:(1,b3,5)", -5, "B:(1,b3,5)"),
        ("G:maj", 0.3, "G:maj"),
        ("N", 5, "N"),
        ("X", 5, "X"),
    ],
)
def test_roots_move(label, semitones, wanted):
    assert augment.shift_root(label, semitones) == wanted


@pytest.mark.parametrize("label", ["", "H:maj", "c major", "Nothing", "Fast"])
def test_what_is_no_root_is_refused(label):
    with pytest.raises(DataError, match="chord or key"):
        augment.shift_root(label, 1)


FIELDS = {
    "title": (Atom("A reel"),),
    "tempo": (Atom(120.0),),
    "tuning-cents": (Atom(10.0),),
    "key": (Atom("B minor"),),
    "chord": (Atom("N", 0.0, 1.0), Atom("F#:7/b7", 1.0, 3.0)),
    "beat": (Atom(1.0, 0.5), Atom(2.0, 1.0), Atom(3.0, 3.5)),
    "pitchmidi": (Atom(60.0, 0.5, 1.0), Atom(64.0, 3.8, 0.2)),
    "f0": (Atom(np.array([[60.0, np.nan, 61.0]]), np.array([0.0, 1.0, 3.9])),),
    "f0multi": (Atom(np.array([[60.0, 0.0], [np.nan, 64.0]]), np.array([0.0, 1.0])),),
    "velocity": (Atom(90.0),),
}


def test_labels_follow_pitch_and_time():
    moved = augment.move_labels(FIELDS, semitones=2.5, stretch=1.5)
    assert moved["title"] == FIELDS["title"]
    assert moved["velocity"] == FIELDS["velocity"]
    assert moved["tempo"][0].value == 80.0
    assert moved["key"][0].value == "Db minor"
    assert moved["tuning-cents"][0].value == 60.0  # 2.5 is 2 semitones and 50 cents
    assert moved["chord"] == (Atom("N", 0.0, 1.5), Atom("Ab:7/b7", 1.5, 4.5))
    assert [atom.time for atom in moved["beat"]] == [0.75, 1.5, 5.25]
    assert moved["pitchmidi"][0] == Atom(62.5, 0.75, 1.5)
    np.testing.assert_array_equal(moved["f0"][0].value, [[62.5, np.nan, 63.5]])
    np.testing.assert_allclose(moved["f0"][0].time, [0.0, 1.5, 5.85])
    np.testing.assert_array_equal(moved["f0multi"][0].value, [[62.5, 0.0], [np.nan, 66.5]])
    assert FIELDS["pitchmidi"][0] == Atom(60.0, 0.5, 1.0)


def test_labels_are_cut_to_an_excerpt():
    moved = augment.move_labels(FIELDS, shift_s=-1.0, duration_s=1.5)
    assert moved["chord"] == (Atom("F#:7/b7", 0.0, 1.5),)
    assert [(atom.value, atom.time) for atom in moved["beat"]] == [(2.0, 0.0)]
    assert moved["pitchmidi"] == (Atom(60.0, 0.0, 0.5),)
    np.testing.assert_array_equal(moved["f0"][0].value, [[np.nan]])
    assert "beat" not in augment.move_labels(FIELDS, shift_s=-9.0, duration_s=1.0)


# ---- random augmentations ----------------------------------------------------------------------

RANDOM = {
    "flip": augment.Flip(),
    "gain": augment.Gain(),
    "noise": augment.Noise(),
    "filter": augment.Filter(),
    "delay": augment.Delay(),
    "room": augment.Room(),
    "pitch": augment.PitchShift((-2, 2)),
    "cents": augment.PitchShift((-0.5, 0.5), whole=False),
    "stretch": augment.TimeStretch(),
    "crop": augment.Crop(9000),
    "sometimes": augment.Sometimes(0.5, augment.Flip()),
    "clmr": augment.clmr_chain(9000),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_augmentations_depend_on_the_generator_alone(name, music):
    before = music.copy()
    results = [RANDOM[name](music, RATE, np.random.default_rng([seed])) for seed in (1, 1, 2, 3, 4)]
    np.testing.assert_array_equal(music, before)
    np.testing.assert_array_equal(results[0].audio, results[1].audio)
    if name != "flip":
        assert len({each.audio.tobytes() for each in results}) > 1
    for each in results:
        assert each.audio.dtype == np.float32
        assert np.isfinite(each.audio).all()
        wanted = 9000 if name in ("crop", "clmr") else round(music.size * each.stretch)
        assert each.audio.size == wanted


def test_a_chain_tells_where_things_went():
    """A tone that begins at 1.2 s, moved by two augmentations, and the label beside it."""
    sound = np.concatenate([np.zeros(round(1.2 * RATE)), soft(440.0, 1.5)]).astype(np.float32)
    fields = {"pitchmidi": (Atom(69.0, 1.2, 1.5),), "tempo": (Atom(100.0),)}
    chain = augment.Chain(
        (
            augment.Crop(round(2.4 * RATE)),
            augment.PitchShift((4, 4)),
            augment.TimeStretch((0.8, 0.8)),
            augment.PitchShift((-1, -1)),
        )
    )
    changed = chain(sound, RATE, np.random.default_rng(4))
    note = changed.labels(fields)["pitchmidi"][0]
    first_s = np.argmax(np.abs(changed.audio) > 0.1) / RATE
    assert first_s == pytest.approx(note.time, abs=0.03)
    assert note.value == 72.0
    assert pitch_of(changed.audio[round(note.time * RATE) :]) == pytest.approx(72.0, abs=0.1)
    assert note.time + note.duration <= changed.audio.size / RATE
    assert changed.labels(fields)["tempo"][0].value == 125.0
    assert changed.shift_s < 0


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 100)), np.zeros(0), np.zeros(100, np.int16)], ids=str
)
def test_what_is_no_mono_audio_is_refused(wrong):
    with pytest.raises(DataError, match="one dimension"):
        augment.gain(wrong, 3.0)
