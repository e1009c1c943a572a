"""The exercises of the chapter on TUNe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: a probe that leaves the encoder alone ---------------------------------------------------


def _sigmoid(logits: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-logits))


def _softmax(logits: NDArray) -> NDArray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _fit(
    *,
    encoder_too: bool = False,
    stored: bool = True,
    relu: bool = True,
    answer: Callable[[NDArray], NDArray] = _sigmoid,
    slope: Callable[[NDArray, NDArray], NDArray] = lambda said, y: said - y,
    share: Callable[[NDArray], float] = lambda y: 1 / y.size,
    sign: float = 1.0,
    bias: bool = True,
    once: bool = False,
    at_once: bool = True,
    rows: Callable[[NDArray], NDArray] = lambda each: each,
    give: Callable[[NDArray, NDArray, NDArray], Any] = lambda e, w, b: (e, w, b),
) -> Callable[..., Any]:
    """Return an answer from its choices."""

    def fit_probe(
        encoder: NDArray,
        mean: NDArray,
        deviation: NDArray,
        x: NDArray,
        y: NDArray,
        n_steps: int,
        rate: float,
    ) -> Any:
        encoder = encoder.copy()
        w, b = np.zeros((encoder.shape[1], y.shape[1])), np.zeros(y.shape[1])
        x, y = rows(x), rows(y)
        for _ in range(1 if once else n_steps):
            summed = x @ encoder
            if not stored:
                mean, deviation = summed.mean(axis=0), summed.std(axis=0)
            before = (summed - mean) / deviation
            h = np.maximum(before, 0) if relu else before
            wrong = sign * rate * share(y) * slope(answer(h @ w + b), y)
            back = wrong @ w.T * (before > 0) / deviation
            w = w - h.T @ wrong
            if not at_once:
                wrong = sign * rate * share(y) * slope(answer(h @ w + b), y)
            b = b - bias * wrong.sum(axis=0)
            if encoder_too:
                encoder = encoder - x.T @ back
        return give(encoder, w, b)

    return fit_probe


def _pretrained() -> list[tuple]:
    cases = []
    for index, (n, n_inputs, n_numbers, n_tags, n_steps) in enumerate(
        [(12, 5, 6, 3, 4), (20, 4, 5, 4, 6), (16, 6, 8, 2, 9)]
    ):
        rng = np.random.default_rng([16, 1, index])
        x = rng.normal(0.3, 1.2, size=(n, n_inputs))
        encoder = rng.normal(size=(n_inputs, n_numbers))
        # of pretraining: other recordings, so other statistics
        mean, deviation = rng.normal(0, 0.8, n_numbers), rng.uniform(1.5, 3, n_numbers)
        y = (rng.random((n, n_tags)) < 0.4).astype(float)
        cases.append((encoder, mean, deviation, x, y, n_steps, 1.5))
    return cases


def _entry(got: Any, right: Any, *case: Any) -> str:
    off = [~np.isclose(found, wanted, rtol=1e-4) for found, wanted in zip(got, right, strict=True)]
    which = next((i for i, each in enumerate(off) if each.any()), 1)
    at = np.unravel_index(int(off[which].argmax()), off[which].shape)
    return (
        f"In a hidden case of {len(case[3])} crops, {('encoder', 'W', 'b')[which]}"
        f"[{', '.join(map(str, map(int, at)))}] should be {right[which][at]:.4g} after {case[5]} "
        f"steps and is {got[which][at]:.4g}."
    )


PROBE = Function(
    title="a probe that leaves the encoder alone",
    minutes=20,
    rubric={
        "the probe descends along the gradient of the mean binary cross-entropy": 1,
        "no gradient changes the encoder": 1,
        "the normalisation uses the mean and deviation of pretraining, not of these crops": 1,
    },
    right=_fit(),
    cases=_pretrained,
    returns="the encoder, the weights (numbers, tags) and the biases (tags,) of the probe",
    names=("encoder", "weights", "biases"),
    mistakes={
        "The encoder has changed: the gradient went on into it. Then the score says what it can "
        "learn from labels, not what it had learned without.": _fit(encoder_too=True),
        "You normalise by the mean and deviation of these crops, as in training mode. A crop's "
        "embedding then depends on the others, and on the labelled set: use those that are "
        "given.": _fit(stored=False),
        "The encoder has changed, and it normalises by these crops: it is in training mode. "
        "Nothing of it may follow the labels or the labelled crops.": (
            _fit(encoder_too=True, stored=False)
        ),
        "The probe reads the encoder before its ReLU; the representation is what comes out "
        "behind it.": _fit(relu=False),
        "The difference with the tags is that of the logits. The gradient of the cross-entropy "
        "is sigmoid(logits) - y.": _fit(answer=lambda logits: logits),
        "You take the softmax over tags: then the tags of a track compete, and having two of them "
        "is punished. Each tag has a sigmoid of its own.": _fit(answer=_softmax),
        "This is the gradient of the squared error, with the slope of the sigmoid in it; that of "
        "the cross-entropy has none.": _fit(
            slope=lambda said, y: 2 * (said - y) * said * (1 - said)
        ),
        "The gradient is that of the sum over crops and tags. Take the mean, so that the learning "
        "rate means the same for any batch.": _fit(share=lambda y: 1.0),
        "The mean is over crops, the sum over tags; take the mean over both.": (
            _fit(share=lambda y: 1 / len(y))
        ),
        "The mean is over tags, the sum over crops; take the mean over both.": (
            _fit(share=lambda y: 1 / y.shape[1])
        ),
        "You climb where one should descend: the gradient is subtracted.": _fit(sign=-1.0),
        "The biases never move; they have a gradient, too.": _fit(bias=False),
        "The biases take a gradient at weights that have moved already: compute it once in a step, "
        "before either moves.": _fit(at_once=False),
        "One step is taken; n_steps are asked.": _fit(once=True),
        "You learn from the first crop alone; every step uses all crops.": (
            _fit(rows=lambda each: each[:1])
        ),
        "The weights are transposed, (tags, numbers); asked is (numbers, tags).": (
            _fit(give=lambda e, w, b: (e, w.T, b))
        ),
    },
    differs=_entry,
    praise="Now the score is about the representation, and about nothing that was learned since.",
)

# ---- 2: areas under curves that do not exist ----------------------------------------------------


def _area(has: NDArray, values: NDArray, tie: float = 0.5) -> float:
    ahead = values[has][:, None] - values[~has]
    return float(((ahead > 0) + tie * (ahead == 0)).mean())


def _auc(
    *,
    absent: float | None = None,
    always: float | None = None,
    area: Callable[[NDArray, NDArray], float] = _area,
    weight: Callable[[NDArray], float] = lambda has: 1.0,
) -> Callable[[NDArray, NDArray], float]:
    """Return an answer: the area that stands for a tag that no track has, or that all have."""

    def macro_auc(truth: NDArray, scores: NDArray) -> float:
        areas, weights = [], []
        for has, values in zip(truth.T > 0, scores.T, strict=True):
            given = absent if not has.any() else always if has.all() else area(has, values)
            if given is not None:
                areas.append(given)
                weights.append(weight(has))
        total = sum(weights)
        pairs = zip(areas, weights, strict=True)
        return sum(a * w for a, w in pairs) / total if total else float("nan")

    return macro_auc


def _tags() -> list[tuple[NDArray, NDArray]]:
    cases = []
    for index, (n, n_tags) in enumerate([(9, 6), (14, 8), (20, 7)]):
        rng = np.random.default_rng([16, 2, index])
        share = np.linspace(0.2, 0.7, n_tags)
        truth = (rng.random((n, n_tags)) < share).astype(int)
        truth[0], truth[1] = 0, 1
        truth[:, 2], truth[:, 4] = 0, 1
        truth[:, 5] = 0 if index == 1 else truth[:, 5]
        noise = rng.normal(size=(n, n_tags))
        scores = 1 / (1 + np.exp(-(truth - 0.3 + noise)))
        cases.append((truth, np.round(scores, 1)))  # some are equal
    return cases


def _pooled(truth: NDArray, scores: NDArray) -> float:
    return _area(truth.ravel() > 0, scores.ravel())


AUC = Function(
    title="areas under curves that do not exist",
    minutes=15,
    rubric={
        "the share of pairs, one track with the tag and one without, in the right order": 1,
        "equal scores count half": 1,
        "tags that no track has, or all have, are left out of the mean": 2,
    },
    right=_auc(),
    cases=_tags,
    returns="one number",
    mistakes={
        "A tag that no track has counts 0.5 in your mean, as one that all have. It is not "
        "guessed, it is not asked: leave it out.": _auc(absent=0.5, always=0.5),
        "A tag that no track has counts 0 in your mean, as one that all have; so the mean falls "
        "by what the test side lacks, whatever the network says. Leave both out.": (
            _auc(absent=0.0, always=0.0)
        ),
        "A tag that no track has counts 1 in your mean, as one that all have: nothing was "
        "confused, but nothing was asked, either. Leave both out.": _auc(absent=1.0, always=1.0),
        "Your mean is nan as soon as one tag has no pairs to compare. Leave such tags out.": (
            lambda truth, scores: float("nan")
        ),
        "Tags that no track has are left out; those that all tracks have count 0. They have no "
        "pairs, either.": _auc(always=0.0),
        "Tags that no track has are left out; those that all tracks have count 0.5. They have no "
        "pairs, either.": _auc(always=0.5),
        "Tags that no track has are left out; those that all tracks have count 1. They have no "
        "pairs, either.": _auc(always=1.0),
        "Tags that all tracks have are left out; those that no track has count 0. They have no "
        "pairs, either.": _auc(absent=0.0),
        "Tags that all tracks have are left out; those that no track has count 0.5. They have no "
        "pairs, either.": _auc(absent=0.5),
        "Equal scores count as the right order; they count half.": (
            _auc(area=lambda has, values: _area(has, values, tie=1.0))
        ),
        "Equal scores count as the wrong order; they count half.": (
            _auc(area=lambda has, values: _area(has, values, tie=0.0))
        ),
        "The order is turned round: a pair counts where the track *with* the tag has the higher "
        "score.": _auc(area=lambda has, values: 1 - _area(has, values)),
        "You decide at 0.5 before you compare. The area is about the order of the scores, with no "
        "threshold.": _auc(
            area=lambda has, values: _area(has, (values >= 0.5).astype(float))
        ),
        "You pool all tags into one curve (micro). Then a tag's scores are compared with those of "
        "other tags, and frequent tags decide.": _pooled,
        "The mean is weighted by how many tracks have a tag; each tag counts alike.": (
            _auc(weight=lambda has: float(has.sum()))
        ),
        "You compare within tracks: whether the tags of a track come before the others. Compare "
        "within tags, along the columns.": (
            lambda truth, scores: _auc()(truth.T, scores.T)
        ),
        "This is the accuracy of decisions at 0.5.": (
            lambda truth, scores: float(((scores >= 0.5) == (truth > 0)).mean())
        ),
    },
    edges={
        "No tag has both kinds of tracks: there is nothing to average, return nan.": (
            (np.array([[0, 1], [0, 1]]), np.array([[0.2, 0.4], [0.6, 0.1]])),
            lambda truth, scores: float(np.nan_to_num(_auc()(truth, scores))),
        ),
    },
    crash={
        ZeroDivisionError: (
            "A tag that no track has, or all have, offers no pairs: leave it out before you "
            "divide.",
            lambda truth, scores: 1 / int(truth.sum(axis=0).min() > 0),
        ),
    },
    differs="In a hidden case of {0.shape} tracks and tags the mean area should be {right:.4f} "
    "and is {got:.4f}.",
    praise="What the test side cannot ask is not counted, neither for nor against.",
)  # fmt: skip

# ---- 3: what the blocks of a tail are given -----------------------------------------------------


def _tail(
    *,
    begins: Callable[[int, int, int], int] = lambda f, con, exp: f * 2 ** (con - exp),
    beside_begins: Callable[[int, int, int], int] | None = None,
    joined: Callable[[int, int], bool] = lambda t, n_expansive: t <= n_expansive,
    beside: Callable[[int, int], int] = lambda first, t: first * 2**t,
    width: Callable[[int, int], int] = lambda first, t: first * 2 ** min(t, 5),
    forced: bool = True,
    capped: bool = False,
    frames: Callable[..., int] = lambda n, con, exp, t: n // 3 ** (con - exp + t),
    order: Callable[[int, int], tuple[int, int]] = lambda taken, given: (taken, given),
) -> Callable[..., NDArray]:
    """Return an answer from its choices."""

    def tail(
        n_contractive: int,
        n_expansive: int,
        n_tail: int,
        filters: int,
        representation: int,
        plus: bool,
        n_samples: int,
    ) -> NDArray:
        first = begins(filters, n_contractive, n_expansive)
        side = (beside_begins or begins)(filters, n_contractive, n_expansive)
        rows, before = [], first
        for t in range(1, n_tail + 1):
            after = representation if forced and t == n_tail else width(first, t)
            after = min(after, representation) if capped else after
            more = beside(side, t) if plus and joined(t, n_expansive) else 0
            n_frames = frames(n_samples, n_contractive, n_expansive, t)
            rows.append((*order(before + more, after), n_frames))
            before = after
        return np.array(rows)

    return tail


def _variants() -> list[tuple[int, int, int, int, int, bool, int]]:
    return [
        (4, 4, 9, 11, 512, True, 3**10),
        (4, 2, 2, 35, 512, False, 3**10),
        (5, 3, 7, 6, 200, True, 3**9),
        (6, 6, 4, 9, 300, False, 3**10),
        (4, 3, 6, 7, 100, True, 3**10),
    ]


def _row(got: NDArray, right: NDArray, *case: Any) -> str:
    names = ("channels in", "channels out", "frames")
    t, column = np.argwhere(got != right)[0]
    return (
        f"With {case[0]}, {case[1]}, {case[2]} blocks and {case[3]} filters"
        f"{', TUNe+' if case[5] else ''}, block {t + 1} of the tail should have "
        f"{right[t, column]:g} {names[column]}; you say {got[t, column]:g}."
    )


TAIL = Function(
    title="what the blocks of a tail are given",
    minutes=20,
    rubric={
        "the tail begins where the way up ended: filters times 2 for each pooling not undone": 1,
        "channels double, five times at most, and the last block gives the representation": 1,
        "in TUNe+ the first blocks take the map of their level as well, the bottleneck too": 2,
        "each block divides the number of frames by three before its convolution": 1,
    },
    right=_tail(),
    cases=_variants,
    returns="an array (n_tail, 3): channels in, channels out, frames",
    mistakes={
        "No block takes what the way up had: in TUNe+ those channels are put beside the pooled "
        "ones, and the ratio of channels is 3 to 2.": _tail(joined=lambda t, n: False),
        "Every block of your TUNe+ takes something from the side. Below the bottleneck there is "
        "nothing to take.": _tail(joined=lambda t, n: True),
        "The bottleneck is not joined: it stands at the level of tail block number n_expansive, "
        "which takes it.": _tail(joined=lambda t, n: t < n),
        "What is put beside has half as many channels as it should: at the level of block t the "
        "way up has 2 ** t times those at its end.": (
            _tail(beside=lambda first, t: first * 2 ** (t - 1))
        ),
        "The tail begins with the filters of the first block. A shorter way up ends with more "
        "channels: twice as many for each pooling that is not undone.": (
            _tail(begins=lambda f, con, exp: f)
        ),
        "The tail begins with the channels of the bottleneck; it begins where the way up ended.": (
            _tail(begins=lambda f, con, exp: f * 2**con),
            _tail(
                begins=lambda f, con, exp: f * 2**con,
                beside_begins=lambda f, con, exp: f * 2 ** (con - exp),
            ),
        ),
        "The channels go on doubling. They double five times at most.": (
            _tail(width=lambda first, t: first * 2**t)
        ),
        "You stop doubling where the representation would be exceeded. Only the last block looks "
        "at it; the others double, five times at most.": (
            _tail(width=lambda first, t: first * 2**t, capped=True),
            _tail(capped=True),
        ),
        "The channels stay the same along the tail; they double.": (
            _tail(width=lambda first, t: first)
        ),
        "The last block doubles like the others; it gives as many channels as the representation "
        "has numbers.": _tail(forced=False),
        "Your frames are those before the pooling: each block pools first.": (
            _tail(frames=lambda n, con, exp, t: n // 3 ** (con - exp + t - 1))
        ),
        "Your frames count from the bottleneck on. The tail begins at the level where the way up "
        "ended.": _tail(frames=lambda n, con, exp, t: n // 3 ** (con + t)),
        "Your frames count from the samples on. A way up that is shorter than the way down does "
        "not end at the samples, but n_contractive - n_expansive poolings below.": (
            _tail(frames=lambda n, con, exp, t: n // 3**t)
        ),
        "Pooling is over three frames, not two.": (
            _tail(frames=lambda n, con, exp, t: n // 2 ** (con - exp + t))
        ),
        "The first two columns have changed places: first the channels that go in.": (
            _tail(order=lambda taken, given: (given, taken))
        ),
    },
    differs=_row,
    praise="With these numbers you can draw every variant of the table.",
)

EXERCISES: Mapping[str, Exercise] = {"tune.1": PROBE, "tune.2": AUC, "tune.3": TAIL}
