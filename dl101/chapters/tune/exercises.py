"""The exercises of the chapter on TUNe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dl101.lab.exercise import Behaviour, Exercise, Function, NotAccepted

# ---- 1: a probe that leaves the encoder alone ---------------------------------------------------

N_STEPS, RATE = 12, 0.5
FitProbe = Callable[..., Any]


def _fit(
    *,
    trained: Callable[[nn.Module, nn.Module], list] = lambda encoder, probe: [*probe.parameters()],
    frozen: Callable[[nn.Module], Any] = lambda encoder: encoder.eval(),
    detached: bool = True,
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.binary_cross_entropy_with_logits,
    forget: bool = True,
    step: bool = True,
    up: bool = False,
    kept: Callable[[list], Any] = lambda losses: losses,
) -> FitProbe:
    """Return an answer from its choices."""

    def fit_probe(
        encoder: nn.Module, probe: nn.Module, x: Tensor, y: Tensor, n_steps: int, rate: float
    ) -> Any:
        frozen(encoder)
        optimiser = torch.optim.SGD(trained(encoder, probe), lr=rate, maximize=up)
        losses = []
        for _ in range(n_steps):
            with torch.set_grad_enabled(not detached):
                found = encoder(x)
            loss = loss_of(probe(found), y)
            losses.append(loss.item())
            if forget:
                optimiser.zero_grad()
            loss.backward()
            if step:
                optimiser.step()
        return kept(losses)

    return fit_probe


def _setting() -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """Return a small encoder with a batch normalisation, a probe, crops and tags."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Conv1d(1, 6, 3, padding=1),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
        )
        nn.init.normal_(encoder[1].running_mean, 0, 0.3)
        probe = nn.Linear(6, 4)
        x = torch.randn(16, 1, 30) * torch.linspace(0.3, 2, 16)[:, None, None]
        y = (torch.rand(16, 4) < torch.linspace(0.1, 0.9, 16)[:, None]).float()
    return encoder, probe, x, y


def _learned(call: FitProbe, answer: object) -> dict[str, Any]:
    """Train a probe, and return what became of everything."""
    encoder, probe, x, y = _setting()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    first = {key: value.clone() for key, value in probe.state_dict().items()}
    result = call(encoder, probe, x, y, N_STEPS, RATE)
    try:
        losses = np.array([float(value) for value in result])
    except (TypeError, ValueError):
        raise NotAccepted("Return the losses of all steps, a list of numbers.") from None
    after = encoder.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    return {
        "losses": losses,
        "weights": {key for key in changed if key.endswith(("weight", "bias"))},
        "statistics": changed,
        "gradients": any(p.grad is not None for p in encoder.parameters()),
        "moved": any(not torch.equal(first[key], probe.state_dict()[key]) for key in first),
        "right": np.array(_fit()(*_setting(), N_STEPS, RATE)),
    }


def _like(**choices: Any) -> tuple[Callable[[Mapping], bool], FitProbe]:
    """Return a fault that shows in the losses: they are those of an answer with such choices."""
    made = _fit(**choices)

    def shows(seen: Mapping) -> bool:
        wrong = np.array(made(*_setting(), N_STEPS, RATE))
        return len(seen["losses"]) == N_STEPS and bool(
            np.allclose(seen["losses"], wrong, rtol=1e-4)
            and not np.allclose(seen["losses"], seen["right"], rtol=1e-4)
        )

    return shows, made


def _one_answer(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y / y.sum(dim=1, keepdim=True).clamp_min(1))


def _some_seen(seen: Mapping) -> Mapping[str, Any] | None:
    if len(seen["losses"]) != N_STEPS or np.allclose(seen["losses"], seen["right"], rtol=1e-4):
        return None
    i = int(np.argmin(np.isclose(seen["losses"], seen["right"], rtol=1e-4)))
    return {"i": i, "got": seen["losses"][i], "right": seen["right"][i]}


PROBE = Behaviour(
    title="a probe that leaves the encoder alone",
    minutes=20,
    rubric={
        "the optimiser is given the parameters of the probe and no others": 1,
        "the encoder runs in evaluation mode: no statistic of a normalisation moves": 1,
        "no gradient reaches the encoder, and the losses are those of the probe": 1,
    },
    observe=_learned,
    faults={
        "The encoder's weights have changed. Then the score says what the encoder can learn from "
        "labels, not what it had learned without: give the optimiser the probe's parameters "
        "only.": (
            lambda seen: bool(seen["weights"]),
            _fit(trained=lambda encoder, probe: [*encoder.parameters(), *probe.parameters()],
                 detached=False),
        ),
        "The encoder's weights are as they were, but the running means of its normalisations have "
        "moved: it ran in training mode. Call encoder.eval() first; then a crop's embedding does "
        "not depend on the other crops, either.": (
            lambda seen: bool(seen["statistics"]),
            _fit(frozen=lambda encoder: None),
        ),
        "The encoder stays as it is, yet gradients are computed for it: they cost as much as "
        "training it, and lie there for the next optimiser. Run it under torch.no_grad().": (
            lambda seen: seen["gradients"],
            _fit(detached=False),
        ),
        "Return the loss of every step, before its update: n_steps numbers.": (
            lambda seen: seen["losses"].shape != (N_STEPS,),
            _fit(kept=lambda losses: losses[-1:]),
        ),
        "The probe is what it was before: it must learn. Are loss.backward() and "
        "optimiser.step() called?": (
            lambda seen: not seen["moved"],
            _fit(step=False),
        ),
        "The gradients of all steps add up: call optimiser.zero_grad() before each "
        "backward().": _like(forget=False),
        "The loss grows: you climb where one should descend.": _like(up=True),
        "A sigmoid is applied twice: binary_cross_entropy_with_logits has one of its own. Give it "
        "the logits.": _like(
            loss_of=lambda logits, y: F.binary_cross_entropy_with_logits(logits.sigmoid(), y)
        ),
        "You take the softmax over tags: then the tags of a track compete, and having two of them "
        "is punished. Each tag has a sigmoid of its own.": _like(loss_of=_one_answer),
        "You take the squared error of the sigmoids; asked is the binary cross-entropy.": _like(
            loss_of=lambda logits, y: F.mse_loss(logits.sigmoid(), y)
        ),
        "The losses are added up over crops and tags; take the mean, so that the learning rate "
        "means the same for any batch.": _like(
            loss_of=lambda logits, y: F.binary_cross_entropy_with_logits(
                logits, y, reduction="sum"
            )
        ),
        "The loss of step {i} should be {right:.4f} and is {got:.4f}. All crops are used in every "
        "step, with plain gradient descent: torch.optim.SGD.": (
            _some_seen,
            lambda encoder, probe, x, y, n, rate: _fit()(encoder, probe, x[:8], y[:8], n, rate),
        ),
    },
    praise="Now the score is about the representation, and about nothing that was learned since.",
)  # fmt: skip

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
    joined: Callable[[int, int], bool] = lambda t, n_expansive: t <= n_expansive,
    beside: Callable[[int, int], int] = lambda first, t: first * 2**t,
    width: Callable[[int, int], int] = lambda first, t: first * 2 ** min(t, 5),
    forced: bool = True,
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
        rows, before = [], first
        for t in range(1, n_tail + 1):
            after = representation if forced and t == n_tail else width(first, t)
            more = beside(first, t) if plus and joined(t, n_expansive) else 0
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
            _tail(begins=lambda f, con, exp: f * 2**con)
        ),
        "The channels go on doubling. They double five times at most.": (
            _tail(width=lambda first, t: first * 2**t)
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
