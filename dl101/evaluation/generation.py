"""How near generated sounds come to real ones, when no single right answer exists.

Conventions: a set of sounds is an array of embeddings (items, dimensions), one row a sound, from
any function of :mod:`dl101.evaluation.embeddings`; ``reference`` are real sounds, ``generated``
those that are judged. All functions work in double precision, draw nothing at random unless they
take a ``seed``, and refuse embeddings that are not finite or too few to say anything.

Distances of whole sets: Fréchet (Heusel et al., GANs trained by a two time-scale update rule, 2017;
for audio Kilgour et al., 2019) and the kernel distance KID (Bińkowski et al., Demystifying MMD
GANs, 2018). Counts of neighbours: precision and recall (Kynkäänniemi et al., 2019), density and
coverage (Naeem et al., 2020), memorisation (Meehan et al., 2020). The inception score (Salimans et
al., 2016) asks a classifier instead and takes probabilities (items, classes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError
from dl101.units import hz_to_midi

Matrix = NDArray[np.float64]


def embeddings_of(values: ArrayLike, name: str, *, at_least: int = 1) -> Matrix:
    """Return embeddings as a finite (items, dimensions) array in double precision.

    Raises
    ------
    DataError
        If the shape is another, a value is not finite, or there are fewer items than ``at_least``.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] == 0:
        raise DataError(
            f"embeddings of the {name} set",
            got=f"shape {found.shape}",
            expected="(items, dimensions)",
            hint="give one row to each sound; average over time first",
        )
    if len(found) < at_least:
        raise DataError(
            f"embeddings of the {name} set",
            got=f"{len(found)} items",
            expected=f"at least {at_least}",
            hint="judge more sounds",
        )
    n_bad = int(np.count_nonzero(~np.isfinite(found).all(axis=1)))
    if n_bad:
        raise DataError(
            f"embeddings of the {name} set",
            got=f"{n_bad} items with NaN or infinite values",
            expected="finite numbers",
            hint="find the sounds with np.isfinite(embeddings).all(axis=1)",
        )
    return found


def _pair(reference: ArrayLike, generated: ArrayLike, at_least: int) -> tuple[Matrix, Matrix]:
    real = embeddings_of(reference, "reference", at_least=at_least)
    fake = embeddings_of(generated, "generated", at_least=at_least)
    if real.shape[1] != fake.shape[1]:
        raise DataError(
            "embeddings",
            got=f"{real.shape[1]} dimensions and {fake.shape[1]}",
            expected="as many dimensions in both sets",
            hint="embed both sets with the same function",
        )
    return real, fake


# --- Fréchet distance ---


def frechet_distance_of_gaussians(
    mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike
) -> float:
    r"""Return the squared Fréchet (2-Wasserstein) distance of two Gaussians.

    :math:`\|\mu_a - \mu_b\|^2 + \mathrm{Tr}(\Sigma_a + \Sigma_b - 2(\Sigma_a\Sigma_b)^{1/2})`
    (Dowson and Landau, 1982). :math:`\Sigma_a\Sigma_b` is not symmetric, and where a covariance is
    singular its square root by iteration fails or becomes complex. With
    :math:`\Sigma_a = A^\top A` and :math:`\Sigma_b = B^\top B`, the trace of the root is the sum of
    the singular values of :math:`A B^\top`, which is always real.

    Parameters
    ----------
    mean_a, mean_b
        (dimensions,).
    covariance_a, covariance_b
        (dimensions, dimensions), symmetric, positive semidefinite; may be singular.

    Raises
    ------
    DataError
        If shapes do not agree, or a covariance is not symmetric or has a negative eigenvalue.
    """
    means = [np.asarray(mean, dtype=np.float64) for mean in (mean_a, mean_b)]
    roots = [_root(covariance, means[0]) for covariance in (covariance_a, covariance_b)]
    if means[0].shape != means[1].shape:
        raise DataError(
            "means of two Gaussians",
            got=f"{means[0].shape} and {means[1].shape}",
            expected="as many dimensions",
            hint="embed both sets with the same function",
        )
    return _frechet(means[0], roots[0], means[1], roots[1])


def _root(covariance: ArrayLike, mean: Matrix) -> Matrix:
    """Return ``A`` with ``A.T @ A`` equal to the covariance."""
    matrix = np.asarray(covariance, dtype=np.float64)
    size = float(np.abs(matrix).max(initial=0.0))
    square = matrix.shape == (mean.size, mean.size)
    values, vectors = np.linalg.eigh(matrix) if square else (np.full(1, -np.inf), None)
    if (
        not square
        or not np.allclose(matrix, matrix.T, atol=1e-8 * size)
        or values[0] < -1e-6 * size
    ):
        raise DataError(
            "covariance",
            got=f"shape {matrix.shape}" if not square else f"smallest eigenvalue {values[0]:.3g}",
            expected=f"a symmetric matrix of {mean.size} rows without negative eigenvalues",
            hint="use np.cov(embeddings, rowvar=False)",
        )
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _frechet(mean_a: Matrix, root_a: Matrix, mean_b: Matrix, root_b: Matrix) -> float:
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.sum(root_a**2) + np.sum(root_b**2) - 2.0 * shared
    return float(np.sum((mean_a - mean_b) ** 2) + max(spread, 0.0))  # below 0 by rounding only


def _gaussian(items: Matrix) -> tuple[Matrix, Matrix]:
    """Return the mean of a set, and ``A`` with ``A.T @ A`` equal to its unbiased covariance."""
    mean = items.mean(axis=0)
    root = (items - mean) / np.sqrt(len(items) - 1)
    if len(root) > root.shape[1]:
        root = np.linalg.qr(root, mode="r")  # as many rows as dimensions, the same product
    return mean, root


def frechet_distance(reference: ArrayLike, generated: ArrayLike) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to two sets: FAD, for audio.

    0 for equal means and covariances. Sets of one distribution have a distance above 0, the more so
    the fewer items there are for each dimension: see :func:`frechet_infinity`. Fewer items than
    dimensions are computed without loss, and biased most.

    Parameters
    ----------
    reference, generated
        (items, dimensions), at least two items each.

    Raises
    ------
    DataError
        For embeddings of another shape, not finite, or a single item.
    """
    real, fake = _pair(reference, generated, at_least=2)
    return _frechet(*_gaussian(real), *_gaussian(fake))


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """Fréchet distances of subsets, and the line through them.

    Attributes
    ----------
    sizes, distances
        (draws,) items in a subset, and its distance to the reference.
    at_infinity
        Where the line reaches 1 / size = 0.
    slope
        Of distance against 1 / size.
    """

    sizes: NDArray[np.int64]
    distances: Matrix
    at_infinity: float
    slope: float


def frechet_infinity(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    sizes: Sequence[int] | None = None,
    n_draws: int = 3,
    both: bool = False,
    seed: int = 0,
) -> Extrapolation:
    """Extrapolate the Fréchet distance to infinitely many items.

    The bias falls nearly as 1 / items (Chong and Forsyth, Effectively unbiased FID and inception
    score, 2020; for audio Gui et al., 2024): distances of random subsets lie near a line over
    1 / items, whose end at 0 is the answer. It may be a little below 0 for a perfect generator.

    Parameters
    ----------
    reference, generated
        (items, dimensions).
    sizes
        Of the subsets; by default eight from a quarter of the (smaller) set to all of it, evenly
        spaced along 1 / items.
    n_draws
        Subsets of each size, drawn without replacement.
    both
        Draw subsets of the reference, too: for a reference that is no larger than the generated
        set, whose own bias would else remain. By default it stays whole.
    seed
        Of the draws.

    Raises
    ------
    DataError
        For unfit embeddings, or if fewer than two different sizes between 2 and all are given.
    """
    real, fake = _pair(reference, generated, at_least=2)
    n = min(len(real), len(fake)) if both else len(fake)
    if sizes is None:
        sizes = np.round(1.0 / np.linspace(4.0 / n, 1.0 / n, 8)).astype(int)
    chosen = np.asarray(sizes, dtype=np.int64)
    if len(set(chosen.tolist())) < 2 or chosen.min() < 2 or chosen.max() > n:
        raise DataError(
            "frechet_infinity: sizes",
            got=str(chosen.tolist()),
            expected=f"at least two different numbers from 2 to {n}",
            hint="generate more sounds, or list smaller sizes",
        )
    rng = np.random.default_rng(seed)
    drawn = np.repeat(chosen, n_draws)
    whole = _gaussian(real)

    def drawn_distance(size: int) -> float:
        part = fake[rng.permutation(len(fake))[:size]]
        known = _gaussian(real[rng.permutation(len(real))[:size]]) if both else whole
        return _frechet(*known, *_gaussian(part))

    distances = np.array([drawn_distance(size) for size in drawn])
    slope, at_infinity = np.polyfit(1.0 / drawn, distances, 1)
    return Extrapolation(drawn, distances, float(at_infinity), float(slope))


# --- kernel distance ---


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    standard_error: float


def kernel_distance(reference: ArrayLike, generated: ArrayLike, *, degree: int = 3) -> Estimate:
    r"""Return KID: the unbiased squared maximum mean discrepancy, with its standard error.

    The kernel is :math:`k(x, y) = (x^\top y / d + 1)^3` for d dimensions. The estimate is the
    U-statistic (Gretton et al., A kernel two-sample test, 2012, eq. 3): no item is compared with
    itself, and so the mean over many sets of one distribution is 0. Single values may be below, and
    that of a set with a copy of itself is. The standard error is the jackknife's: how much the
    estimate changes when one item is left out, which takes no more than the sums of rows of the
    kernel.

    Parameters
    ----------
    reference, generated
        (items, dimensions), at least three items each.
    degree
        Of the polynomial.

    Raises
    ------
    DataError
        For unfit embeddings.
    """
    real, fake = _pair(reference, generated, at_least=3)
    n, m, d = len(real), len(fake), real.shape[1]

    def kernel(x: Matrix, y: Matrix) -> Matrix:
        return (x @ y.T / d + 1.0) ** degree

    def without_diagonal(x: Matrix) -> tuple[Matrix, float]:
        matrix = kernel(x, x)
        np.fill_diagonal(matrix, 0.0)
        rows = matrix.sum(axis=1)
        return rows, float(rows.sum())

    rows_real, sum_real = without_diagonal(real)
    rows_fake, sum_fake = without_diagonal(fake)
    between = kernel(real, fake)
    sum_between = float(between.sum())

    def estimate(a: ArrayLike, b: ArrayLike, ab: ArrayLike, n: int, m: int) -> Matrix:
        return np.asarray(a) / (n * (n - 1)) + np.asarray(b) / (m * (m - 1)) - 2 * ab / (n * m)

    value = float(estimate(sum_real, sum_fake, sum_between, n, m))
    left_real = estimate(
        sum_real - 2 * rows_real, sum_fake, sum_between - between.sum(axis=1), n - 1, m
    )
    left_fake = estimate(
        sum_real, sum_fake - 2 * rows_fake, sum_between - between.sum(axis=0), n, m - 1
    )
    variance = (n - 1) * left_real.var() + (m - 1) * left_fake.var()
    return Estimate(value, float(np.sqrt(variance)))


# --- inception score ---


def inception_score(probabilities: ArrayLike) -> float:
    r"""Return the inception score: :math:`\exp(\mathbb{E}_x\,\mathrm{KL}(p(y|x)\,\|\,p(y)))`.

    1 at the least (all answers equal), the number of classes at the most (each item is surely of
    one class, all classes equally often). Real sounds are not looked at.

    Parameters
    ----------
    probabilities
        (items, classes): what a classifier says of each item; rows sum to 1.

    Raises
    ------
    DataError
        If a row is no distribution.
    """
    p = embeddings_of(probabilities, "generated")
    if p.min() < -1e-6 or not np.allclose(p.sum(axis=1), 1.0, atol=1e-4):
        raise DataError(
            "inception score",
            got=f"rows that sum to {p.sum(axis=1).min():.3g} up to {p.sum(axis=1).max():.3g}",
            expected="probabilities that sum to 1 over the classes",
            hint="apply a softmax to the logits",
        )
    p = np.maximum(p, 0.0)
    p /= p.sum(axis=1, keepdims=True)
    ratio = np.divide(p, p.mean(axis=0), out=np.ones_like(p), where=p > 0)
    return float(np.exp(np.sum(p * np.log(ratio), axis=1).mean()))


# --- neighbours ---


def distances_between(a: Matrix, b: Matrix) -> Matrix:
    """Return the Euclidean distance of each row of ``a`` to each row of ``b``."""
    import scipy.spatial.distance

    return scipy.spatial.distance.cdist(a, b)  # of differences: exactly 0 for a copy


def neighbour_radii(items: Matrix, k: int) -> Matrix:
    """Return the distance of each item to its k-th nearest neighbour among the others, (items,)."""
    if not 1 <= k < len(items):
        raise DataError(
            "neighbours",
            got=f"k = {k} for {len(items)} items",
            expected="k of at least 1, and more than k items in each set",
            hint="judge more sounds or take a smaller k",
        )
    own = distances_between(items, items)
    np.fill_diagonal(own, np.inf)
    return np.partition(own, k - 1, axis=1)[:, k - 1]


def precision_recall(
    reference: ArrayLike, generated: ArrayLike, *, k: int = 3
) -> tuple[float, float]:
    """Return precision and recall of a generated set (Kynkäänniemi et al., 2019, eq. 2 and 3).

    Around each item of a set lies a ball that reaches to its k-th nearest neighbour in that set;
    the balls together are where the set is. Precision is the share of generated items among the
    balls of the reference: how many are realistic. Recall is the share of reference items among the
    balls of the generated set: how much of what is real can be generated.

    Parameters
    ----------
    reference, generated
        (items, dimensions), more than k items each; equally many, for values that compare.
    k
        Which neighbour.

    Raises
    ------
    DataError
        For unfit embeddings or k.
    """
    real, fake = _pair(reference, generated, at_least=2)
    between = distances_between(real, fake)
    in_real = between <= neighbour_radii(real, k)[:, None]
    in_fake = between <= neighbour_radii(fake, k)[None, :]
    return float(in_real.any(axis=0).mean()), float(in_fake.any(axis=1).mean())


def density_coverage(
    reference: ArrayLike, generated: ArrayLike, *, k: int = 5
) -> tuple[float, float]:
    """Return density and coverage of a generated set (Naeem et al., 2020, eq. 3 and 4).

    Density counts in how many balls of the reference a generated item lies, on average over items
    and divided by k; about 1 for a perfect generator, and it may be more. Coverage is the share of
    reference balls that hold a generated item. Neither draws balls around generated items, whose
    outliers make recall too large.

    Parameters
    ----------
    reference, generated
        (items, dimensions), more than k reference items.
    k
        Which neighbour.

    Raises
    ------
    DataError
        For unfit embeddings or k.
    """
    real, fake = _pair(reference, generated, at_least=1)
    inside = distances_between(real, fake) <= neighbour_radii(real, k)[:, None]
    return float(inside.sum(axis=0).mean() / k), float(inside.any(axis=1).mean())


def nearest(generated: ArrayLike, training: ArrayLike) -> tuple[Matrix, NDArray[np.int64]]:
    """Return for each generated item the distance to the nearest training item, and which it is."""
    known, fake = _pair(training, generated, at_least=1)
    between = distances_between(fake, known)
    index = between.argmin(axis=1)
    return between[np.arange(len(fake)), index], index


def memorisation(generated: ArrayLike, training: ArrayLike, held_out: ArrayLike) -> float:
    """Return how often a generated item lies nearer to the training set than a held-out real one.

    A half for a perfect generator, 1 for one that copies; ties count a half. This is the
    Mann-Whitney statistic of Meehan et al. (A non-parametric test to detect data-copying in
    generative models, 2020), without their cells. Below a half, the items lie far from all that was
    trained on: they are novel, or bad.

    Parameters
    ----------
    generated, training, held_out
        (items, dimensions); held-out items are real ones, of the same kind, that no training saw.
    """
    near, _ = nearest(generated, training)
    usual, _ = nearest(held_out, training)
    nearer = np.mean(near[:, None] < usual[None, :])
    return float(nearer + 0.5 * np.mean(near[:, None] == usual[None, :]))


NEAR_SEMITONES = 1 / 3  # of the pitch that was asked for: it counts as played


def heard_midi(sound: ArrayLike, sample_rate: int) -> float:
    """Return the pitch of a note as a MIDI number, by a tracker that no generator has seen.

    The median of YIN (de Cheveigné and Kawahara, 2002) between 30 and 4200 Hz, over the frames
    within 20 dB of the loudest one.

    Parameters
    ----------
    sound
        (samples,), one note.
    sample_rate
        In Hz, at least 16,000.
    """
    import librosa

    audio = np.asarray(sound, dtype=np.float32)
    curve = librosa.yin(audio, fmin=30.0, fmax=4200.0, sr=sample_rate)
    level = librosa.feature.rms(y=audio)[0][: curve.size]
    return float(np.median(hz_to_midi(curve[level > 0.1 * level.max()])))


def plays_as_asked(
    sounds: Iterable[ArrayLike], sample_rate: int, asked_midi: ArrayLike
) -> NDArray[np.bool_]:
    """Return for each note whether it is heard within a third of a semitone of what was asked.

    Parameters
    ----------
    sounds, sample_rate
        Notes as :func:`heard_midi` takes them.
    asked_midi
        (items,), the pitches that were asked for.
    """
    heard = np.array([heard_midi(sound, sample_rate) for sound in sounds])
    return np.abs(heard - np.asarray(asked_midi)) < NEAR_SEMITONES
