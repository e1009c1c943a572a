"""What the chapter on generative modelling compares over seeds.

Six models and a Gaussian learn the points of the plane and the notes of :mod:`.data`, each for a
few seconds. Points: log-density of held-out points (nats), how much of space the density fills, how
many points lie where real ones do, how far the five notes' shares are off, and the energy distance.
Notes: log-density above that of the Gaussian (nats a note), energy distance of the 24 numbers, and
Fréchet distance and KID of their sounds in the embedding of the book's judge.

Then one flow that is told more or less of a note, and one that is guided on the plane.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dl101.chapters.generative_models import data, models
from dl101.evaluation import generation
from dl101.nn import flow
from dl101.training import shipped
from dl101.training.comparison import Measurement

CORPUS, N_TRACKS = "notes", 720
N_TEST, N_MADE = 1000, 1000
WEIGHTS = (0.0, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Plan:
    """How a model is trained: width of its layers, steps, batch, rates of learning, decay."""

    width: int
    n_steps: int
    rates: tuple[float, ...] = (4e-3,)
    weight_decay: float = 0.0
    batch: int = 256
    options: Mapping[str, int] = field(default_factory=dict)


PLANE: dict[str, Plan] = {
    "autoregression": Plan(64, 800),
    "VAE": Plan(64, 1200),
    "GAN": Plan(64, 1200, (4e-3, 2e-3)),
    "normalising flow": Plan(48, 800),
    "diffusion": Plan(96, 1800),
    "rectified flow": Plan(96, 1800),
}
RIVALS = {"GAN, equal rates": Plan(64, 1200, (4e-3, 4e-3))}  # on the plane, too
NOTES: dict[str, Plan] = {
    "autoregression": Plan(96, 700, weight_decay=0.05, batch=128),
    "VAE": Plan(96, 1000, weight_decay=0.01, batch=128),
    "GAN": Plan(96, 1000, (1e-3, 1e-3), weight_decay=0.1, batch=128),
    "normalising flow": Plan(48, 300, (3e-3,), 0.3, 128, {"n_layers": 4}),
    "diffusion": Plan(96, 1500, (3e-3,), weight_decay=0.05, batch=128),
    "rectified flow": Plan(96, 1500, (3e-3,), weight_decay=0.05, batch=128),
}
TOLD = {
    "nothing": (),
    "its family": ("family",),
    "its pitch": ("pitch",),
    "family and pitch": ("family", "pitch"),
    "the level over time": ("level",),
    "all three": ("family", "pitch", "level"),
}

# ---- training -----------------------------------------------------------------------------------


def point_batches(size: int, seed: int) -> models.Draw:
    """Return what draws new points, (size, 2), at each call."""
    generator = torch.Generator().manual_seed(seed + 1)
    return lambda: data.points(size, seed=generator)[0]


def note_batches(notes: data.Notes, size: int, seed: int) -> models.Draw:
    """Return what draws notes of the training side, (size, 24), with new noise, at each call."""
    generator, known = torch.Generator().manual_seed(seed + 1), notes.plain("train")

    def draw() -> Tensor:
        chosen = torch.randint(len(known), (size,), generator=generator)
        return notes.with_noise(known[chosen], generator)

    return draw


def train(
    name: str,
    plan: Plan,
    draw: Callable[[int, int], models.Draw],
    n_numbers: int,
    *,
    seed: int,
    look: Callable[[models.Model, int], None] = lambda model, step: None,
) -> models.Model:
    """Return a trained model; ``look`` sees it after each step."""
    torch.manual_seed(seed)
    model = models.MODELS[name.partition(",")[0]](n_numbers, plan.width, **plan.options)
    return models.train(
        model,
        draw(plan.batch, seed),
        n_steps=plan.n_steps,
        rates=plan.rates,
        weight_decay=plan.weight_decay,
        seed=seed,
        look=lambda step: look(model, step),
    )


def gaussian_of_points() -> models.Gaussian:
    """Return the baseline of the plane."""
    return models.Gaussian(2).fit(data.points(20_000, seed=5)[0])


def gaussian_of_notes(notes: data.Notes) -> models.Gaussian:
    """Return the baseline of the notes."""
    return models.Gaussian(data.N_NUMBERS).fit(
        torch.cat([notes.standard("train", seed=s) for s in range(10)])
    )


# ---- scores -------------------------------------------------------------------------------------


def grid(size: int = 100, limit: float = 3.0) -> tuple[Tensor, float]:
    """Return the cells of a square around the plane, (size * size, 2), and the area of one."""
    side = torch.linspace(-limit, limit, size)
    return torch.cartesian_prod(side, side), float(side[1] - side[0]) ** 2


def point_scores(made: Tensor, density: Callable[[Tensor], Tensor | None]) -> dict[str, float]:
    """Return what is measured of points that were made, and of the density of their maker."""
    test, _ = data.points(N_TEST, seed=99)
    off = (data.shares_of(made) - data.SHARES).abs().sum() / 2
    scores = {
        "inside": float(data.inside(made).float().mean()),
        "shares_off": float(off),
        "energy": models.energy_distance(made, test),
    }
    with torch.no_grad():
        held_out = density(test)
        if held_out is None:
            return scores
        cells, area = grid()
        own = density(made)
        return scores | {
            "log_density": float(held_out.mean()),
            "integral": float(density(cells).exp().sum() * area),
            "forward_kl": float((data.log_density(test) - held_out).mean()),
            "reverse_kl": float((own - data.log_density(made)).mean()),
        }


def bound_scores(model: models.Model) -> dict[str, float]:
    """Return what the bound of a VAE says and fills, which is less than its density."""
    if not isinstance(model, models.Vae):
        return {}
    cells, area = grid()
    with torch.no_grad():
        torch.manual_seed(0)
        test = torch.stack([model.bound(data.points(N_TEST, seed=99)[0]) for _ in range(50)]).mean(
            0
        )
        fills = torch.stack([model.bound(cells) for _ in range(50)]).mean(0).exp().sum() * area
    return {"bound": float(test.mean()), "bound_integral": float(fills)}


class Listener:
    """Scores of notes that were made, beside the held-out notes of a corpus."""

    def __init__(self, notes: data.Notes) -> None:
        self.notes, self.judge = notes, shipped.load("notes_tagger").system
        self.test, self.known = notes.standard("test", seed=3), notes.standard("train", seed=4)
        self.base = float(gaussian_of_notes(notes).log_density(self.test).mean().detach())
        self.pitches = [note.pitch_midi for note in notes.sides["test"]]
        self.real = self.embedded(notes.plain("test"))

    def embedded(self, x: Tensor) -> object:
        """Return the judge's embedding of the sounds of rows, at the pitches of the test side."""
        rows = zip(self.notes.decibels(x), self.pitches, strict=True)
        return self.judge.embed_sounds(
            [data.sound_of(row, pitch) for row, pitch in rows], data.RATE
        )

    def scores(
        self, made: Tensor, density: Callable[[Tensor], Tensor | None] = lambda x: None
    ) -> dict[str, float]:
        """Return what is measured of rows, at least three for each of the test side."""
        n = len(self.test)
        found = self.embedded(made[:n])
        scores = {
            "energy": models.energy_distance(made, self.test),
            "frechet": generation.frechet_distance(self.real, found),
            "kid": generation.kernel_distance(self.real, found).value,
            "memorisation": generation.memorisation(
                made[:n].numpy(), self.known.numpy(), self.test.numpy()
            ),
            "breadth": float((made.std(0) / self.test.std(0)).mean()),
        }
        with torch.no_grad():
            said = density(self.test)
        return scores if said is None else scores | {"gain": float(said.mean()) - self.base}


# ---- what is told -------------------------------------------------------------------------------


def hidden(told: Tensor, n_families: int, keep: Tensor) -> Tensor:
    """Return what is told, with family, pitch and level (row, 3) kept or not, and that said."""
    sizes = torch.tensor([n_families, 1, len(data.MOMENTS_S)])
    return torch.cat([told * keep.repeat_interleave(sizes, dim=1), keep], dim=1)


def train_told(notes: data.Notes, *, seed: int, n_steps: int = 1800) -> models.RectifiedFlow:
    """Return a flow of the 24 numbers that was told each of three things half of the time."""
    torch.manual_seed(seed)
    known, told, n = notes.plain("train"), notes.told("train"), len(notes.families)
    model = models.RectifiedFlow(data.N_NUMBERS, 96, n_told=told.shape[1] + 3)
    generator = torch.Generator().manual_seed(seed + 1)

    class Told(models.Model):
        """The flow, whose batches are numbers of notes."""

        def loss(self, chosen: Tensor) -> Tensor:
            keep = (torch.rand(len(chosen), 3, generator=generator) < 0.5).float()
            asked = hidden(told[chosen], n, keep)
            x = notes.with_noise(known[chosen], generator)
            z, t = torch.randn_like(x), torch.rand(len(x))
            return flow.flow_loss(lambda x, t: model.says(x, t, asked), x, z, t)

    trained = Told(data.N_NUMBERS)
    trained.model = model
    models.train(
        trained,
        lambda: torch.randint(len(known), (128,), generator=generator),
        n_steps=n_steps,
        rates=(3e-3,),
        weight_decay=0.05,
        seed=seed,
    )
    return model


def ask(
    model: models.RectifiedFlow, asked: Tensor, *, seed: int = 0, weight: float = 1.0
) -> Tensor:
    """Return rows for what is asked, one each; 0 in all places asks for nothing."""
    z = model.noise(len(asked), torch.Generator().manual_seed(seed))
    v = flow.guided(
        lambda x, t: model.says(x, t, asked), lambda x, t: model.says(x, t, 0 * asked), weight
    )
    with torch.no_grad():
        return flow.solve(v, z, model.passes // 2, method="heun")


def told_scores(
    model: models.RectifiedFlow, notes: data.Notes, what: Collection[str]
) -> dict[str, float]:
    """Return how far the harmonics of a made note are from those of the note that was told of."""
    keep = torch.tensor([[float(name in what) for name in ("family", "pitch", "level")]])
    told = notes.told("test")
    asked = hidden(told, len(notes.families), keep.expand(len(told), 3))
    made = torch.stack([ask(model, asked, seed=seed) for seed in range(8)])
    scale, k = notes.deviation[: data.N_HARMONICS], slice(data.N_HARMONICS)
    away = (made - notes.plain("test"))[..., k] * scale
    mean = (made.mean(0) - notes.plain("test"))[..., k] * scale
    return {
        "away_db": float(away.square().mean().sqrt()),
        "mean_away_db": float(mean.square().mean().sqrt()),
        "spread_db": float((made[..., k].std(0) * scale).square().mean().sqrt()),
    }


def train_guided(*, seed: int, n_steps: int = 1800) -> models.RectifiedFlow:
    """Return a flow of the plane that was told the note (five places) in four of five cases."""
    torch.manual_seed(seed)
    model = models.RectifiedFlow(2, 96, n_told=len(data.SCALE))
    generator = torch.Generator().manual_seed(seed + 1)

    class Told(models.Model):
        """The flow, whose batches are points and what is told of them."""

        def loss(self, both: Tensor) -> Tensor:
            x, asked = both[:, :2], both[:, 2:]
            z, t = torch.randn_like(x), torch.rand(len(x))
            return flow.flow_loss(lambda x, t: model.says(x, t, asked), x, z, t)

    def draw() -> Tensor:
        x, note = data.points(256, seed=generator)
        one_hot = torch.nn.functional.one_hot(note, len(data.SCALE)).float()
        return torch.cat([x, one_hot * (torch.rand(256, 1, generator=generator) < 0.8)], dim=1)

    trained = Told(2)
    trained.model = model
    models.train(trained, draw, n_steps=n_steps, seed=seed)
    return model


def guided_points(model: models.RectifiedFlow, note: int, weight: float, n: int = 500) -> Tensor:
    """Return points for which a note was asked."""
    asked = torch.zeros(n, len(data.SCALE))
    asked[:, note] = 1
    return ask(model, asked, weight=weight)


def guided_scores(model: models.RectifiedFlow, weight: float) -> dict[str, float]:
    """Return how many points are the note asked for, lie inside, and how broad clouds are."""
    right, inside, breadth = [], [], []
    for note in range(len(data.SCALE)):
        made = guided_points(model, note, weight)
        right.append((data.log_densities(made).argmax(1) == note).float().mean())
        inside.append(data.inside(made).float().mean())
        breadth.append(made[:, 1].std() / data.BREADTH)
    names = ("right", "inside", "breadth")
    return {
        k: float(torch.stack(v).mean())
        for k, v in zip(names, (right, inside, breadth), strict=True)
    }


# ---- the runs -----------------------------------------------------------------------------------


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Train and score every model on points and notes, then the flows that are told something."""

    def measured(
        variant: str, score: Callable[[], tuple], **options: object
    ) -> Iterator[Measurement]:
        if variant in done:
            return
        start = time.perf_counter()
        network, config, scores = score()
        spent = time.perf_counter() - start
        yield Measurement(
            variant, scores, config=config, network=network, wall_time_s=spent, **options
        )

    n_tracks = n_tracks or N_TRACKS
    on_plane: Mapping = {"n_items": N_TEST}

    def points(name: str) -> tuple:
        plan, start = (PLANE | RIVALS)[name], time.process_time()
        model = train(name, plan, point_batches, 2, seed=seed)
        spent = time.process_time() - start
        scores = point_scores(model.sample(N_MADE, seed=seed), model.log_density)
        return model, vars(plan), scores | bound_scores(model) | {"seconds": spent}

    def simple(made: Tensor, density: Callable) -> tuple:
        return None, {}, point_scores(made, density)

    recipe = data.points(N_MADE, seed=1000 + seed)[0]
    yield from measured("points: recipe", lambda: simple(recipe, data.log_density), **on_plane)
    base = gaussian_of_points()
    yield from measured(
        "points: Gaussian",
        lambda: simple(base.sample(N_MADE, seed=seed), base.log_density),
        **on_plane,
    )
    for name in PLANE | RIVALS:
        yield from measured(f"points: {name}", lambda name=name: points(name), **on_plane)

    def guide() -> tuple:
        model = train_guided(seed=seed)
        found = {f"{k}_{w:g}": v for w in WEIGHTS for k, v in guided_scores(model, w).items()}
        return model, {"weights": WEIGHTS}, found

    yield from measured("points: guided", guide, **on_plane)

    of_notes = [f"notes: {name}" for name in ("training notes", "Gaussian", *NOTES, "told")]
    if set(of_notes) <= set(done):
        return
    notes = data.load_notes(n_tracks=n_tracks, seed=seed, progress=True)
    listener = Listener(notes)
    on_notes: Mapping = {"n_items": len(listener.test), "corpus": CORPUS, "n_tracks": n_tracks}
    n_made = 3 * len(listener.test)

    def known() -> tuple:
        order = torch.randperm(len(listener.known), generator=torch.Generator().manual_seed(seed))
        return None, {}, listener.scores(listener.known[order])

    def gaussian() -> tuple:
        model = gaussian_of_notes(notes)
        return None, {}, listener.scores(model.sample(n_made, seed=seed), model.log_density)

    def modelled(name: str) -> tuple:
        plan, start = NOTES[name], time.process_time()
        model = train(
            name, plan, lambda size, s: note_batches(notes, size, s), data.N_NUMBERS, seed=seed
        )
        spent = time.process_time() - start
        scores = listener.scores(model.sample(n_made, seed=seed), model.log_density)
        return model, vars(plan), scores | {"seconds": spent}

    def told() -> tuple:
        model = train_told(notes, seed=seed)
        found = {
            f"{score}, {name}": value
            for name, what in TOLD.items()
            for score, value in told_scores(model, notes, what).items()
        }
        return model, {}, found

    yield from measured("notes: training notes", known, **on_notes)
    yield from measured("notes: Gaussian", gaussian, **on_notes)
    for name in NOTES:
        yield from measured(f"notes: {name}", lambda name=name: modelled(name), **on_notes)
    yield from measured("notes: told", told, **on_notes)
