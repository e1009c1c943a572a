"""The clips of the chapter on poolings: what they ask, how they sound, and who answers them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.pooling import clips
from dl101.data.embedded.renderer import SAMPLE_RATE


@pytest.fixture(scope="module")
def few() -> clips.Clips:
    return clips.make(12, 16)


def test_answers_are_counted_from_the_notes() -> None:
    def answers(*players: int) -> tuple[float, float]:
        return clips.Melody(np.full(len(players), 60), np.array(players)).answers

    assert answers(0, 0, 1) == (0.0, 0.0)
    assert answers(1, 1, 0) == (0.0, 1.0)
    assert answers(1, 1, 0, 2) == (1.0, 1.0)
    assert answers(0, 1, 2) == (1.0, 0.0), "as many of both is not more"


def test_questions_are_fair_and_independent() -> None:
    rng = np.random.default_rng(0)
    melodies = [clips.compose(16, rng) for _ in range(1000)]
    answers = np.array([melody.answers for melody in melodies])
    assert (np.abs(answers.mean(axis=0) - 0.5) < 0.06).all()
    assert abs(np.corrcoef(answers.T)[0, 1]) < 0.1
    assert all((melody.players == 2).sum() <= 1 for melody in melodies)
    assert all(set(melody.pitches_midi) <= set(clips.SCALE) for melody in melodies)


def test_clips_repeat_and_have_one_length(few: clips.Clips) -> None:
    again = clips.make(12, 16)
    assert torch.equal(few.pictures, again.pictures)
    assert {sound.shape for sound in few.sounds} == {(2 * SAMPLE_RATE,)}
    assert few.pictures.shape == (12, 60, 1 + 2 * SAMPLE_RATE // 1024)
    assert few.answers.shape == (12, 2)


def test_the_first_note_is_seen_where_it_sounds(few: clips.Clips) -> None:
    """The loudest band of the first frames is that of a harmonic of the first note."""
    for melody, picture in zip(few.melodies, few.pictures, strict=True):
        band = int(picture[:, 1].argmax()) + 48
        assert band - melody.pitches_midi[0] in (0, 12, 19, 24, 28, 36)


def test_pictures_are_levels_above_the_floor() -> None:
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 440 * time_s).astype(np.float32)
    loud, soft = clips.picture(tone), clips.picture(tone / 10)
    assert loud[:, 20].argmax() == soft[:, 20].argmax() == 69 - 48
    assert (loud - soft)[21, 20] == pytest.approx(2, abs=0.01), "20 dB are two steps"
    assert not clips.picture(0 * tone).any()


def test_a_weighted_sound_is_as_loud_as_its_weights() -> None:
    ones = np.ones(5 * 1024, dtype=np.float32)
    heard = clips.weighted(ones, [0.0, 0.1, 0.2, 0.1, 0.0])
    assert heard[[0, 1024, 2048, 3072, 4096]] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert heard[512] == pytest.approx(0.25)


@pytest.mark.parametrize("reader", clips.READERS)
def test_every_reader_answers_and_learns(reader: str, few: clips.Clips) -> None:
    network = clips.Answerer(reader)
    logits = network(few.pictures)
    assert logits.shape == (12,)
    logits.sum().backward()
    learns = dict(network.named_parameters())
    silent = {name for name, parameter in learns.items() if not parameter.grad.abs().any()}
    # one query for all frames: a constant added to all keys changes no weight
    assert silent <= {"reader.pooling.alpha"}, "alpha learns nothing while scores are equal"
    trained = clips.train(reader, few, 1, n_steps=25)
    again = clips.train(reader, few, 1, n_steps=25)
    assert torch.equal(trained(few.pictures), again(few.pictures))
    assert 0 <= clips.accuracy(trained, few, 1) <= 1
