"""Published codecs: the interface with random weights of the true shapes, and what is refused.

The packages are optional; where one is missing its tests are skipped.
"""

from __future__ import annotations

import hashlib
import sys

import pytest
import torch
from safetensors.torch import save_file

from dl101.data import cache
from dl101.errors import ConfigError, DataError, ShapeError
from dl101.nn import pretrained_codecs
from dl101.nn.pretrained_codecs import EnCodec, Music2Latent

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


class Evil:
    """What a pickle can hold: something that runs when it is opened."""

    def __reduce__(self):
        return (sys.exit, (3,))


@pytest.fixture(scope="module")
def encodec_model():
    pytest.importorskip("dl101.nn.torchaudio_compat")
    package = pytest.importorskip("encodec")
    torch.manual_seed(0)
    model = package.EncodecModel.encodec_model_24khz(pretrained=False)
    for name, values in model.named_buffers():  # codebooks begin at zero, and every sound alike
        if name.endswith("embed"):
            values.normal_(std=0.1)
    return model


@pytest.fixture(scope="module")
def music2latent_model():
    pytest.importorskip("dl101.nn.torchaudio_compat")
    models = pytest.importorskip("music2latent.models")
    torch.manual_seed(0)
    return models.UNet()


# ---- without the packages ----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(EnCodec, "encodec"), (Music2Latent, "music2latent")])
def test_a_missing_package_is_named(kind, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, f"{name}.models", None)
    with pytest.raises(ConfigError, match=f"pip install {name}, or use the codec that ships"):
        kind.load()


def test_no_network_is_said_clearly(tmp_path, monkeypatch):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="pass weights=PATH, or use the codec that ships"):
        pretrained_codecs._published("http://localhost:9/encodec_24khz-d7cc33bc.th")


def test_a_file_in_the_cache_is_checked_at_each_use(tmp_path, monkeypatch):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))
    content = b"weights"
    beginning = hashlib.sha256(content).hexdigest()[:8]
    path = cache.cache_dir("models") / f"small-{beginning}.th"
    path.write_bytes(content)
    assert pretrained_codecs._published(f"http://localhost:9/{path.name}") == path
    path.write_bytes(b"tampered")
    with pytest.raises(DataError, match=f"expected one that begins with {beginning}"):
        pretrained_codecs._published(f"http://localhost:9/{path.name}")


def test_a_pickle_with_more_than_tensors_is_not_opened(tmp_path):
    path = tmp_path / "weights.th"
    torch.save({"weight": torch.ones(1), "more": Evil()}, path)
    with pytest.raises(DataError, match="a file of tensors and nothing else"):
        pretrained_codecs._tensors(path)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.th"])
def test_a_damaged_file_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(DataError, match="download it again"):
        pretrained_codecs._tensors(tmp_path / name)
    with pytest.raises(DataError, match="weights gone"):
        pretrained_codecs._tensors(tmp_path / "gone.safetensors")


# ---- with them ---------------------------------------------------------------------------------


def test_encodec_has_the_interface(encodec_model):
    codec = EnCodec(encodec_model, n_stages=4)
    assert (codec.sample_rate, codec.frame_rate, codec.codebooks) == (24_000, 75.0, (1024,) * 4)
    assert sum(p.numel() for p in encodec_model.parameters()) == 14_851_810
    audio = 0.1 * torch.randn(2, 9600)
    codes = codec.encode(audio)
    assert codes.shape == (2, 4, 30) and codes.dtype == torch.int64
    assert codec.decode(codes).shape == (2, 9600)
    assert not torch.equal(codec.decode(codes), codec.decode(codes[:, :1]))
    # the package's own way to the same bitrate
    encodec_model.set_target_bandwidth(3.0)
    with torch.no_grad():
        ((theirs, _),) = encodec_model.encode(audio[:, None])
        assert torch.equal(theirs, codes)
        assert torch.equal(encodec_model.decode([(theirs, None)])[:, 0], codec.decode(codes))
    with pytest.raises(ConfigError, match="1 to 32"):
        EnCodec(encodec_model, n_stages=33)
    with pytest.raises(ShapeError, match="batch, time"):
        codec.encode(audio[:, None])


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.th"])
def test_encodec_reads_weights_of_a_file(encodec_model, tmp_path, name):
    path, weights = tmp_path / name, encodec_model.state_dict()
    if name.endswith(".th"):
        torch.save(weights, path)
    else:
        save_file({k: v.clone().contiguous() for k, v in weights.items()}, path)
    audio = 0.1 * torch.randn(1, 4800)
    read = EnCodec.load(2, weights=path)
    assert torch.equal(read.encode(audio), EnCodec(encodec_model, 2).encode(audio))
    weights.popitem()
    torch.save(weights, tmp_path / "short.th")
    with pytest.raises(DataError, match="the weights of a EncodecModel"):
        EnCodec.load(weights=tmp_path / "short.th")


@pytest.mark.slow
def test_music2latent_has_the_interface(music2latent_model, tmp_path):
    with pytest.raises(DataError, match="pass weights=PATH"):
        Music2Latent.load()
    torch.save({"gen_state_dict": music2latent_model.state_dict()}, tmp_path / "music2latent.pt")
    codec = Music2Latent.load(weights=tmp_path / "music2latent.pt")
    assert codec.codebooks == () and codec.frame_rate == pytest.approx(10.77, abs=0.01)
    audio = 0.1 * torch.randn(1, 3 * 512 + 3 * 4096)
    latents = codec.encode(audio)
    assert latents.shape == (1, 64, 3) and latents.dtype == torch.float32
    torch.manual_seed(0)
    decoded = codec.decode(latents)
    assert decoded.shape == audio.shape and torch.isfinite(decoded).all()
