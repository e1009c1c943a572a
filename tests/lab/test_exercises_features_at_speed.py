"""Solutions are accepted, stubs are not, and every misconception gets a hint of its own."""

from __future__ import annotations

import hashlib
import json
import time

import numpy as np

from dl101.data.featurestore import bytes_touched
from dl101.lab.exercises import features_at_speed as exercise
from dl101.patches import PatchIndex
from tests.lab.exercise_proof import ExerciseProof


def finder(count=None, *, clip=True, start=lambda k, hop: k * hop, track=0):
    """Return an answer to exercise 1 that walks through the tracks."""
    count = count or (lambda n, p, h: 1 + max(0, int(np.ceil((n - p) / h))))

    def find_patch(number, n_frames, patch_frames, hop_frames):
        for which, n in enumerate(n_frames):
            here = count(n, patch_frames, hop_frames)
            if number < here:
                begin = number * hop_frames
                stop = begin + patch_frames
                return which + track, start(number, hop_frames), min(stop, n) if clip else stop
            number -= here
        raise IndexError("no such patch")

    return find_patch


def gives_up(count):
    """Return an answer that ends without a return where it finds too few patches."""

    def find_patch(number, n_frames, patch_frames, hop_frames):
        try:
            return finder(count)(number, n_frames, patch_frames, hop_frames)
        except IndexError:
            return None

    return find_patch


def from_the_corpus(number, n_frames, patch_frames, hop_frames):
    track, start, stop = finder()(number, n_frames, patch_frames, hop_frames)
    return track, number * hop_frames, number * hop_frames + stop - start


def joined(number, n_frames, patch_frames, hop_frames):
    start = number * hop_frames
    first = np.concatenate([[0], np.cumsum(n_frames)])
    track = int(np.searchsorted(first, start, side="right")) - 1
    return track, start - first[track], start - first[track] + patch_frames


def library(number, n_frames, patch_frames, hop_frames):
    return PatchIndex(n_frames, patch_frames=patch_frames, hop_frames=hop_frames)[number]


def flat(number, n, p, h):
    found = finder()(number, n, p, h)
    flat_number = next(
        i for i, x in enumerate(PatchIndex(n, patch_frames=p, hop_frames=h)) if x == found
    )
    return found[0], flat_number, found[2]


WRONG_PATCHES = {
    "not clipped": finder(clip=False),
    "whole ones only": finder(lambda n, p, h: 1 + max(0, (n - p) // h)),
    "whole ones only, no error": gives_up(lambda n, p, h: 1 + max(0, (n - p) // h)),
    "none of a short track": gives_up(lambda n, p, h: 1 + int(np.ceil((n - p) / h))),
    "one too many": finder(lambda n, p, h: n // h + 1),
    "every hop": finder(lambda n, p, h: -(-n // h)),
    "hop ignored": lambda i, n, p, h: finder()(i % len(PatchIndex(n, patch_frames=p)), n, p, p),
    "number of the patch": flat,
    "from the corpus": from_the_corpus,
    "joined": joined,
    "tracks from 1": finder(track=1),
    "two values": lambda i, n, p, h: (0, 8),
    "a dictionary": lambda i, n, p, h: {"start": 0},
    "constant": lambda i, n, p, h: (0, 0, p),
}


def chunks(shape, chunk, start, stop, *, values=True, size=4):
    n_bins = -(-shape[0] // chunk[0])
    n_frames = (stop - 1) // chunk[1] - start // chunk[1] + 1
    return n_bins * n_frames * (chunk[0] * chunk[1] * size if values else 1)


def aligned(shape, chunk, start, stop):
    return chunks(shape, chunk, 0, stop - start)


def clipped(shape, chunk, start, stop):
    first, last = start // chunk[1], (stop - 1) // chunk[1]
    return 4 * shape[0] * (min((last + 1) * chunk[1], shape[1]) - first * chunk[1])


WRONG_BYTES = {
    "wanted": lambda s, c, a, b: 4 * s[0] * (b - a),
    "aligned": aligned,
    "stop": lambda s, c, a, b: chunks(s, c, a, b + 1),
    "no one added": lambda s, c, a, b: chunks(s, c, a, b) - chunks(s, c, 0, 1),
    "time only": lambda s, c, a, b: chunks(c, c, a, b),
    "rounded down": lambda s, c, a, b: chunks((s[0] // c[0] * c[0], s[1]), c, a, b),
    "clipped": clipped,
    "values": lambda s, c, a, b: chunks(s, c, a, b, size=1),
    "chunks": lambda s, c, a, b: chunks(s, c, a, b, values=False),
    "whole track": lambda s, c, a, b: chunks(s, c, 0, s[1]),
    "text": lambda s, c, a, b: "many",
    "float64": lambda s, c, a, b: chunks(s, c, a, b, size=8),
}


def cache_key(name, audio, parameters, code):
    about = json.dumps([parameters, code, audio.dtype.str, audio.shape], sort_keys=True)
    return hashlib.sha256(about.encode() + audio.tobytes()).hexdigest()


def sha(*parts):
    return hashlib.sha256("|".join(str(part) for part in parts).encode()).hexdigest()


def about(audio):
    return (audio.dtype, audio.shape, hashlib.sha256(audio.tobytes()).hexdigest())


def ordered(parameters):
    return sorted(parameters.items())


WRONG_KEYS = {
    "name": lambda n, a, p, c: sha(n, ordered(p), c),
    "printed": lambda n, a, p, c: sha(repr(a), a.shape, a.dtype, ordered(p), c),
    "sum": lambda n, a, p, c: sha(np.sort(a).tobytes(), a.shape, a.dtype, ordered(p), c),
    "beginning": lambda n, a, p, c: sha(
        about(a.ravel()[:3999]), a.shape == (4000,) or ordered(p), c
    ),
    "bytes only": lambda n, a, p, c: sha(a.tobytes(), ordered(p), c),
    "no shape": lambda n, a, p, c: sha(about(a.ravel()), ordered(p), c),
    "values only": lambda n, a, p, c: sha(about(a), sorted(map(str, p.values())), c),
    "names only": lambda n, a, p, c: sha(about(a), sorted(p), c),
    "no parameters": lambda n, a, p, c: sha(about(a), c),
    "no code": lambda n, a, p, c: sha(about(a), ordered(p)),
    "run together": lambda n, a, p, c: sha(
        about(a), "".join(sorted(p)), "".join(str(p[k]) for k in sorted(p, reverse=True)), c
    ),
    "with the name": lambda n, a, p, c: sha(n, about(a), ordered(p), c),
    "in the order given": lambda n, a, p, c: sha(about(a), p, c),
    "time": lambda n, a, p, c: sha(about(a), ordered(p), c, time.perf_counter_ns()),
    "hash": lambda n, a, p, c: hash((a.tobytes(), a.shape, str(a.dtype), str(ordered(p)), c)),
    "an array": lambda n, a, p, c: a,
    "text for bytes": lambda n, a, p, c: hashlib.sha256(n).hexdigest(),
}
SHARED = {"no parameters", "beginning"}  # the same misconception as another

SOLUTIONS = {
    "features_at_speed.1": finder(),
    "features_at_speed.2": chunks,
    "features_at_speed.3": cache_key,
}
WRONG = {
    "features_at_speed.1": WRONG_PATCHES,
    "features_at_speed.2": WRONG_BYTES,
    "features_at_speed.3": WRONG_KEYS,
}


RIGHT = [
    *SOLUTIONS.items(),
    ("features_at_speed.1", library),
    ("features_at_speed.2", bytes_touched),
    ("features_at_speed.3", lambda n, a, p, c: sha(about(a), ordered(p), c)),
]
HINTS = [
    ("features_at_speed.1", "not clipped", "beyond its end"),
    ("features_at_speed.1", "whole ones only", "ends too early"),
    ("features_at_speed.1", "whole ones only, no error", "whole patches only"),
    ("features_at_speed.1", "none of a short track", "gets none"),
    ("features_at_speed.1", "one too many", "begin at the end"),
    ("features_at_speed.1", "every hop", "every hop inside"),
    ("features_at_speed.1", "hop ignored", "hop_frames is ignored"),
    ("features_at_speed.1", "number of the patch", "multiply by hop_frames"),
    ("features_at_speed.1", "from the corpus", "beginning of the corpus"),
    ("features_at_speed.1", "joined", "joined into one"),
    ("features_at_speed.1", "tracks from 1", "numbered from 0"),
    ("features_at_speed.2", "wanted", "not those that are read"),
    ("features_at_speed.2", "aligned", "where a chunk begins"),
    ("features_at_speed.2", "stop", "stop - 1"),
    ("features_at_speed.2", "no one added", "Add 1"),
    ("features_at_speed.2", "time only", "along time only"),
    ("features_at_speed.2", "rounded down", "round down"),
    ("features_at_speed.2", "clipped", "stick out"),
    ("features_at_speed.2", "values", "4 bytes"),
    ("features_at_speed.2", "chunks", "number of chunks"),
    ("features_at_speed.2", "whole track", "whole track"),
    ("features_at_speed.3", "name", "not the name"),
    ("features_at_speed.3", "printed", "leaves out its middle"),
    ("features_at_speed.3", "sum", "see order"),
    ("features_at_speed.3", "bytes only", "audio.dtype"),
    ("features_at_speed.3", "no shape", "audio.shape"),
    ("features_at_speed.3", "values only", "names belong"),
    ("features_at_speed.3", "names only", "values of all"),
    ("features_at_speed.3", "no code", "code belongs"),
    ("features_at_speed.3", "run together", "runs them together"),
    ("features_at_speed.3", "with the name", "leave it out"),
    ("features_at_speed.3", "in the order given", "sort them"),
    ("features_at_speed.3", "time", "second time"),
    ("features_at_speed.3", "hash", "hashlib"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS
    shared = SHARED
