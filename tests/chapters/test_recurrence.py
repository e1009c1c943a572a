"""The tunes of the chapter on recurrent networks: tokens, sound, models and draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.training import tunes
from dl101.training.tunes import HELD, LENGTH, N_TOKENS


def test_tokens_are_what_begins_on_eighth_notes() -> None:
    onsets = 10 + np.array([0, 0.5, 0.75, 1.5, 15.5, 16])
    tokens = tunes.tokenise(onsets, [60, 62, 63, 64, 65, 66], 10.0)
    expected = np.full(LENGTH, HELD)
    expected[[0, 1, 3, 31]] = np.array([60, 62, 64, 65]) - 55
    np.testing.assert_array_equal(tokens, expected)


@pytest.mark.parametrize(
    ("onsets", "pitches"), [([0.5, 1], [60, 62]), ([0, 1], [60, 54]), ([0, 1], [84, 62]), ([], [])]
)
def test_phrases_that_do_not_fit_are_left_out(onsets: list, pitches: list) -> None:
    assert tunes.tokenise(onsets, pitches, 0.0) is None


def test_tunes_of_the_test_side_are_new_and_in_d() -> None:
    phrases = tunes.load()
    assert [len(phrases.tokens[side]) for side in tunes.SIDES] == [1280, 316, 290]
    for side in tunes.SIDES:
        tokens = phrases.tokens[side]
        assert tokens.shape == (len(phrases.titles[side]), LENGTH)
        assert tokens.min() >= 0 and tokens.max() == HELD
        assert len(np.unique(tokens, axis=0)) == len(tokens)
    assert not set(phrases.titles["train"]) & set(phrases.titles["test"])
    notes = phrases.tokens["train"][phrases.tokens["train"] != HELD] + tunes.LOWEST_MIDI
    classes = np.bincount(notes % 12, minlength=12)
    assert set(classes.argsort()[-7:]) == {2, 4, 6, 7, 9, 11, 1}, "D major"


def test_a_note_goes_on_while_nothing_begins() -> None:
    onsets, durations, pitches = tunes.notes_of([5, HELD, HELD, 7])
    assert (list(onsets), list(durations), list(pitches)) == ([0, 3], [3, 1], [60, 62])
    sound = tunes.play([5, HELD, HELD, 7])
    assert sound.shape == (round(4 * tunes.STEP_S * SAMPLE_RATE),)
    assert np.abs(sound).max() > 0.01


@pytest.mark.parametrize("make", [tunes.NoteModel, lambda: tunes.NoteModel("RNN")])
def test_a_language_model_sees_no_future(make: type) -> None:
    torch.manual_seed(0)
    model, tokens = make(), torch.randint(N_TOKENS, (2, LENGTH))
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % N_TOKENS
    differs = (model(tokens) - model(changed)).abs().amax(dim=(0, 2)) > 0
    assert not differs[:11].any() and differs[11:].all()


def test_the_hidden_note_is_hidden() -> None:
    torch.manual_seed(0)
    model, tokens = tunes.HiddenNote(), torch.randint(N_TOKENS, (2, LENGTH))
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % N_TOKENS
    differs = (model(tokens) - model(changed)).abs().amax(dim=(0, 2)) > 0
    assert not differs[10]
    assert differs[9] and differs[11]


def test_bits_are_those_of_the_softmax() -> None:
    torch.manual_seed(0)
    model, tokens = tunes.NoteModel(), torch.randint(N_TOKENS, (3, LENGTH))
    share = torch.softmax(model(tokens), dim=-1).gather(2, tokens[..., None])[..., 0]
    torch.testing.assert_close(tunes.bits(model, tokens), -share.log2())


def test_training_helps_and_repeats() -> None:
    tokens = tunes.load().batch("train")[:64]
    trained = []
    for _ in range(2):
        torch.manual_seed(0)
        model = tunes.NoteModel()
        before = tunes.bits(model, tokens).mean()
        tunes.train(model, tokens, n_steps=15)
        trained.append(tunes.bits(model, tokens).mean())
    assert trained[0] == trained[1] < before - 0.5


def test_draws_begin_as_told_and_follow_the_model() -> None:
    torch.manual_seed(0)
    model = tunes.NoteModel()
    made = tunes.sample(model, start=[3, 4, 5], seed=1)
    assert made.shape == (LENGTH,) and list(made[:3]) == [3, 4, 5]
    np.testing.assert_array_equal(made, tunes.sample(model, start=[3, 4, 5], seed=1))
    cold = torch.from_numpy(tunes.sample(model, temperature=1e-4))[None]
    assert torch.equal(model(cold).argmax(dim=-1), cold), "the likeliest token each time"
