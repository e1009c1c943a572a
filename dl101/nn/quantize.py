"""Quantisers: vectors of real numbers become codes, whole numbers that are worth counted bits.

Shapes: vectors stand along axis 1, (batch, dim) or (batch, dim, ...), mostly (batch, dim, time).
Codes are int64, (batch, ...) for one code a vector; a residual quantiser has one a stage,
(batch, stage, ...), where -1 means that the stage was left out. ``decode(codes)`` gives what the
quantiser put out, exactly, if it was in evaluation mode.

The gradient passes through *straight*: the output has the values of the codeword and the gradient
of the input. Distances and averages are computed in float32 at least, also under autocast. Nothing
changes in evaluation mode; all that training changes is in parameters and buffers, so that a
checkpoint brings it back bit for bit. Averages are those of one process.

References
----------
.. [1] A. van den Oord, O. Vinyals, K. Kavukcuoglu, "Neural discrete representation learning",
   NeurIPS 2017: VQ-VAE; moving averages in appendix A.1.
.. [2] N. Zeghidour, A. Luebs, A. Omran, J. Skoglund, M. Tagliasacchi, "SoundStream: an end-to-end
   neural audio codec", IEEE/ACM TASLP 30, 2022: residual stages, quantiser dropout.
.. [3] A. Défossez, J. Copet, G. Synnaeve, Y. Adi, "High fidelity neural audio compression", TMLR
   2023: EnCodec; codewords that are not used are replaced by vectors of the batch.
.. [4] F. Mentzer, D. Minnen, E. Agustsson, M. Tschannen, "Finite scalar quantization: VQ-VAE made
   simple", ICLR 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.config import OneOf, Range, Settings
from dl101.errors import ConfigError, DataError, ShapeError
from dl101.nn.compression import full_precision, without_autocast

STARTS = ("data", "k-means", "random")
UPDATES = ("averages", "gradient")
_LLOYD_STEPS = 10


class Quantised(NamedTuple):
    """What a quantiser gives.

    Attributes
    ----------
    quantised
        (batch, dim, ...): the codewords, with the gradient of the input.
    codes
        (batch, ...), of a residual quantiser (batch, stage, ...), int64.
    commitment
        Mean squared distance of the vectors from their codewords, whose gradient moves the vectors;
        a scalar, of a residual quantiser (stage,).
    codebook
        The same number, whose gradient moves the codewords; 0 where averages move them.
    loss
        What to add to the loss of the reconstruction, a scalar: both of them, the commitment with
        its weight; of a residual quantiser the mean over stages.
    """

    quantised: Tensor
    codes: Tensor
    commitment: Tensor
    codebook: Tensor
    loss: Tensor


def straight_through(x: Tensor, quantised: Tensor) -> Tensor:
    """Return the values of ``quantised`` with the gradient of ``x`` [1]_; both of one shape.

    x - x.detach() is zero and has the gradient of x: so no value is changed by rounding, as in the
    usual form x + (quantised - x).detach().
    """
    return quantised.detach() + (x - x.detach())


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return for each vector the number of the nearest codeword.

    Parameters
    ----------
    vectors
        (vector, dim).
    codebook
        (code, dim).

    Returns
    -------
    Tensor
        (vector,) int64; of equally near ones any.

    Notes
    -----
    Of the squared distance, the square of the vector is the same for all codewords and is left out.
    Both are first moved by the mean of the codewords, so that far from the origin no digits are
    lost.
    """
    centre = codebook.mean(dim=0)
    codebook = codebook - centre
    score = codebook.square().sum(dim=1) - 2.0 * (vectors - centre) @ codebook.T
    return score.argmin(dim=1)


def code_shares(codes: Tensor, n_codes: int) -> Tensor:
    """Return how often each code occurs, (code,) float64 that add to one; codes of -1 are left out.

    Raises
    ------
    DataError
        If there is no code, or one that does not exist.
    """
    used = codes[codes >= 0].flatten()
    if used.numel() == 0 or int(used.max()) >= n_codes:
        raise DataError(
            "code_shares",
            got="no code" if used.numel() == 0 else f"code {int(used.max())}",
            expected=f"codes from 0 to {n_codes - 1}",
            hint="pass the codes of one codebook and its size",
        )
    return torch.bincount(used, minlength=n_codes).double() / used.numel()


def perplexity(shares: Tensor) -> Tensor:
    """Return exp(-sum p log p) of shares (code,): as many codes, evenly used, would say as much."""
    return torch.exp(torch.special.entr(shares).sum())


def _as_vectors(x: Tensor) -> Tensor:
    """Return (batch, dim, ...) as (vector, dim)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _check_vectors(what: str, x: Tensor, dim: int) -> None:
    if x.ndim < 2 or x.shape[1] != dim:
        raise ShapeError(
            what,
            got=f"an input of shape {tuple(x.shape)}",
            expected=f"(batch, {dim}, ...), vectors along axis 1",
            hint="bring the encoder's output to that many channels, for example by a 1x1 "
            "convolution",
        )


@dataclass(frozen=True)
class CodebookConfig(Settings):
    """How a codebook begins and is kept.

    Parameters
    ----------
    update
        What moves the codewords: moving averages of the vectors that chose them ([1]_, A.1), or
        the gradient of a loss.
    start
        Where they begin: at vectors of the first batch of training, at their centres as k-means
        finds them, or at random, N(0, 1).
    decay
        Of the moving averages: the share that is kept at each step.
    commitment
        Weight of the loss that draws the vectors to their codewords (beta of [1]_).
    revive_below
        A codeword that is used less than this share of an even use is put at a vector of the batch
        [3]_; 0 leaves it dead.
    """

    update: Annotated[str, OneOf(UPDATES)] = "averages"
    start: Annotated[str, OneOf(STARTS)] = "k-means"
    decay: Annotated[float, Range(at_least=0, below=1)] = 0.99
    commitment: Annotated[float, Range(at_least=0, at_most=100)] = 0.25
    revive_below: Annotated[float, Range(at_least=0, below=1)] = 0.1


class VectorQuantizer(nn.Module):
    """Each vector becomes the nearest of ``n_codes`` codewords that are learned [1]_.

    Parameters
    ----------
    dim
        Numbers of a vector.
    n_codes
        Size of the codebook; a code is worth log2(n_codes) bits.
    config
        How the codebook begins and is kept.

    Notes
    -----
    With averages, N and m are moving averages of how many vectors choose a codeword and of their
    sum; the codeword is m / N. Both begin as if each codeword had been chosen once. There is no
    Laplace smoothing: a codeword that nobody chooses stays where it is until it is revived.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, dim: int, n_codes: int, config: CodebookConfig | None = None) -> None:
        super().__init__()
        if dim < 1 or n_codes < 2:
            raise ConfigError(
                "vector quantiser",
                got=f"{n_codes} codes for vectors of {dim}",
                expected="at least two codes, and vectors of at least one number",
                hint="256 codes, which are 8 bits, are a start",
            )
        self.dim, self.n_codes = dim, n_codes
        self.config = CodebookConfig() if config is None else config
        codewords = torch.randn(n_codes, dim)
        if self.config.update == "gradient":
            self.codebook = nn.Parameter(codewords)
        else:
            self.register_buffer("codebook", codewords)
            self.register_buffer("sums", codewords.clone())
        self.register_buffer("counts", torch.ones(n_codes))
        self.register_buffer("started", torch.tensor(self.config.start == "random"))

    @property
    def n_bits(self) -> float:
        """Bits that a code is worth, log2(n_codes)."""
        return math.log2(self.n_codes)

    @property
    def usage(self) -> Tensor:
        """Share of each codeword in training of late, (code,), adding to one."""
        return self.counts / self.counts.sum()

    def forward(self, x: Tensor, active: Tensor | None = None) -> Quantised:
        """Quantise (batch, dim, ...); in training, move the codebook afterwards.

        Parameters
        ----------
        x
            Vectors along axis 1.
        active
            (batch,) bool: which items count. The others get code -1, the output 0, and neither lose
            nor teach anything. By default all.

        Raises
        ------
        ShapeError
            If the vectors are of another length than the codewords.
        """
        _check_vectors("vector quantiser", x, self.dim)
        with without_autocast(x):
            vectors = _as_vectors(full_precision(x))
            counted = torch.ones_like(vectors[:, 0], dtype=torch.bool)
            if active is not None:
                grid = active.view(-1, *(1,) * (x.ndim - 2)).expand(x.shape[0], *x.shape[2:])
                counted = grid.reshape(-1)
            if self.training and not self.started:
                self._start(vectors[counted].detach())
            codebook = full_precision(self.codebook)
            codes = nearest_codes(vectors.detach(), codebook.detach())
            chosen = F.embedding(codes, codebook)
            commitment = _mean_over(vectors - chosen.detach(), counted)
            pulled = torch.zeros_like(commitment)
            if self.config.update == "gradient":
                pulled = _mean_over(chosen - vectors.detach(), counted)
            if self.training:
                self._learn(vectors[counted].detach(), codes[counted])
            quantised = straight_through(vectors, chosen) * counted[:, None]
        shape = (x.shape[0], *x.shape[2:])
        return Quantised(
            quantised.reshape(*shape, self.dim).movedim(-1, 1).to(x.dtype),
            torch.where(counted, codes, -1).view(shape),
            commitment,
            pulled,
            self.config.commitment * commitment + pulled,
        )

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of (batch, dim, ...), (batch, ...); nothing is learned."""
        _check_vectors("vector quantiser", x, self.dim)
        with torch.no_grad(), without_autocast(x):
            codes = nearest_codes(_as_vectors(full_precision(x)), full_precision(self.codebook))
        return codes.view(x.shape[0], *x.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Return the codewords of (batch, ...) codes, (batch, dim, ...); zeros for a code of -1.

        Raises
        ------
        DataError
            If a code is none of this codebook.
        """
        _check_codes(codes, self.n_codes)
        vectors = F.embedding(codes.clamp(min=0), self.codebook) * (codes >= 0)[..., None]
        return vectors.movedim(-1, 1)

    # ---- learning without a gradient ----

    @torch.no_grad()
    def _start(self, vectors: Tensor) -> None:
        """Put the codewords at vectors, or at the centres that k-means finds from there."""
        if len(vectors) == 0:
            return
        codewords = _drawn(vectors, self.n_codes)
        if self.config.start == "k-means":
            for _ in range(_LLOYD_STEPS):
                counts, sums = _chosen_by(vectors, nearest_codes(vectors, codewords), self.n_codes)
                means = sums / counts[:, None].clamp(min=1.0)
                codewords = torch.where(counts[:, None] > 0, means, codewords)
        self.codebook.copy_(codewords)
        if self.config.update == "averages":
            self.sums.copy_(codewords)
        self.started.fill_(True)

    @torch.no_grad()
    def _learn(self, vectors: Tensor, codes: Tensor) -> None:
        """Move the averages, and with them the codewords; put unused ones at vectors."""
        if len(vectors) == 0:
            return
        keep, averaged = self.config.decay, self.config.update == "averages"
        counts, sums = _chosen_by(vectors, codes, self.n_codes)
        counts = keep * full_precision(self.counts) + (1 - keep) * counts
        codebook = full_precision(self.codebook)
        if averaged:
            sums = keep * full_precision(self.sums) + (1 - keep) * sums
            alive = counts[:, None] > torch.finfo(counts.dtype).tiny
            codebook = torch.where(alive, sums / counts[:, None], codebook)
        if self.config.revive_below > 0:
            even = counts.mean()
            dead = counts < self.config.revive_below * even
            codebook = torch.where(dead[:, None], _drawn(vectors, self.n_codes), codebook)
            counts = torch.where(dead, even, counts)
            sums = torch.where(dead[:, None], even * codebook, sums)
        self.counts.copy_(counts)
        self.codebook.copy_(codebook)
        if averaged:
            self.sums.copy_(sums)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"{self.n_codes} codes of {self.dim} numbers, {self.config.update}"


def _chosen_by(vectors: Tensor, codes: Tensor, n_codes: int) -> tuple[Tensor, Tensor]:
    """Return how many vectors chose each codeword, (code,), and their sums, (code, dim)."""
    counts = torch.zeros(n_codes, dtype=vectors.dtype, device=vectors.device)
    counts.index_add_(0, codes, torch.ones_like(vectors[:, 0]))
    sums = torch.zeros(n_codes, vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    return counts, sums.index_add_(0, codes, vectors)


def _drawn(vectors: Tensor, n: int) -> Tensor:
    """Return n of the vectors at random, none twice as long as there are enough."""
    order = torch.randperm(len(vectors), device=vectors.device)
    return vectors[order.repeat(-(-n // len(vectors)))[:n]]


def _mean_over(difference: Tensor, counted: Tensor) -> Tensor:
    """Return the mean square of (vector, dim) over the vectors that count; 0 for none."""
    each = difference.square().mean(dim=1) * counted
    return each.sum() / counted.sum().clamp(min=1)


def _check_codes(codes: Tensor, n_codes: int) -> None:
    if codes.numel() and not (-1 <= int(codes.min()) and int(codes.max()) < n_codes):
        raise DataError(
            "codes",
            got=f"values from {int(codes.min())} to {int(codes.max())}",
            expected=f"0 to {n_codes - 1}, or -1 where a stage is left out",
            hint="decode with the quantiser that made them",
        )


# ---- residual stages ----------------------------------------------------------------------------


class ResidualVQ(nn.Module):
    """Stages of vector quantisers: each quantises what the ones before it left over [2]_.

    The output is the sum of the codewords. The first k stages alone give a coarser output, so that
    one network serves several bitrates: with ``dropout``, it is trained for that.

    Parameters
    ----------
    dim, n_codes, config
        As for each :class:`VectorQuantizer`.
    n_stages
        How many; a vector is worth n_stages * log2(n_codes) bits.
    dropout
        Share of the items of a training batch for which only the first k stages are used, k drawn
        evenly from 1 to n_stages, for each item by itself.

    Notes
    -----
    The residual is x minus the codewords *without their gradient*. With straight-through codewords
    it would have none at all (x - x), and the commitment of later stages could not move the
    encoder. The gradient of the output is that of x, once, and not once a stage.
    """

    def __init__(
        self,
        dim: int,
        n_codes: int,
        n_stages: int,
        *,
        dropout: float = 0.0,
        config: CodebookConfig | None = None,
    ) -> None:
        super().__init__()
        if n_stages < 1 or not 0.0 <= dropout <= 1.0:
            raise ConfigError(
                "residual quantiser",
                got=f"{n_stages} stages with dropout {dropout}",
                expected="at least one stage, and a share from 0 to 1",
                hint="8 stages with dropout 0.5 are a start",
            )
        self.dim, self.n_codes, self.dropout = dim, n_codes, dropout
        self.stages = nn.ModuleList(VectorQuantizer(dim, n_codes, config) for _ in range(n_stages))

    @property
    def n_stages(self) -> int:
        """Number of stages."""
        return len(self.stages)

    @property
    def n_bits(self) -> float:
        """Bits that a vector is worth with all stages."""
        return sum(stage.n_bits for stage in self.stages)

    def forward(self, x: Tensor, n_stages: int | None = None) -> Quantised:
        """Quantise (batch, dim, ...) with the first ``n_stages`` stages, by default all.

        Stages that are left out, for all or by dropout, have codes of -1; codes are always (batch,
        all stages, ...).

        Raises
        ------
        ShapeError
            If the vectors are of another length than the codewords.
        ConfigError
            If there are not so many stages.
        """
        _check_vectors("residual quantiser", x, self.dim)
        limits = self._limits(x, n_stages)
        with without_autocast(x):
            start = full_precision(x)
            residual, total = start, torch.zeros_like(start)
            each = []
            for number, stage in enumerate(self.stages):
                found = stage(residual, limits > number)
                codewords = found.quantised.detach()
                residual, total = residual - codewords, total + codewords
                each.append(found)
            quantised = straight_through(start, total)
        return Quantised(
            quantised.to(x.dtype),
            torch.stack([found.codes for found in each], dim=1),
            torch.stack([found.commitment for found in each]),
            torch.stack([found.codebook for found in each]),
            torch.stack([found.loss for found in each]).mean(),
        )

    def encode(self, x: Tensor, n_stages: int | None = None) -> Tensor:
        """Return the codes of (batch, dim, ...) in the first stages, (batch, n_stages, ...)."""
        _check_vectors("residual quantiser", x, self.dim)
        n_stages = self._checked(n_stages)
        codes, residual = [], full_precision(x.detach())
        for stage in self.stages[:n_stages]:
            codes.append(stage.encode(residual))
            residual = residual - full_precision(stage.decode(codes[-1]))
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sum of the codewords of (batch, stage, ...) codes, (batch, dim, ...).

        The codes may be those of the first stages only.

        Raises
        ------
        ShapeError
            If there are more stages in the codes than here.
        DataError
            If a code is in no codebook.
        """
        if codes.ndim < 2 or not 1 <= codes.shape[1] <= self.n_stages:
            raise ShapeError(
                "codes",
                got=f"shape {tuple(codes.shape)}",
                expected=f"(batch, stage, ...) with 1 to {self.n_stages} stages",
                hint="pass what encode returned, or its first stages, codes[:, :k]",
            )
        total: Tensor | float = 0.0
        for number, stage in enumerate(self.stages[: codes.shape[1]]):
            total = total + full_precision(stage.decode(codes[:, number]))
        return total

    def _checked(self, n_stages: int | None) -> int:
        if n_stages is None:
            return self.n_stages
        if not 1 <= n_stages <= self.n_stages:
            raise ConfigError(
                "residual quantiser: n_stages",
                got=n_stages,
                expected=f"1 to {self.n_stages}",
                hint="leave it out to use all",
            )
        return n_stages

    def _limits(self, x: Tensor, n_stages: int | None) -> Tensor:
        """Return how many stages each item gets, (batch,)."""
        limits = torch.full((x.shape[0],), self._checked(n_stages), device=x.device)
        if self.training and self.dropout > 0 and n_stages is None:
            fewer = torch.rand(x.shape[0], device=x.device) < self.dropout
            drawn = torch.randint(1, self.n_stages + 1, (x.shape[0],), device=x.device)
            limits = torch.where(fewer, drawn, limits)
        return limits

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"{self.n_stages} stages, dropout={self.dropout:g}"


# ---- finite scalar quantisation -----------------------------------------------------------------


class FSQ(nn.Module):
    """Each number of a vector is rounded to one of a few levels: no codebook to learn [4]_.

    A number is first bounded, by a hyperbolic tangent that spans the levels and maps 0 to 0, then
    rounded; the output is the rounded number over half the levels, between -1 and 1. The code is
    the vector of levels read as one number, the first digit changing fastest.

    Parameters
    ----------
    levels
        Of each number; their product is the number of codes. The paper recommends at least 5 each:
        (8, 6, 5) for 8 bits, (8, 5, 5, 5) for 10, (7, 5, 5, 5, 5) for 12.

    Notes
    -----
    For an odd number of levels L the bounded number is (L - 1) / 2 * tanh(x), as in the paper; an
    even one is moved by half a step, so that the levels are -L/2 ... L/2 - 1. The published code
    moves the argument of tanh by tan(offset / half); here it is the arctanh, which is what makes
    0 map to 0.
    """

    levels: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or any(level != int(level) or level < 2 for level in levels):
            raise ConfigError(
                "FSQ: levels",
                got=tuple(levels),
                expected="at least one number, each a whole number from 2 on",
                hint="(8, 6, 5) are 240 codes, nearly 8 bits",
            )
        self.register_buffer("levels", torch.tensor([int(level) for level in levels]))
        places = [math.prod(levels[:place]) for place in range(len(levels))]
        self.register_buffer("places", torch.tensor(places))
        self.dim, self.n_codes = len(levels), math.prod(levels)

    @property
    def n_bits(self) -> float:
        """Bits that a code is worth, the logarithm of the product of levels."""
        return math.log2(self.n_codes)

    def bounded(self, x: Tensor) -> Tensor:
        """Return numbers (..., dim) between the lowest and the highest level, not yet rounded."""
        half = (self.levels - 1).to(x.dtype) / 2 + 1e-3  # a hair more, so that the ends are reached
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0).to(x.dtype)
        return torch.tanh(x + torch.atanh(offset / half)) * half - offset

    def forward(self, x: Tensor) -> Quantised:
        """Quantise (batch, dim, ...); there is nothing to learn and no loss.

        Raises
        ------
        ShapeError
            If there is not one number for each entry of ``levels``.
        """
        _check_vectors("FSQ", x, self.dim)
        with without_autocast(x):
            bounded = self.bounded(full_precision(x).movedim(1, -1))
            digits = torch.round(bounded.detach()).long() + self.levels // 2
            half = self.levels // 2
            quantised = straight_through(bounded / half, self._values(digits, bounded.dtype))
        none = torch.zeros((), device=x.device)
        codes = (digits * self.places).sum(dim=-1)
        return Quantised(quantised.movedim(-1, 1).to(x.dtype), codes, none, none, none)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of (batch, dim, ...), (batch, ...)."""
        return self(x.detach()).codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the values of (batch, ...) codes, (batch, dim, ...).

        Raises
        ------
        DataError
            If a code is not from 0 to the product of levels.
        """
        _check_codes(codes, self.n_codes)
        digits = codes[..., None] // self.places % self.levels
        return self._values(digits, torch.get_default_dtype()).movedim(-1, 1)

    def _values(self, digits: Tensor, dtype: torch.dtype) -> Tensor:
        half = self.levels // 2
        return (digits - half).to(dtype) / half

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"levels={tuple(self.levels.tolist())}, {self.n_codes} codes"
