"""Our networks beside public ones, on our own test sides: ``python -m benchmarks.peers``.

Writes ``results/peers.json`` (anew: whoever is not there any more leaves no record) and the tables
of the page *How good is it?*. What is public comes with the extra ``peers``; ``make peers``
installs it. Tasks may be named: then the records of the others are kept. With ``--small`` a few
clips are heard, by our networks alone, and nothing is written.
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.metadata import version
from pathlib import Path

# one thread for everybody; numerical libraries read this when they are loaded
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

from benchmarks.peers import ours, page, public  # noqa: E402
from benchmarks.peers.judging import TASKS, Competitor, Outcome, Task, clips, judge, lead  # noqa: E402
from dl101.data.embedded import export  # noqa: E402
from dl101.evaluation import results  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results/peers.json"


def record(
    task: Task, who: Competitor, outcome: Outcome, first: Outcome, n_clips: int, wall_s: float
) -> results.Record:
    """Return the record of one competitor; ``first`` is the network that it is compared with."""
    metrics = {**outcome.mean, **outcome.chosen, "cpu_s_per_minute": outcome.cpu_s_per_minute}
    if outcome is not first:
        metrics["ours_ahead"], metrics["ours_ahead_error"] = lead(first, outcome, task.main)
    packages = {name: version(name) for name in who.packages}
    return results.Record(
        experiment="peers",
        variant=f"{task.name}: {who.name}",
        seed=task.seed,
        data={
            "dataset": task.corpus,
            "seed": task.seed,
            "version": export.corpus_version(task.corpus),
        },
        split="test",
        n_items=n_clips,
        metrics={name: round(float(value), 5) for name, value in metrics.items()},
        config={"task": task.name, "whose": who.whose, "packages": packages, **who.note},
        command="make peers",
        wall_time_s=round(wall_s, 1),
        n_parameters=outcome.n_parameters,
    )


def run(task: Task, competitors: list[Competitor], n_test: int, n_validation: int) -> list:
    """Return the records of a task, and print its scores as they come."""
    test = clips(task.corpus, "test", n_test, seed=task.seed)
    validation = clips(task.corpus, "validation", n_validation, seed=task.seed)
    made, first = [], None
    for who in competitors:
        start_s = time.perf_counter()
        outcome = judge(task, who.make(), test, validation)
        first = first or outcome
        wall_s = time.perf_counter() - start_s
        made.append(record(task, who, outcome, first, len(test), wall_s))
        score, spent = outcome.mean[task.main], outcome.cpu_s_per_minute
        print(f"  {task.name:8} {who.name:18} {score:.3f}  {spent:6.2f} s a minute", flush=True)
    return made


def main() -> None:
    """Judge everybody and write what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)} (default: all)")
    parser.add_argument("--small", action="store_true", help="two clips, ours alone, no record")
    options = parser.parse_args()
    small, asked = options.small, options.tasks or list(TASKS)
    if unknown := set(asked) - set(TASKS):
        parser.error(f"no task called {', '.join(sorted(unknown))}; there are: {', '.join(TASKS)}")
    guests = {} if small else public.competitors()
    made = []
    kept = results.load(RESULTS) if RESULTS.exists() else []
    kept = [record for record in kept if record.config["task"] not in asked]
    for name in asked:
        task, listed = TASKS[name], ours.competitors()[name]
        sizes = (2, min(1, task.n_validation)) if small else (task.n_test, task.n_validation)
        made += run(task, [*listed, *guests.get(name, [])], *sizes)
    if small:
        return
    missing = public.missing()
    if missing:
        print(f"not installed, so nothing is written: {', '.join(missing)} (see make peers)")
        return
    RESULTS.unlink(missing_ok=True)
    results.save(RESULTS, [*kept, *made])
    page.OUTPUT.write_text(page.NOTICE + page.tables(results.load(RESULTS)), encoding="utf-8")
    print(f"recorded in {RESULTS.relative_to(ROOT)}; tables in {page.OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
