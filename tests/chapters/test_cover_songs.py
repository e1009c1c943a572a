"""The comparison of the chapter on cover songs: its variants, and performances that are played."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.chapters.cover_songs import experiment
from dl101.data.embedded.corpora import covers
from dl101.systems import cover_songs as system
from dl101.systems.cover_songs_data import CoverTrack
from dl101.training import shipped

pytestmark = pytest.mark.slow


def test_variants_differ_in_loss_and_mining_only() -> None:
    assert len(experiment.VARIANTS) == 10
    plain = experiment.SETTINGS
    for name, variant in experiment.VARIANTS.items():
        assert variant.variant == name
        for key in ("data", "training", "augmentation", "versions", "pool_frames", "margin"):
            assert getattr(variant, key) == getattr(plain, key), (name, key)
    assert set(experiment.describe(plain)) >= {"loss", "mining", "model", "training"}


def test_what_is_heard_is_the_performance() -> None:
    """Two works in two versions: sound and features are of the same performances."""
    found: dict[str, list[int]] = {}
    for index in range(400):
        performance = covers.work_of(index, 3)[0]
        if covers.track_split(index)[0] == "test":
            found.setdefault(performance, []).append(index)
    chosen = [members[:3] for members in found.values() if len(members) >= 3][:2]
    tracks = []
    for members in chosen:
        for index in members:
            (item,) = covers.render(index, seed=3, duration_s=60.0, extras=False)
            profile = experiment.cover_songs_data.pooled(item.values, 5)
            work = item.fields["work-id"][0].value
            tracks.append(CoverTrack(item.key, "test", work, "", profile))
    network = shipped.load("cover_songs")
    scores = experiment.heard(network, {"test": tracks}, seed=3)
    assert set(scores) == {"features", "audio", "audio to features"}
    embeddings = system.embed(network.system, tracks)
    expected = system.score(system.distances(embeddings, embeddings), tracks).values()
    assert scores["features"]["ndcg"] == np.mean([each["ndcg"] for each in expected])
    # from its sound and from its features, a performance lies nearer to itself than to others
    own, others = [], []
    for place, track in enumerate(tracks):
        sound, _ = covers.render_audio(int(track.key[:5]), seed=3)
        profile = experiment.cover_songs_data.profile_of_samples(sound)
        heard = system.predict(network.system, experiment.cover_songs_data.pooled(profile, 5))
        apart = np.square(embeddings - heard).mean(axis=1)
        own.append(apart[place])
        others.append(np.delete(apart, place).mean())
    assert np.mean(own) < 0.7 * np.mean(others)
