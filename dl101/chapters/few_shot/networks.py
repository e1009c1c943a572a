"""The three networks of the thesis on few examples, at its size or at a smaller one.

Conventions: input is a log-mel spectrogram (batch, 1, band, frame), output (batch, numbers): logits
of classes, or an embedding where that is asked for. The sizes of the thesis are 128 bands and 128
frames, with 32 filters (VGG), 128 (the VGG behind prototypes) and 24 (SB-CNN).

.. [1] J. Pons, "Deep neural networks for music and audio tagging", thesis, Universitat Pompeu
   Fabra, 2019, section 6.3.
.. [2] J. Salamon, J. P. Bello, "Deep convolutional neural networks and data augmentation for
   environmental sound classification", IEEE Signal Processing Letters 24(3), 2017 (SB-CNN).
"""

from __future__ import annotations

from torch import Tensor, nn

from dl101.config import Count, checked

N_BLOCKS = 5


def vgg(
    n_outputs: int,
    *,
    n_filters: int = 32,
    n_bands: int = 128,
    n_frames: int = 128,
    dropout: float = 0.5,
) -> nn.Sequential:
    """Return five times 3x3 filters, ELU, batch normalisation and a maximum over 2x2 [1]_.

    With ``n_filters=128``, ten outputs and no dropout it is the embedding behind the prototypes.
    """
    checked(Count, n_filters, "vgg: n_filters")
    layers: list[nn.Module] = [nn.BatchNorm2d(1)]
    for channels in (1, *[n_filters] * (N_BLOCKS - 1)):
        convolution = nn.Conv2d(channels, n_filters, 3, padding="same")
        layers += [convolution, nn.ELU(), nn.BatchNorm2d(n_filters), nn.MaxPool2d(2)]
    cells = (n_bands // 2**N_BLOCKS) * (n_frames // 2**N_BLOCKS)
    head = [nn.Flatten(), nn.Dropout(dropout), nn.Linear(cells * n_filters, n_outputs)]
    return nn.Sequential(*layers, *head)


class Timbre(nn.Module):
    """One filter for each class, nearly as high as the spectrogram; its largest answer [1]_.

    Parameters
    ----------
    n_outputs
        Filters, and classes.
    n_bands, n_frames
        Size of a filter.
    """

    def __init__(self, n_outputs: int, *, n_bands: int = 108, n_frames: int = 7) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.filters = nn.Conv2d(1, n_outputs, (n_bands, n_frames))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to (batch, class), the maximum over all positions."""
        return self.filters(self.norm(x)).amax(dim=(2, 3))


def sb_cnn(
    n_outputs: int,
    *,
    n_filters: int = 24,
    n_bands: int = 128,
    n_frames: int = 128,
    pool: tuple[int, int] = (4, 2),
    dropout: float = 0.5,
) -> nn.Sequential:
    """Return three times 5x5 filters, two maxima between them, and a layer of 64 units [2]_.

    Parameters
    ----------
    n_outputs
        Classes.
    n_filters
        Of the first layer; the others have twice as many.
    n_bands, n_frames
        Size of the input.
    pool
        Bands and frames of a maximum.
    dropout
        Share of numbers that is left out before each dense layer.
    """
    size = [n_bands, n_frames]
    for _ in range(2):  # a filter without padding, then a maximum
        size = [(length - 4) // step for length, step in zip(size, pool, strict=True)]
    cells = (size[0] - 4) * (size[1] - 4)
    wide = 2 * n_filters
    return nn.Sequential(
        nn.Conv2d(1, n_filters, 5),
        nn.MaxPool2d(pool),
        nn.ReLU(),
        nn.Conv2d(n_filters, wide, 5),
        nn.MaxPool2d(pool),
        nn.ReLU(),
        nn.Conv2d(wide, wide, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(cells * wide, 64),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(64, n_outputs),
    )
