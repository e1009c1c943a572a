"""The registry of embeddings, with stand-ins for the packages that bring the published ones."""

import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from dl101.errors import ConfigError, DataError, FetchError
from dl101.evaluation import embeddings

RATE = 22050


def tones(*pitches_hz, seconds=0.5, rate=RATE):
    when = np.arange(int(seconds * rate)) / rate
    return [np.sin(2 * np.pi * f * when).astype(np.float32) for f in pitches_hz]


class Heard:
    """Stands in for a network and notes what it was given."""

    def __init__(self, dimensions):
        self.dimensions, self.sounds = dimensions, []

    def eval(self):
        return self

    def answer(self, sound, n_rows=1):
        self.sounds.append(np.asarray(sound))
        level = float(np.sqrt(np.mean(np.square(sound))))
        rows = [[level + row] * self.dimensions for row in range(n_rows)]
        return torch.tensor(rows, requires_grad=True)


def transformers(heard, name):
    module = ModuleType(name)
    model = SimpleNamespace(
        eval=lambda: model,
        get_audio_features=lambda input_features: SimpleNamespace(
            pooler_output=heard.answer(input_features)
        ),
    )
    module.ClapModel = SimpleNamespace(from_pretrained=lambda name: model)

    def extract(sound, sampling_rate, return_tensors):
        assert (sampling_rate, return_tensors) == (48_000, "pt")
        return {"input_features": sound}

    module.ClapFeatureExtractor = SimpleNamespace(from_pretrained=lambda name: extract)
    return module


def torchvggish(heard, name):
    module = ModuleType(name)

    class Model:
        def eval(self):
            return self

        def __call__(self, examples):
            return heard.answer(examples, n_rows=2)

    def vggish(postprocess):
        assert not postprocess
        return Model()

    def waveform_to_examples(sound, rate):
        assert rate == 16_000
        return sound

    module.vggish, module.waveform_to_examples = vggish, waveform_to_examples
    return module


def panns(heard, name):
    module = ModuleType(name)

    def inference(audio):
        assert audio.ndim == 2
        return None, heard.answer(audio[0]).detach().numpy()

    module.AudioTagging = lambda checkpoint_path, device: SimpleNamespace(inference=inference)
    return module


@pytest.mark.parametrize(
    ("name", "package", "make", "offset"),
    [
        ("clap", "transformers", transformers, 0),
        ("vggish", "torchvggish", torchvggish, 0.5),  # the mean of two seconds' embeddings
        ("panns", "panns_inference", panns, 0),
    ],
)
def test_published_networks_get_what_they_need(monkeypatch, name, package, make, offset):
    record = embeddings.PRETRAINED[name]
    heard = Heard(record.dimensions)
    monkeypatch.setitem(sys.modules, package, make(heard, package))
    found = embeddings.load(name)(tones(220, 440, seconds=1.5), RATE)
    assert found.shape == (2, record.dimensions) and found.dtype == np.float64
    assert np.allclose(found, np.sqrt(0.5) + offset, atol=0.01)
    assert [sound.size for sound in heard.sounds] == [round(1.5 * record.sample_rate)] * 2
    embeddings.load(name)(tones(220, seconds=0.2), RATE)
    assert heard.sounds[-1].size == record.sample_rate  # at least a second


def test_what_loads_weights_may_unpickle_tensors_only(monkeypatch, tmp_path):
    """Even a package that asks torch to unpickle anything does not get it."""

    class Harm:
        def __reduce__(self):
            return (os.rmdir, (str(tmp_path / "harm"),))

    (tmp_path / "harm").mkdir()
    torch.save({"model": Harm()}, tmp_path / "weights.pth")

    def build(package):
        torch.load(tmp_path / "weights.pth", weights_only=False)

    changed = SimpleNamespace(**{**vars(embeddings.PRETRAINED["panns"]), "build": build})
    monkeypatch.setitem(sys.modules, "panns_inference", ModuleType("panns_inference"))
    monkeypatch.setattr(embeddings, "PRETRAINED", {"panns": changed})
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    with pytest.raises(FetchError, match=r"weights.*UnpicklingError.*'spectrum' needs none"):
        embeddings.load("panns")
    assert (tmp_path / "harm").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    with embeddings.only_tensors():
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
    assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "0"
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert not (tmp_path / "harm").exists()  # what it would have done


def test_what_is_missing_is_named(monkeypatch):
    with pytest.raises(ConfigError, match="did you mean 'vggish'"):
        embeddings.load("vgish")
    monkeypatch.setitem(sys.modules, "torchvggish", None)
    with pytest.raises(ConfigError, match=r"no package torchvggish.*pip install torchvggish"):
        embeddings.load("vggish")


def test_another_number_of_dimensions_is_refused(monkeypatch):
    module = panns(Heard(7), "panns_inference")
    monkeypatch.setitem(sys.modules, "panns_inference", module)
    with pytest.raises(DataError, match="got 7 dimensions; expected 2048"):
        embeddings.load("panns")(tones(220), RATE)


def test_the_spectrum_tells_pitch_and_loudness():
    low, same, high, soft = embeddings.load("spectrum")(
        [*tones(220, 220, 880), 0.1 * tones(220)[0]], RATE
    )
    assert low.shape == (42,) and np.array_equal(low, same)
    assert high[:21].argmax() - low[:21].argmax() == 6  # two octaves
    assert soft[:21].sum() < low[:21].sum()
    resampled = embeddings.spectrum(tones(220, rate=44100), 44100)[0]
    assert np.allclose(resampled[:21], low[:21], atol=0.15)


@pytest.mark.parametrize(
    ("sounds", "words"),
    [
        ([], "sounds to embed: got none"),
        ([np.array([0.0, np.nan])], "audio"),
        ([np.zeros((2, 9))], "mono"),
    ],
)
def test_sounds_are_checked(sounds, words):
    with pytest.raises(DataError, match=words):
        embeddings.spectrum(sounds, RATE)
