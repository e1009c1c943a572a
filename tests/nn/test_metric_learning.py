"""Mining and losses against loops over all triplets of a batch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dl101.nn import metric_learning as metric

MINING = ("random", "easy", "semi-hard", "hard")


def batch(seed: int, *, n: int = 14, n_works: int = 5, numbers: int = 6):
    """Return embeddings and works; some works have one version."""
    generator = torch.Generator().manual_seed(seed)
    works = torch.randint(n_works, (n,), generator=generator)
    return torch.randn(n, numbers, generator=generator, dtype=torch.float64), works


def members(works, anchor):
    """Return the positives and the negatives of an item, from the definition."""
    n = len(works)
    return (
        {i for i in range(n) if i != anchor and works[i] == works[anchor]},
        {i for i in range(n) if works[i] != works[anchor]},
    )


def allowed(distances, works, anchor, mining, margin):
    """Return every (positive, negative) that a rule may choose for an anchor."""
    positives, negatives = members(works, anchor)
    row = distances[anchor].tolist()
    pairs = set(itertools.product(positives, negatives))
    if mining == "easy":
        return {(min(positives, key=row.__getitem__), max(negatives, key=row.__getitem__))}
    if mining == "hard":
        return {(max(positives, key=row.__getitem__), min(negatives, key=row.__getitem__))}
    if mining == "random":
        return pairs
    found = set()
    for p in positives:
        band = {n for n in negatives if row[p] < row[n] < row[p] + margin}
        beyond = {n for n in negatives if row[n] > row[p]}
        if not band:
            band = {
                min(beyond, key=row.__getitem__) if beyond else max(negatives, key=row.__getitem__)
            }
        found |= {(p, n) for n in band}
    return found


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_what_is_chosen_is_what_the_rule_allows_and_all_of_it(mining, seed, margin):
    embeddings, works = batch(seed)
    distances = metric.squared_distances(embeddings)
    anchors = [i for i in range(len(works)) if all(members(works, i))]
    seen = {i: set() for i in anchors}
    for draw in range(300 if mining in ("random", "semi-hard") else 1):
        generator = torch.Generator().manual_seed(draw)
        triplets = metric.mine(distances, works, mining, margin=margin, generator=generator)
        assert triplets.anchor.tolist() == anchors
        for a, p, n in zip(*(part.tolist() for part in triplets[:3]), strict=True):
            seen[a].add((p, n))
    for anchor, pairs in seen.items():
        rule = allowed(distances, works, anchor, mining, margin)
        assert pairs <= rule
        assert len(pairs) > 0.8 * len(rule)


def test_semi_hard_says_where_it_fell_back():
    """One anchor, P = 1: negatives only beyond the margin, only before P, or inside the band."""
    works = torch.tensor([0, 0, 1, 2])
    for others, chosen, fell_back in (
        ((2.5, 9.0), 2.5, True),
        ((0.2, 0.7), 0.7, True),
        ((0.2, 1.5), 1.5, False),
        ((1.0, 2.0), 2.0, True),  # P < N < P + margin: both borders are outside
    ):
        distances = torch.zeros(4, 4)
        distances[0] = torch.tensor([0.0, 1.0, *others])
        triplets = metric.mine(distances, works, "semi-hard", margin=1.0)
        assert distances[0, triplets.negative[0]] == chosen
        assert triplets.fell_back[0] == fell_back
        assert not metric.mine(distances, works, "hard").fell_back.any()


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("works", [[0, 1, 2], [0, 0, 0], [0]])
def test_a_batch_without_a_triplet_costs_nothing(mining, works):
    works = torch.tensor(works)
    embeddings = torch.randn(len(works), 4, requires_grad=True)
    distances = metric.squared_distances(embeddings)
    triplets = metric.mine(distances, works, mining)
    assert len(triplets.anchor) == 0
    losses = [
        metric.triplet_loss(distances, triplets),
        metric.contrastive_loss(distances, triplets),
    ]
    losses.append(metric.nt_xent_loss(embeddings, works))
    for loss in losses:
        assert loss.item() == 0
        gradient = torch.autograd.grad(loss, embeddings, retain_graph=True, allow_unused=True)[0]
        assert gradient is None or not gradient.any()


def test_distances_are_mean_squared_differences_exactly_zero_apart():
    embeddings, _ = batch(7)
    embeddings = torch.cat([embeddings, embeddings[:1]]) + 1e4  # where the expanded form cancels
    distances = metric.squared_distances(embeddings)
    for a, b in itertools.product(range(len(embeddings)), repeat=2):
        expected = ((embeddings[a] - embeddings[b]) ** 2).sum() / embeddings.shape[1]
        assert distances[a, b].item() == pytest.approx(expected.item(), rel=1e-9)
    assert distances[0, -1] == 0


def test_normalised_embeddings_are_two_apart_on_average():
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm1d(32, affine=False)
    embeddings = norm(torch.randn(400, 32) * 7 + 3)
    assert metric.squared_distances(embeddings).mean().item() == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("margin", [0.3, 1.5])
def test_losses_are_those_of_loops(seed, margin):
    embeddings, works = batch(seed)
    distances = metric.squared_distances(embeddings)
    triplets = metric.mine(distances, works, "random")
    expected_triplet, expected_contrastive = [], []
    for a, p, n in zip(*(part.tolist() for part in triplets[:3]), strict=True):
        near, far = distances[a, p].item(), distances[a, n].item()
        expected_triplet.append(max(0.0, near - far + margin))
        expected_contrastive.append(near + max(0.0, margin - far))
    assert len(expected_triplet) > 5
    for loss, expected in (
        (metric.triplet_loss, expected_triplet),
        (metric.contrastive_loss, expected_contrastive),
    ):
        found = loss(distances, triplets, margin=margin).item()
        assert found == pytest.approx(sum(expected) / len(expected), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_nt_xent_is_that_of_loops(seed, temperature):
    embeddings, works = batch(seed)
    unit = [row / row.norm() for row in embeddings]
    terms = []
    for anchor in range(len(works)):
        positives, negatives = members(works, anchor)
        likeness = [math.exp((unit[anchor] @ other).item() / temperature) for other in unit]
        for p in positives if negatives else ():
            terms.append(
                -math.log(likeness[p] / (likeness[p] + sum(likeness[n] for n in negatives)))
            )
    found = metric.nt_xent_loss(embeddings, works, temperature=temperature).item()
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-9)


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "nt-xent"])
def test_a_step_along_the_gradient_brings_versions_together(loss):
    embeddings, works = batch(3)
    works[:2] = 9  # one work with two versions, the same in the second batch
    embeddings.requires_grad_()

    def value():
        if loss == "nt-xent":
            return metric.nt_xent_loss(embeddings, works)
        distances = metric.squared_distances(embeddings)
        triplets = metric.mine(distances, works, "hard")
        function = metric.triplet_loss if loss == "triplet" else metric.contrastive_loss
        return function(distances, triplets)

    before = value()
    (gradient,) = torch.autograd.grad(before, embeddings)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    with torch.no_grad():
        embeddings -= 0.01 * gradient
    assert value() < before
