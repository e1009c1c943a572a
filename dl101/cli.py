"""The ``dl101`` command: export a corpus, fetch a dataset, train a system.

Each subcommand is one function below; heavy imports happen inside it, so that ``dl101 --help``
answers at once. Errors that dl101 raises on purpose are printed as one message, without a
traceback, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from dl101 import __version__
from dl101.config import Jobs, Minutes, Range, Seed, TrackCount, checked
from dl101.errors import ConfigError, Dl101Error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _check_numbers(options)
        options.run(options)
    except Dl101Error as error:
        print(f"dl101: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"dl101: cannot write {str(error.filename)!r}: {error.strerror}. Try: another folder, "
            "or set DL101_CACHE to a folder that you may write to.",
            file=sys.stderr,
        )
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
    amount = export.add_mutually_exclusive_group()
    amount.add_argument("--tracks", type=int, help="number of tracks (default: the lab's)")
    amount.add_argument("--minutes", type=float, help="length of all tracks together, instead")
    export.add_argument("--seed", type=int, default=0, help="another seed, other performances")
    export.add_argument("--no-stems", action="store_true", help="leave out what belongs to a track")
    export.add_argument("--jobs", type=int, help="number of processes (default: all cores)")
    export.set_defaults(run=_export)

    corpora = commands.add_parser("corpora", help="list the embedded corpora")
    corpora.set_defaults(run=_corpora)

    fetch = commands.add_parser("fetch", help="download a dataset of the catalogue")
    fetch.add_argument("dataset", nargs="?", help="its name; without one, the catalogue is listed")
    fetch.add_argument(
        "--accept-restricted",
        action="store_true",
        help="you have read the licence shown and have the permission that it asks for",
    )
    fetch.set_defaults(run=_fetch)

    convert = commands.add_parser("convert", help="write a dataset of another library as a pair")
    convert.add_argument("--from", dest="library", choices=("mirdata",), required=True)
    convert.add_argument("dataset", help="its name in that library, or in the catalogue")
    convert.add_argument("directory", type=Path, help="folder that receives the two files")
    convert.add_argument("--data-home", type=Path, help="where the dataset is (default: mirdata's)")
    convert.set_defaults(run=_convert)

    experiment = commands.add_parser("experiment", help="run a chapter's experiment")
    experiment.add_argument("name", nargs="?", help="its name; without one, they are listed")
    experiment.add_argument("--seed", type=int, nargs="+", default=[0], help="one run for each")
    experiment.add_argument("--tracks", type=int, help="size of its corpus (default: its own)")
    experiment.add_argument("--results", type=Path, help="add the results to this JSON file")
    experiment.add_argument(
        "--resume", action="store_true", help="leave out what the results file already has"
    )
    experiment.add_argument("--only", nargs="+", metavar="VARIANT", help="measure these alone")
    experiment.set_defaults(run=_experiment)

    train = commands.add_parser("train", help="train a system, score it, record the result")
    train.add_argument("system", help="its name, for example multi_pitch")
    train.add_argument("--config", help="a YAML file (default: the one that ships with dl101)")
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
    train.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="WEIGHTS",
        help="begin with the weights of this file (as --weights writes them), not with random ones",
    )
    train.add_argument("--run-dir", type=Path, help="where checkpoints go (default: temporary)")
    train.add_argument("--resume", action="store_true", help="go on from RUN_DIR's last epoch")
    train.add_argument("--results", type=Path, help="add the result to this JSON file")
    train.add_argument("--weights", type=Path, help="write the best weights to this file")
    train.add_argument("--accept-restricted", action="store_true", help="as in dl101 fetch")
    train.set_defaults(run=_train)

    tag = commands.add_parser("tag", help="say which tags a recording has")
    tag.add_argument("file", type=Path, help="WAV, FLAC, MP3 or OGG, of any rate")
    tag.add_argument("--top", type=int, default=10, help="how many tags (default: 10)")
    tag.add_argument("--each-second", action="store_true", help="and a table over time")
    tag.add_argument("--network", default="auto_tagging", help="its name, or a file of weights")
    tag.set_defaults(run=_tag)
    covers = commands.add_parser("covers", help="find the versions of a recording in a collection")
    kinds = covers.add_subparsers(required=True, metavar="index|query")
    for name, what, words in (
        ("index", "directory", "folder of recordings, or of an .hdf5 file of features"),
        ("query", "file", "a recording: WAV, FLAC, MP3 or OGG"),
    ):
        kind = kinds.add_parser(name, help=f"{name} a {what}")
        kind.add_argument(what, type=Path, help=words)
        kind.add_argument("--index", type=Path, default=Path("covers-index.safetensors"))
        kind.add_argument("--network", default="cover_songs", help="its name, or a file of weights")
        kind.set_defaults(run=_covers_index if name == "index" else _covers_query)
    kind.add_argument("--top", type=int, default=10, help="how many to list (default: 10)")
    transcribe = commands.add_parser("transcribe", help="write down the notes of a recording")
    transcribe.add_argument("file", type=Path, help="WAV, FLAC, MP3 or OGG, of any length")
    transcribe.add_argument(
        "-o", "--output", type=Path, help="folder for a MIDI file, a table (.csv) and a .jams file"
    )
    transcribe.add_argument(
        "--network", default="transcription", help="its name, or a file of weights"
    )
    transcribe.set_defaults(run=_transcribe)
    chords = commands.add_parser("chords", help="write down the chords of a recording")
    chords.add_argument("file", type=Path, help="WAV, FLAC, MP3 or OGG")
    chords.add_argument("--output", type=Path, help="folder for a .lab and a .jams file")
    chords.add_argument("--network", default="chords", help="its name, or a file of weights")
    chords.set_defaults(run=_chords)

    separate = commands.add_parser("separate", help="take a recording apart into its stems")
    separate.add_argument("file", type=Path, help="WAV, FLAC, MP3 or OGG, mono or stereo")
    separate.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for a WAV file of each stem"
    )
    separate.add_argument("--residual", action="store_true", help="and one of what is left")
    separate.add_argument(
        "--network", default="source_separation", help="its name, or a file of weights"
    )
    separate.set_defaults(run=_separate)

    pitch = commands.add_parser("pitch", help="follow the pitch of a voice or an instrument")
    pitch.add_argument("file", type=Path, help="WAV, FLAC, MP3 or OGG, of any rate and length")
    pitch.add_argument(
        "-o", "--output", type=Path, required=True, help="a .csv or a .jams file for the curve"
    )
    pitch.add_argument(
        "--network", default="inverse_synthesis", help="its name, or a file of weights"
    )
    pitch.set_defaults(run=_pitch)

    generate = commands.add_parser("generate", help="make a note that nobody played")
    generate.add_argument("--system", choices=("autoregressive", "flow"), default="flow")
    generate.add_argument("--pitch", default="A3", help="for example A3, C#4 or Bb2 (default: A3)")
    generate.add_argument("--instrument", default="guitar", help="a family (default: guitar)")
    generate.add_argument("--seconds", type=float, default=1.25, help="its length")
    generate.add_argument("--seed", type=int, default=0, help="another seed, another note")
    generate.add_argument("-o", "--output", type=Path, required=True, help="a WAV file")
    generate.add_argument("--network", help="a file of weights (default: those that ship)")
    generate.set_defaults(run=_generate)

    embed = commands.add_parser("embed", help="write what an encoder says of recordings to a file")
    embed.add_argument("files", type=Path, nargs="+", help="WAV, FLAC, MP3 or OGG, of any length")
    embed.add_argument("-o", "--output", type=Path, required=True, help="a .npz or .hdf5 file")
    embed.add_argument("--hop", type=float, help="seconds between crops (default: their length)")
    similar = commands.add_parser("similar", help="list the recordings of a folder that are alike")
    similar.add_argument("file", type=Path, help="a recording: WAV, FLAC, MP3 or OGG")
    similar.add_argument("directory", type=Path, help="folder of recordings")
    similar.add_argument("--top", type=int, default=10, help="how many to list (default: 10)")
    for command, run in ((embed, _embed), (similar, _similar)):
        command.add_argument("--network", default="self_supervised", help="or a file of weights")
        command.set_defaults(run=run)

    probe = commands.add_parser("probe", help="measure how hard the embedded corpora are")
    probe.add_argument("corpora", nargs="*", help="their names (default: all)")
    probe.add_argument("--seed", type=int, nargs="+", default=[0], help="seeds of the corpora")
    probe.add_argument("--tracks", type=int, help="number of tracks (default: the lab's)")
    probe.add_argument("--results", type=Path, help="add the scores to this JSON file")
    probe.set_defaults(run=_probe)

    lab = commands.add_parser("lab-pack", help="write a chapter for students and for the teacher")
    lab.add_argument("chapters", nargs="+", metavar="CHAPTER", help="for example multi_pitch")
    lab.add_argument("--output", type=Path, required=True, help="folder that receives the packs")
    who = lab.add_mutually_exclusive_group()
    who.add_argument("--students", type=Path, help="text file, one name on a line: a pack for each")
    who.add_argument("--n-students", type=int, help="the same for student-01, student-02, ...")
    lab.add_argument("--seed", type=int, default=0, help="another seed, other seeds of students")
    lab.set_defaults(run=_lab_pack)
    return parser


def _check_numbers(options: argparse.Namespace) -> None:
    """Refuse numbers outside their range, whichever command takes them, before it begins."""
    ranges = {
        "seed": Seed,
        "tracks": TrackCount,
        "minutes": Minutes,
        "seconds": Annotated[float, Range(above=0, at_most=60)],
        "hop": Annotated[float, Range(at_least=0.01, at_most=3600)],
        "jobs": Jobs,
        "top": Annotated[int, Range(at_least=1, at_most=1000)],
        "n_students": Annotated[int, Range(at_least=1, at_most=10_000)],
    }
    for name in vars(options).keys() & ranges.keys():
        given = getattr(options, name)
        for value in given if isinstance(given, list) else [given]:
            if value is not None:
                checked(ranges[name], value, f"--{name.replace('_', '-')}")


def _export(options: argparse.Namespace) -> None:
    from dl101.data.embedded import export

    n_tracks = options.tracks
    if options.minutes is not None:
        n_tracks = export.tracks_in(options.corpus, options.minutes)
    files = export.export_corpus(
        options.corpus,
        options.directory,
        n_tracks=n_tracks,
        seed=options.seed,
        stems=not options.no_stems,
        n_jobs=options.jobs,
    )
    for path in (files.audio, files.annotations):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def _corpora(options: argparse.Namespace) -> None:
    from dl101.data.embedded import export

    for name in export.CORPORA:
        recipe = export.recipe(name)
        cached = sum(file.stat().st_size for file in export.cached_files(name))
        minutes = export.expected_minutes(name)
        size = export.describe_size(name)
        kept = f"{cached / 1e6:.0f} MB in the cache" if cached else "not in the cache"
        print(f"{name}: {recipe.title}")
        print(f"  stands for   {recipe.stands_for}")
        print(
            f"  lab size     {recipe.default_tracks} tracks of {recipe.length}"
            f" ({minutes:.0f} min, about {size}); {kept}"
        )
        print(f"  splits       {export.describe_split(name)}")
        print(f"  with stems   {recipe.extras or 'nothing more'}")
        print(f"  made from    {recipe.provenance}")
    print(f"Licence of all: {export.LICENCE}")


def _fetch(options: argparse.Namespace) -> None:
    from dl101.data import catalog, fetch

    if options.dataset is None:
        for name, dataset in catalog.DATASETS.items():
            note = "  (permission needed)" if dataset.restricted else ""
            print(f"{name:25} {dataset.access:10} {dataset.title}{note}")
        return
    files = fetch.fetch(options.dataset, accept_restricted=options.accept_restricted)
    print(f"{files.audio}\n{files.annotations}")


def _convert(options: argparse.Namespace) -> None:
    from dl101.data import mirdata_bridge

    report = mirdata_bridge.convert(options.dataset, options.directory, data_home=options.data_home)
    for path in (report.audio, report.annotations):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    print(f"{report.n_tracks} tracks")
    for what, count in sorted(report.left_out.items()):
        print(f"not converted ({count} tracks): {what}")


def _experiment(options: argparse.Namespace) -> None:
    from dl101.evaluation import results
    from dl101.training import comparison

    if options.name is None:
        print("\n".join(comparison.names()))
        return
    if options.resume and not options.results:
        raise ConfigError(
            "dl101 experiment --resume",
            got="no --results",
            expected="the file that has the results so far",
            hint="add --results FILE",
        )
    if options.resume and options.only:
        raise ConfigError(
            "dl101 experiment",
            got="--resume and --only",
            expected="one of the two: what is missing, or what is named",
            hint="leave out --resume: variants that are named are measured anew",
        )
    _check_results(options)
    for seed in options.seed:
        words = ["dl101", "experiment", options.name, "--seed", str(seed)]
        words += ["--only", *options.only] if options.only else []
        words += ["--tracks", str(options.tracks)] if options.tracks is not None else []
        words += ["--results", str(options.results)] if options.results else []
        asked = {"seed": seed, "n_tracks": options.tracks}
        if options.resume:
            asked["done"] = comparison.measured_before(options.name, options.results, **asked)
        if options.only:
            asked["done"] = comparison.AllBut(options.only)
        missing = set(options.only or ())
        for found in comparison.run(options.name, **asked):
            missing.discard(found.variant)
            scores = "  ".join(f"{key} {value:.3f}" for key, value in found.metrics.items())
            print(f"seed {seed}  {found.variant:28} {scores}")
            if options.results:
                command = shlex.join(words)
                record = comparison.as_record(options.name, found, seed=seed, command=command)
                results.save(options.results, [record])
        if missing:
            raise ConfigError(
                "dl101 experiment --only",
                got=", ".join(map(repr, sorted(missing))),
                expected=f"variants of the experiment {options.name}",
                hint="run it without --only to see their names",
            )


def _check_results(options: argparse.Namespace) -> None:
    """Find out before the work whether its results can be recorded."""
    from dl101.evaluation import results

    if options.results:
        results.check(options.results)


def _train(options: argparse.Namespace) -> None:
    from dl101.data.cache import check_writable
    from dl101.training import protocol

    if options.resume and not options.run_dir:
        raise ConfigError(
            "dl101 train --resume",
            got="no --run-dir",
            expected="the folder of the run to go on with",
            hint="add --run-dir FOLDER, the same as when the run was begun",
        )
    module = protocol.find(options.system)
    settings = protocol.load_config(
        module.Config, options.config or options.system, scale=options.scale, settings=options.set
    )
    _check_results(options)
    for path in (options.weights, options.run_dir and options.run_dir / "run.json"):
        if path:
            check_writable(path)
    # a model that cannot be built, or weights of another, are found before the data are prepared
    untrained = module.build(settings)
    if options.start:
        from dl101.training.checkpoints import load_weights

        load_weights(untrained, options.start)
    tracks = module.load_tracks(settings, accept_restricted=options.accept_restricted)
    with tempfile.TemporaryDirectory(prefix="dl101-") as temporary:
        trained = protocol.run(
            module,
            settings,
            options.run_dir or temporary,
            seed=options.seed,
            resume=options.resume,
            tracks=tracks,
            start=options.start,
        )
    if trained.system.global_rank > 0:
        return  # of several processes, the first reports
    for name, value in trained.evaluation.mean.items():
        print(f"{name:18} {value:.3f}")
    for name, value in trained.evaluation.chosen.items():
        print(f"{name:18} {value:.2f}  (chosen on validation)")
    print(f"training           {trained.fit.wall_time_s:.0f} s, {len(trained.fit.history)} epochs")
    if not (options.weights or options.results):
        return
    words = ["dl101", "train", options.system]
    words += ["--config", str(options.config)] if options.config else []
    words += ["--scale", options.scale, "--seed", str(options.seed)]
    words += ["--set", *options.set] if options.set else []
    for option, given in (
        ("from", options.start),
        ("results", options.results),
        ("weights", options.weights),
    ):
        words += [f"--{option}", str(given)] if given else []
    made = protocol.records(
        options.system,
        settings,
        trained,
        module.baselines(settings, tracks) if options.results else {},
        seed=options.seed,
        command=shlex.join(words),
        start=options.start,
    )
    if options.weights:
        from dl101.training import shipped

        shipped.save(options.weights, trained.system, settings, made[0])
        print(f"weights            {options.weights}")
    if options.results:
        from dl101.evaluation.results import save

        save(options.results, made)
        print(f"recorded in        {options.results}")


def _tag(options: argparse.Namespace) -> None:
    from dl101.systems import auto_tagging
    from dl101.training import shipped

    network = shipped.load(options.network)
    heard = auto_tagging.listen(network.system, options.file)
    likeliest = (-heard.mean).argsort(kind="stable")[: options.top]
    for k in likeliest:
        print(f"{heard.classes[k]:18} {heard.mean[k]:.2f}")
    if options.each_second:
        width = max(len(heard.classes[k]) for k in likeliest)
        print(f"\n{'second':{width}} " + " ".join(f"{t:4.0f}" for t in heard.times_s))
        for k in likeliest:
            values = " ".join(f"{p:4.2f}" for p in heard.probabilities[:, k])
            print(f"{heard.classes[k]:{width}} {values}")


def _embed(options: argparse.Namespace) -> None:
    from dl101.systems import self_supervised
    from dl101.training import embedding, shipped

    system = shipped.load(options.network).system
    found = []
    for path in options.files:
        found.append(self_supervised.embed_file(system, path, hop_s=options.hop))
        n_crops, n_numbers = found[-1].values.shape
        print(f"{path.name}: {n_crops} crops of {n_numbers} numbers")
    embedding.write(options.output, found)
    print(f"written to {options.output}")


def _similar(options: argparse.Namespace) -> None:
    from dl101.systems import self_supervised
    from dl101.training import embedding, shipped

    system = shipped.load(options.network).system

    def embed(path: Path) -> embedding.Embedded:
        return self_supervised.embed_file(system, path)

    query = embed(options.file)
    found, left_out = embedding.embed_folder(embed, options.directory)
    for error in left_out:
        print(f"left out: {error}", file=sys.stderr)
    for rank, (name, cosine) in enumerate(embedding.most_similar(query, found), start=1):
        if rank <= options.top:
            print(f"{rank:3d}  {cosine:6.3f}  {name}")


def _covers_index(options: argparse.Namespace) -> None:
    from dl101.data.cache import check_writable
    from dl101.systems import cover_songs
    from dl101.training import shipped

    check_writable(options.index)
    index, left_out = cover_songs.make_index(shipped.load(options.network), options.directory)
    for error in left_out:
        print(f"left out: {error}", file=sys.stderr)
    index.save(options.index)
    print(f"{len(index.names)} items in {options.index}")


def _covers_query(options: argparse.Namespace) -> None:
    from dl101.systems import cover_songs
    from dl101.systems.cover_songs_data import Index
    from dl101.training import shipped

    network = shipped.load(options.network)
    found = cover_songs.search(network, Index.load(options.index), options.file)
    for rank, (name, distance) in enumerate(found[: options.top], start=1):
        verdict = "version" if distance < network.metrics["threshold"] else ""
        verdict = "the same recording" if distance < cover_songs.SAME else verdict
        print(f"{rank:3d}  {distance:6.3f}  {name}  {verdict}".rstrip())
    print(f"A distance below {network.metrics['threshold']:.3f} is called a version.")


def _chords(options: argparse.Namespace) -> None:
    from dl101.data import audiofile, chord_segments
    from dl101.systems import chords
    from dl101.training import shipped

    network = shipped.load(options.network)
    rate = network.settings.feature.sample_rate
    audio = audiofile.read_recording(options.file, rate)
    found = chords.recognise(network.system, audio, stay=network.metrics["stay"])
    for (begin, end), label in zip(found.intervals_s, found.labels, strict=True):
        print(f"{begin:8.2f} {end:8.2f}  {label}")
    if options.output:
        path = options.output / options.file.name
        title, duration_s = options.file.stem, len(audio) / rate
        chord_segments.write_lab(path.with_suffix(".lab"), found)
        chord_segments.write_jams(
            path.with_suffix(".jams"), found, title=title, duration_s=duration_s
        )
        print(f"written: {path.with_suffix('.lab')}, {path.with_suffix('.jams')}")


def _transcribe(options: argparse.Namespace) -> None:
    from dl101.data import audiofile, note_files
    from dl101.systems import transcription
    from dl101.training import shipped

    with audiofile.opened(options.file):
        pass  # what cannot be read is found before a network is loaded
    network = shipped.load(options.network)
    if not isinstance(network.system, transcription.TranscriptionSystem):
        raise ConfigError(
            "dl101 transcribe --network",
            got=f"{options.network}, which finds no notes",
            expected="a network trained by dl101 train transcription",
            hint="train one: dl101 train transcription --weights FILE",
        )
    chosen = {name: network.metrics[name] for name in ("threshold", "onset_threshold")}
    heard = transcription.listen(network.system, options.file, **chosen)
    notes = heard.notes
    if not options.output:
        for row in zip(notes.onsets_s, notes.durations_s, notes.pitches_midi, strict=True):
            print("{:8.2f} {:7.2f}  {:6.2f}".format(*row))
        return
    path, title = options.output / options.file.name, options.file.stem
    note_files.write_midi(path.with_suffix(".mid"), notes)
    note_files.write_csv(path.with_suffix(".csv"), notes)
    note_files.write_jams(
        path.with_suffix(".jams"), notes, title=title, duration_s=heard.duration_s
    )
    print(f"{len(notes)} notes: {path.with_suffix('.mid')}, .csv, .jams")


def _separate(options: argparse.Namespace) -> None:
    from dl101.data import audiofile, stem_files
    from dl101.training import shipped

    with audiofile.opened(options.file):
        pass  # what cannot be read is found before a network is loaded
    system = shipped.load(options.network).system
    if not hasattr(system, "separate"):
        raise ConfigError(
            "dl101 separate --network",
            got=f"{options.network}, which separates nothing",
            expected="a network trained to separate",
            hint="leave it out to get the one that ships",
        )
    for path in stem_files.separate_file(
        system, options.file, options.output, residual=options.residual
    ):
        print(path)


def _pitch(options: argparse.Namespace) -> None:
    from dl101.data import audiofile, pitch_curve
    from dl101.data.cache import check_writable
    from dl101.systems import inverse_synthesis
    from dl101.training import shipped

    kind = options.output.suffix.lower()
    if kind not in (".csv", ".jams"):
        raise ConfigError(
            "dl101 pitch --output",
            got=str(options.output),
            expected="a file whose name ends with .csv or .jams",
            hint=f"write {options.output.with_suffix('.csv')}",
        )
    check_writable(options.output)
    with audiofile.opened(options.file) as recording:
        system = shipped.load(options.network).system
        if not isinstance(system, inverse_synthesis.InverseSystem):
            raise ConfigError(
                "dl101 pitch --network",
                got=f"{options.network}, which finds no pitch",
                expected="a network trained by dl101 train inverse_synthesis",
                hint="leave it out to get the one that ships",
            )
        found, duration_s = inverse_synthesis.follow_recording(system, recording)
    if kind == ".csv":
        pitch_curve.write_csv(options.output, found)
    else:
        pitch_curve.write_jams(
            options.output, found, title=options.file.stem, duration_s=duration_s
        )
    share = found.voiced.mean() if len(found.voiced) else 0.0
    print(f"{options.output}  {duration_s:.2f} s, {len(found.f0_hz)} frames, {share:.0%} voiced")


def _generate(options: argparse.Namespace) -> None:
    import soundfile

    from dl101.data.cache import check_writable
    from dl101.training import protocol, shipped
    from dl101.units import note_to_midi

    pitch_midi = note_to_midi(options.pitch)
    check_writable(options.output)
    network = shipped.load(options.network or options.system)
    (sound,) = protocol.find(options.system).generate(
        network.system,
        pitches_midi=[pitch_midi],
        families=[options.instrument],
        seconds=options.seconds,
        seed=options.seed,
    )
    soundfile.write(options.output, sound, network.system.sample_rate, format="WAV")
    print(f"{options.output}  {len(sound) / network.system.sample_rate:.2f} s")


def _probe(options: argparse.Namespace) -> None:
    from dl101.evaluation import probes
    from dl101.evaluation.results import save

    _check_results(options)
    given = ["--tracks", str(options.tracks)] if options.tracks is not None else []
    given += ["--results", str(options.results)] if options.results else []
    for name in options.corpora or probes.TASKS:
        for seed in options.seed:
            command = shlex.join(["dl101", "probe", name, "--seed", str(seed), *given])
            records = probes.record(name, seed=seed, n_tracks=options.tracks, command=command)
            for found in records:
                scores = "  ".join(f"{key} {value:.3f}" for key, value in found.metrics.items())
                print(f"{name} (seed {seed})  {found.variant:15} {scores}")
            if options.results:
                save(options.results, records)


def _lab_pack(options: argparse.Namespace) -> None:
    from dl101.lab import pack

    students = pack.read_students(options.students) if options.students else []
    if options.n_students:
        digits = max(2, len(str(options.n_students)))
        students = [f"student-{k:0{digits}d}" for k in range(1, options.n_students + 1)]
    for path in pack.write_packs(
        options.chapters, options.output, students=students, seed=options.seed
    ):
        print(f"{path}  {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
