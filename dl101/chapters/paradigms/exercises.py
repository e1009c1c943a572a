"""The exercises of the chapter on ways of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: where a triplet pushes -------------------------------------------------------------------

Three = tuple[NDArray, NDArray, NDArray]


def _pushes(
    *,
    size: Callable[[int], float] = lambda n: 2 / n,
    distance: Callable[[NDArray], float] = lambda x: float(np.mean(x**2)),
    sign: float = 1.0,
    stops: bool = True,
    with_margin: bool = True,
    anchor: Callable[[NDArray, NDArray, NDArray], NDArray] = lambda a, p, n: p - n,
    positive: Callable[[NDArray, NDArray, NDArray], NDArray] = lambda a, p, n: a - p,
    negative: Callable[[NDArray, NDArray, NDArray], NDArray] = lambda a, p, n: n - a,
) -> Callable[..., Three]:
    """Return the right function (the defaults) or one that pushes otherwise."""

    def answer(a: NDArray, p: NDArray, n: NDArray, margin: float) -> Three:
        loss = distance(a - p) - distance(a - n) + (margin if with_margin else 0.0)
        step = sign * size(len(a)) * (loss > 0 or not stops)
        return step * anchor(a, p, n), step * positive(a, p, n), step * negative(a, p, n)

    return answer


def _triplets() -> list[tuple]:
    rng = np.random.default_rng([181, 1])
    a, p = np.array([0.0, 0.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
    cases: list[tuple] = [
        (a, p, np.array([0.0, 2.0, 1.0, 0.0]), 1.0),  # semi-hard
        (a, p, np.array([0.0, 3.0, 1.0, 0.0]), 1.0),  # easy, if distances are means
        (a, p, np.array([0.0, 0.5, 1.0, 0.0]), 0.2),  # hard
    ]
    cases += [(*rng.standard_normal((3, n)), 0.5) for n in (2, 5, 8)]
    return cases


PUSHES = Function(
    title="where a triplet pushes",
    minutes=20,
    rubric={
        "the negative is pushed away from the anchor, the positive towards it": 1,
        "the anchor is pushed from the negative towards the positive": 1,
        "the size is 2 over the number of numbers, as distances are means": 1,
        "a triplet without a loss pushes nothing": 1,
    },
    right=_pushes(),
    cases=_triplets,
    returns="three arrays, (number,) each",
    mistakes={
        "This is the gradient itself. Descent goes against it: the positive should come nearer, "
        "the negative move away.": _pushes(sign=-1.0),
        "An easy triplet pushes as well. Where the loss is 0 it has no slope, and nothing moves.": (
            _pushes(stops=False)
        ),
        "You left the margin out of the loss: a negative that is only a little farther than the "
        "positive still has to move.": _pushes(with_margin=False),
        "Your distances are sums of squares; a mean is asked, so both the loss and its slope are "
        "divided by the number of numbers.": _pushes(
            size=lambda n: 2.0, distance=lambda x: float(np.sum(x**2))
        ),
        "You divided the loss by the number of numbers, but not its slope.": (
            _pushes(size=lambda n: 2.0)
        ),
        "The factor 2 of a square's derivative is missing.": _pushes(size=lambda n: 1 / n),
        "Your anchor is pushed towards the positive alone. The negative pushes it, too, and the "
        "two parts together are positive - negative.": _pushes(anchor=lambda a, p, n: p - a),
        "Your anchor stays where it is. Both distances depend on it.": (
            _pushes(anchor=lambda a, p, n: 0 * a)
        ),
        "Your negative is pulled towards the anchor.": _pushes(negative=lambda a, p, n: a - n),
        "Your positive is pushed away from the anchor.": _pushes(positive=lambda a, p, n: p - a),
        "Your distances are roots (of the mean of the squares). Without a root, a push grows with "
        "the difference.": lambda a, p, n, margin: _of_roots(a, p, n, margin),
    },
    differs=(
        "With the anchor {0}, the positive {1}, the negative {2} and a margin of {3:g}, the value "
        "at {at} should be {right:.4f}; yours is {got:.4f}."
    ),
    praise="Pull one, push one, and leave alone what is in order.",
)


def _of_roots(a: NDArray, p: NDArray, n: NDArray, margin: float) -> Three:
    near, far = (float(np.sqrt(np.mean((a - x) ** 2))) for x in (p, n))
    active = near - far + margin > 0
    to_positive, from_negative = (p - a) / (near * len(a)), (a - n) / (far * len(a))
    pushes = to_positive + from_negative, -to_positive, -from_negative
    return tuple(active * push for push in pushes)  # type: ignore[return-value]


# ---- 2: two rivals -------------------------------------------------------------------------------


def _relu(x: NDArray) -> NDArray:
    return np.maximum(x, 0.0)


def rivals(real: NDArray, made: NDArray) -> tuple[float, float]:
    """Return the hinge losses of the judge and of the maker."""
    return _relu(1 - real).mean() + _relu(1 + made).mean(), _relu(1 - made).mean()


def _scores() -> list[tuple]:
    rng = np.random.default_rng([181, 2])
    cases: list[tuple] = [(np.array([0.5, 2.0]), np.array([-2.0, 0.0, 3.0]))]
    cases += [
        (1.5 * rng.standard_normal(n), 1.5 * rng.standard_normal(m)) for n, m in ((4, 7), (9, 5))
    ]
    return cases


RIVALS = Function(
    title="two rivals",
    minutes=10,
    rubric={
        "the judge wants real scores above 1 and made ones below -1, and no more": 1,
        "the maker wants the scores of what it made above 1": 1,
        "means, not sums, each over its own scores": 1,
    },
    right=rivals,
    cases=_scores,
    returns="two numbers, the judge's loss and the maker's",
    names=("judge", "maker"),
    mistakes={
        "The two losses are in the other order: the judge's comes first.": (
            lambda real, made: rivals(real, made)[::-1]
        ),
        "Your judge takes real for made and made for real: it pays where real scores are high.": (
            lambda real, made: (
                _relu(1 + real).mean() + _relu(1 - made).mean(),
                rivals(real, made)[1],
            )
        ),
        "Your maker wants its scores *low*: that is what the judge wants of them.": (
            lambda real, made: (rivals(real, made)[0], _relu(1 + made).mean())
        ),
        "Your maker pays for the real sounds as well. It can change what it made, nothing else.": (
            lambda real, made: (
                rivals(real, made)[0],
                _relu(1 - made).mean() + _relu(1 + real).mean(),
            )
        ),
        "Your maker's loss is that of the real sounds. It can change what it made, nothing else.": (
            lambda real, made: (rivals(real, made)[0], _relu(1 - real).mean())
        ),
        "Your maker takes minus the mean score, without a hinge. It is used, too, but here it is "
        "content with 1.": lambda real, made: (rivals(real, made)[0], -made.mean()),
        "Your maker takes the judge's loss with the other sign. Then its slope vanishes where "
        "the judge is sure of itself.": lambda real, made: (
            rivals(real, made)[0],
            -rivals(real, made)[0],
        ),
        "You add scores up; the mean is asked, so that batches of any size count alike.": (
            lambda real, made: (
                _relu(1 - real).sum() + _relu(1 + made).sum(),
                _relu(1 - made).sum(),
            )
        ),
        "The judge's two parts are averaged; here they are added.": (
            lambda real, made: (rivals(real, made)[0] / 2, rivals(real, made)[1])
        ),
        "You take the mean of all the judge's scores at once. Real and made ones have a mean each, "
        "and the two are added.": lambda real, made: (
            np.concatenate([_relu(1 - real), _relu(1 + made)]).mean(),
            rivals(real, made)[1],
        ),
        "The hinge is missing: scores beyond 1 (or -1) should be no better than 1.": (
            lambda real, made: ((1 - real).mean() + (1 + made).mean(), (1 - made).mean())
        ),
        "The 1 is missing: the hinge is at scores of 1 and -1, not at 0.": (
            lambda real, made: (_relu(-real).mean() + _relu(made).mean(), _relu(-made).mean())
        ),
    },
    differs="With the real scores {0} and the made ones {1}: {right:.4f} at {at}, yours {got:.4f}.",
    praise="Each wants what the other does not, and both stop at 1.",
)

# ---- 3: one step towards the sound ---------------------------------------------------------------

Step = Callable[[NDArray, NDArray, float, float], NDArray]


def less_noise(x: NDArray, z: NDArray, now: float, then: float) -> NDArray:
    """Return the next state: the sound that is left of x without z, mixed anew."""
    return np.sqrt(then) * _sound(x, z, now) + np.sqrt(1 - then) * z


def _sound(x: NDArray, z: NDArray, now: float) -> NDArray:
    return (x - np.sqrt(1 - now) * z) / np.sqrt(now)


def _states() -> list[tuple]:
    rng = np.random.default_rng([181, 3])
    cases: list[tuple] = [(np.array([[1.0, -0.5]]), np.array([[0.5, 0.5]]), 0.36, 0.64)]
    for shape, now, then in (((3, 2), 0.1, 0.3), ((6, 1), 0.5, 0.9), ((4, 2), 0.02, 0.2)):
        cases.append((*rng.standard_normal((2, *shape)), now, then))
    return cases


STEP = Function(
    title="one step towards the sound",
    minutes=15,
    rubric={
        "the noise is taken away with the root of its share of the variance": 1,
        "what is left is divided by the root of the sound's share": 1,
        "the same noise is mixed in again, with the shares after the step": 1,
    },
    right=less_noise,
    cases=_states,
    returns="an array of the shape of x",
    mistakes={
        "now and then are exchanged: that adds noise.": (
            lambda x, z, now, then: less_noise(x, z, then, now)
        ),
        "You return the sound that the network sees in x, all noise taken away at once. Mix it "
        "with less noise again: that is the step.": lambda x, z, now, then: _sound(x, z, now),
        "Shares of the variance are not amplitudes: take their roots.": (
            lambda x, z, now, then: then * (x - (1 - now) * z) / now + (1 - then) * z
        ),
        "You don't divide by the root of now: x holds the sound scaled down.": (
            lambda x, z, now, then: (
                np.sqrt(then) * (x - np.sqrt(1 - now) * z) + np.sqrt(1 - then) * z
            )
        ),
        "No noise is mixed in again: the sound is scaled for the next step, but alone.": (
            lambda x, z, now, then: np.sqrt(then) * _sound(x, z, now)
        ),
        "You mix the noise in with its share before the step: take 1 - then.": (
            lambda x, z, now, then: np.sqrt(then) * _sound(x, z, now) + np.sqrt(1 - now) * z
        ),
        "You don't scale the sound when you mix again: the root of then is missing.": (
            lambda x, z, now, then: _sound(x, z, now) + np.sqrt(1 - then) * z
        ),
        "You mix x itself, with all its noise, again. First take the noise away.": (
            lambda x, z, now, then: np.sqrt(then) * x + np.sqrt(1 - then) * z
        ),
        "You took the root of then for the noise as 1 - sqrt(then). The two *squares* add up to "
        "1.": lambda x, z, now, then: np.sqrt(then) * _sound(x, z, now) + (1 - np.sqrt(then)) * z,
        "You add the noise where it should be taken away.": (
            lambda x, z, now, then: (
                np.sqrt(then) * (x + np.sqrt(1 - now) * z) / np.sqrt(now) + np.sqrt(1 - then) * z
            )
        ),
    },
    differs=(
        "With x = {0}, z = {1}, now = {2:g} and then = {3:g}, the value at {at} should be "
        "{right:.4f}; yours is {got:.4f}."
    ),
    praise="Take away, mix less: thirty of these make a sound of noise.",
)

EXERCISES: Mapping[str, Exercise] = {
    "paradigms.1": PUSHES,
    "paradigms.2": RIVALS,
    "paradigms.3": STEP,
}
