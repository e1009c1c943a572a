"""The ``dl101`` command: export a corpus, fetch a dataset, train a system.

Each subcommand is one function below; heavy imports happen inside it, so that ``dl101 --help``
answers at once. Errors that dl101 raises on purpose are printed as one message, without a
traceback, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dl101 import __version__
from dl101.errors import ConfigError, Dl101Error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except Dl101Error as error:
        print(f"dl101: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dl101: stopped; what was finished is kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dl101", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"dl101 {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="render an embedded corpus to .hdf5 and .pyjama")
    export.add_argument("corpus", help="name of the corpus, for example chorales")
    export.add_argument("directory", type=Path, help="folder that receives the two files")
    export.add_argument("--tracks", type=int, help="number of tracks (default: the lab's)")
    export.add_argument("--seed", type=int, default=0, help="another seed, other performances")
    export.add_argument("--no-stems", action="store_true", help="write mixtures only")
    export.set_defaults(run=_export)

    fetch = commands.add_parser("fetch", help="download a dataset of the catalogue")
    fetch.add_argument("dataset", nargs="?", help="its name; without one, the catalogue is listed")
    fetch.add_argument(
        "--accept-restricted",
        action="store_true",
        help="you have read the licence shown and have the permission that it asks for",
    )
    fetch.set_defaults(run=_fetch)

    train = commands.add_parser("train", help="train a system, score it, record the result")
    train.add_argument("config", help="multi_pitch, or the path of a YAML file like it")
    train.add_argument("--scale", choices=("lab", "full"), default="lab")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change keys of the configuration",
    )
    train.add_argument("--run-dir", type=Path, help="where checkpoints go (default: temporary)")
    train.add_argument("--resume", action="store_true", help="go on from RUN_DIR's last epoch")
    train.add_argument("--results", type=Path, help="add the result to this JSON file")
    train.add_argument("--weights", type=Path, help="write the best weights to this file")
    train.add_argument("--accept-restricted", action="store_true", help="as in dl101 fetch")
    train.set_defaults(run=_train)
    return parser


def _export(options: argparse.Namespace) -> None:
    from dl101.data.embedded.export import export_corpus

    files = export_corpus(
        options.corpus,
        options.directory,
        n_tracks=options.tracks,
        seed=options.seed,
        stems=not options.no_stems,
    )
    for path in (files.audio, files.annotations):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def _fetch(options: argparse.Namespace) -> None:
    from dl101.data import catalog, fetch

    if options.dataset is None:
        for name, dataset in catalog.DATASETS.items():
            note = "  (permission needed)" if dataset.restricted else ""
            print(f"{name:25} {dataset.access:10} {dataset.title}{note}")
        return
    files = fetch.fetch(options.dataset, accept_restricted=options.accept_restricted)
    print(f"{files.audio}\n{files.annotations}")


def _train(options: argparse.Namespace) -> None:
    from dl101 import config
    from dl101.systems import multi_pitch as system

    if options.resume and not options.run_dir:
        raise ConfigError(
            "dl101 train --resume",
            got="no --run-dir",
            expected="the folder of the run to go on with",
            hint="add --run-dir FOLDER, the same as when the run was begun",
        )
    settings = system.load_config(options.config, scale=options.scale, settings=options.set)
    system.build(settings)  # a model that cannot be built is found before the data are prepared
    tracks = system.load_tracks(settings, accept_restricted=options.accept_restricted)
    with tempfile.TemporaryDirectory(prefix="dl101-") as temporary:
        outcome = system.run(
            settings,
            options.run_dir or temporary,
            seed=options.seed,
            resume=options.resume,
            tracks=tracks,
        )
    if outcome.system.global_rank > 0:
        return  # of several processes, the first reports
    for name, value in outcome.mean.items():
        print(f"{name:18} {value:.3f}")
    print(f"threshold          {outcome.threshold:.2f}  (chosen on validation)")
    print(f"training           {outcome.fit.wall_time_s:.0f} s, {len(outcome.fit.history)} epochs")
    if options.weights:
        from dl101.training import save_weights

        metadata = {
            "variant": settings.variant,
            "threshold": str(outcome.threshold),
            "config": json.dumps(config.to_dict(settings)),
        }
        save_weights(outcome.system, options.weights, metadata)
        print(f"weights            {options.weights}")
    if options.results:
        from dl101.evaluation.results import save

        save(options.results, _records(settings, outcome, tracks, options))
        print(f"recorded in        {options.results}")


def _records(settings, outcome, tracks, options) -> list:  # noqa: ANN001  types live in torch code
    """Return the record of a run and those of the baselines on the same data."""
    from dl101 import config
    from dl101.data import source
    from dl101.evaluation import multi_pitch, results
    from dl101.systems import multi_pitch as system

    harmonics = settings.feature.harmonics
    common = {
        "experiment": "multi_pitch",
        "data": config.to_dict(settings.data)
        | {"scale": settings.scale, "version": source.version(settings.data)},
        "split": "test",
        "n_items": len(tracks["test"]),
    }
    whole = config.to_dict(settings)
    words = ["dl101", "train", str(options.config), "--scale", options.scale]
    words += ["--seed", str(options.seed)] + (["--set", *options.set] if options.set else [])
    command = shlex.join([*words, "--results", str(options.results)])
    records = [
        results.Record(
            **common,
            config=whole,
            variant=settings.variant,
            seed=options.seed,
            metrics=outcome.mean | {"threshold": outcome.threshold},
            command=command,
            wall_time_s=round(outcome.fit.wall_time_s, 1),
            n_parameters=sum(p.numel() for p in outcome.system.network.parameters()),
            device=results.describe_device(str(outcome.system.device)),
        )
    ]
    if len(harmonics) == 1:
        return records  # the salience baseline needs several harmonics
    baselines = system.score_baselines(tracks, harmonics, outcome.system.axis)
    for name, (scores, threshold) in baselines.items():
        metrics = multi_pitch.mean_over_tracks(list(scores.values()))
        if math.isfinite(threshold):
            metrics["threshold"] = threshold
        records.append(
            results.Record(
                **common,
                config={key: whole[key] for key in ("scale", "data", "feature")},
                variant=name,
                seed=0,
                metrics=metrics,
                command=command,
                wall_time_s=0.0,
            )
        )
    return records


if __name__ == "__main__":
    sys.exit(main())
