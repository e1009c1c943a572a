"""The sung phrase: it is read with its pitch, its curves are found, and a vowel can be kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.ddsp import phrase
from dl101.chapters.ddsp.phrase import HOP, SAMPLE_RATE


@pytest.fixture(scope="module")
def sung() -> phrase.Phrase:
    return phrase.load(duration_s=0.8)


def test_sound_and_pitch_have_the_same_frames(sung: phrase.Phrase) -> None:
    assert len(sung.audio) == HOP * len(sung.f0_hz) == HOP * len(sung.voiced) == 0.8 * SAMPLE_RATE
    assert np.isfinite(sung.f0_hz).all() and 0.5 < sung.voiced.mean() < 1
    # the pitch is that of the sound: the strongest period of a voiced stretch
    at = int(np.flatnonzero(sung.voiced)[-30]) * HOP
    piece = sung.audio[at : at + 1600] - sung.audio[at : at + 1600].mean()
    lags = np.arange(30, 160)
    period = lags[np.argmax([np.dot(piece[:-160], piece[k : k - 160 or None]) for k in lags])]
    assert SAMPLE_RATE / period == pytest.approx(sung.f0_hz[at // HOP], rel=0.03)


def test_the_fit_remakes_the_phrase_and_keeps_gaps_without_tone(sung: phrase.Phrase) -> None:
    curves, losses = phrase.fit(sung, n_steps=110)
    assert len(losses) == 110
    assert losses[-1] < 0.25 * losses[0]
    again, _ = phrase.fit(sung, n_steps=2)
    assert torch.equal(again.loudness, phrase.fit(sung, n_steps=2)[0].loudness)
    _, f0_hz, voiced = sung.tensors()
    with torch.no_grad():
        curves.breath.fill_(-200.0)  # no noise
        tone = curves(f0_hz, voiced)
    gap = int(np.flatnonzero(~sung.voiced)[0]) * HOP
    assert tone[0, gap].abs() < 1e-4 < tone.abs().max()


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5, 2.0])
def test_a_vowel_keeps_its_place_in_frequency(ratio: float) -> None:
    number = torch.arange(1, 41).float()
    new = phrase.retimbred((100 - number)[None, None], ratio)[0, 0]  # a line is read exactly
    place = number * ratio
    expected = torch.where(place <= 40, 100 - place.clamp(min=1), 0.0)
    torch.testing.assert_close(new, expected)
