"""The exercises of the chapter on features at speed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.data.featurestore import bytes_touched
from dl101.lab.exercise import Behaviour, Exercise, Function, NotAccepted
from dl101.patches import PatchIndex

# ---- 1: which patch is it? ---------------------------------------------------------------------

TOO_FEW = (
    "Your count of patches ends too early for the last numbers: does the last, shorter patch of "
    "each track count, and that of a track shorter than a patch?"
)
Patch = tuple[int, int, int]
Corpus = tuple[Sequence[int], int, int]  # n_frames, patch_frames, hop_frames
CORPORA: tuple[Corpus, ...] = (
    ((16, 24, 8), 8, 8),  # whole patches only
    ((10, 30, 5, 8, 17), 8, 8),  # shorter last ones, and a track shorter than a patch
    ((20, 33, 2, 9), 8, 4),  # overlapping, and a track far shorter than a patch
    ((23, 8, 40), 10, 3),
)


def _count(n: int, p: int, h: int) -> int:
    return 1 + max(0, -(-(n - p) // h))


def _cut(
    n_frames: Sequence[int],
    p: int,
    h: int,
    *,
    count: Callable[[int, int, int], int] = _count,
    clip: bool = True,
) -> list[Patch]:
    """Return all patches by the rule (the defaults) or by a misreading of it."""
    return [
        (track, k * h, min(k * h + p, n) if clip else k * h + p)
        for track, n in enumerate(n_frames)
        for k in range(count(n, p, h))
    ]


def _across(n_frames: Sequence[int], p: int, h: int) -> list[Patch]:
    """Return patches cut from all tracks joined together, with the track they begin in."""
    first = np.concatenate([[0], np.cumsum(n_frames)])
    starts = range(0, int(first[-1]), h)
    tracks = [int(np.searchsorted(first, s, side="right")) - 1 for s in starts]
    return [
        (t, int(s - first[t]), int(s - first[t]) + p) for t, s in zip(tracks, starts, strict=True)
    ]


def _numbered(cut: Callable[..., list[Patch]] = _cut, **options: Any) -> Callable:
    """Return an answer that looks the patch up, and returns nothing where there is none."""

    def find_patch(number: int, n_frames: Sequence[int], p: int, h: int) -> Patch | None:
        patches = cut(n_frames, p, h, **options)
        return patches[number] if number < len(patches) else None

    return find_patch


def _differing_patch(got: Patch, right: Patch, number: int, n: Sequence, p: int, h: int) -> str:
    right, got = (tuple(f"{value:g}" for value in patch) for patch in (right, got))
    return (
        f"For tracks of {list(n)} frames, patches of {p} and a hop of {h}, patch {number} is "
        f"({', '.join(right)}); you return ({', '.join(got)})."
    )


PATCH = Function(
    title="which patch is number i?",
    minutes=15,
    rubric={
        "patches are counted track by track, rounding up, so that no frame is lost": 2,
        "start is a frame of its track, and stop does not leave the track": 1,
    },
    right=lambda number, n, p, h: tuple(PatchIndex(n, patch_frames=p, hop_frames=h)[number]),
    cases=lambda: [(i, list(n), *ph) for n, *ph in CORPORA for i in range(len(_cut(n, *ph)))],
    returns="three whole numbers: track, start, stop",
    mistakes={
        "The last patch of a track stops beyond its end: stop is min(start + patch_frames, length "
        "of the track). Whoever wants equal lengths pads later, and knows what was padded.": (
            _numbered(clip=False)
        ),
        "You count whole patches only, so the frames at the end of a track are in no patch: round "
        "up instead of down, ceil((n - patch) / hop).": _numbered(
            count=lambda n, p, h: 1 + max(0, (n - p) // h)
        ),
        "A track that is much shorter than a patch gets none: (n - patch) / hop is negative then, "
        "and even rounded up it may be -1 or less. Take 0 instead, so that one patch is left.": (
            _numbered(count=lambda n, p, h: 1 - (p - n) // h)
        ),
        "One patch too many where the patches fit exactly: the last one would begin at the end of "
        "the track. Round (n - patch) / hop up, and add one.": _numbered(
            count=lambda n, p, h: 1 + max(0, n - p) // h + (n >= p)
        ),
        "One patch too many where the patches fit exactly: the last one would begin at the end of "
        "the track. n // hop + 1 counts starts from 0 to n, and n is no frame.": _numbered(
            count=lambda n, p, h: n // h + 1
        ),
        "You begin a patch at every hop inside the track. When patches overlap, the last of these "
        "hold only frames that others hold already: stop at the first patch that reaches the "
        "end.": _numbered(count=lambda n, p, h: -(-n // h)),
        "hop_frames is ignored: patches begin every hop_frames, not every patch_frames.": _numbered(
            lambda n, p, h: _cut(n, p, p)
        ),
        "start is the number of a patch; it should be a frame: multiply by hop_frames.": (
            lambda i, n, p, h: (_cut(n, p, h)[i][0], i, _cut(n, p, h)[i][2]),
            lambda i, n, p, h: tuple(np.floor_divide(_cut(n, p, h)[i], (1, h, 1))),
        ),
        "start counts from the beginning of the corpus. Subtract the number of patches in the "
        "tracks before, so that each track begins at frame 0.": _numbered(
            lambda n, p, h: [
                (t, k * h, k * h + stop - start) for k, (t, start, stop) in enumerate(_cut(n, p, h))
            ]
        ),
        "You cut all tracks joined into one, so that a patch can begin in one piece and end in the "
        "next. Count the patches of each track by itself.": _numbered(_across),
        "Tracks are numbered from 0; yours begin with 1.": _numbered(
            lambda n, p, h: [(t + 1, *patch) for t, *patch in _cut(n, p, h)]
        ),
    },
    symptoms={
        TOO_FEW: (
            lambda got, *_: got is None,
            lambda i, n, p, h: _numbered()(i, n, p, h) if i < len(n) else None,
        ),
    },
    crash={IndexError: (TOO_FEW, lambda i, n, p, h: _cut(n, p, h)[:2][i])},
    differs=_differing_patch,
    praise="Every frame is in a patch, no patch leaves its track, and nothing was stored.",
)

# ---- 2: bytes read -----------------------------------------------------------------------------

READS = (  # shape (bins, frames), chunks, start, stop
    ((64, 2584), (64, 128), 0, 128),
    ((64, 2584), (64, 128), 100, 228),
    ((64, 2584), (16, 100), 150, 450),
    ((72, 1000), (1, 1000), 300, 428),
    ((72, 1000), (50, 300), 850, 1000),
    ((72, 1000), (72, 1), 17, 29),
)
Pair = tuple[int, int]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _touched(chunks: Pair, start: int, stop: int) -> int:
    """Return the number of chunks along time."""
    return (stop - 1) // chunks[1] - start // chunks[1] + 1


def _bytes(
    *,
    along_bins: Callable[[int, int], int] = _ceil,
    along_time: Callable[[Pair, Pair, int, int], int] = lambda s, c, a, b: _touched(c, a, b),
    each: Callable[[Pair], int] = lambda chunks: 4 * chunks[0] * chunks[1],
) -> Callable[[Pair, Pair, int, int], int]:
    """Return an answer by the rule (the defaults) or by a misreading of it."""
    return lambda shape, chunks, start, stop: (
        along_bins(shape[0], chunks[0]) * along_time(shape, chunks, start, stop) * each(chunks)
    )


def _clipped(shape: Pair, chunks: Pair, start: int, stop: int) -> int:
    """Return the bytes of the chunks touched, those at the edge of the array cut off there."""
    begin = start // chunks[1] * chunks[1]
    end = min(((stop - 1) // chunks[1] + 1) * chunks[1], shape[1])
    return 4 * shape[0] * (end - begin)


BYTES = Function(
    title="bytes that a patch costs",
    minutes=12,
    rubric={
        "chunks are counted from the first touched to that of frame stop - 1": 2,
        "all chunks along the bins count, each with its full size in bytes": 1,
    },
    right=bytes_touched,
    cases=lambda: READS,
    returns="one number of bytes",
    mistakes={
        "These are the bytes you want, not those that are read: a chunk comes as a whole.": (
            lambda shape, chunks, start, stop: 4 * shape[0] * (stop - start)
        ),
        "You assume that the patch begins where a chunk begins. A patch of 128 frames that starts "
        "at frame 100 touches two chunks of 128: count from the first chunk touched to the "
        "last.": _bytes(along_time=lambda s, c, a, b: _ceil(b - a, c[1])),
        "One chunk too many where the patch ends with its chunk: stop is the first frame that is "
        "*not* read, so the last chunk is that of frame stop - 1.": _bytes(
            along_time=lambda s, c, a, b: _touched(c, a, b + 1)
        ),
        "One chunk too few along time: the number of the last chunk minus that of the first is 0 "
        "when both are the same one, which is read all the same. Add 1.": _bytes(
            along_time=lambda s, c, a, b: _touched(c, a, b) - 1
        ),
        "You count chunks along time only. The patch needs all bins: multiply by the number of "
        "chunks along the bins, ceil(bins / chunk_bins).": _bytes(along_bins=lambda n, c: 1),
        "Along the bins you round down. The bins that are left over fill a chunk of their own: "
        "round up.": _bytes(along_bins=lambda n, c: n // c),
        "You cut the chunks off at the edge of the array. Stored, they have their full size, also "
        "where they stick out.": _clipped,
        "Right, but in values: a float32 has 4 bytes.": _bytes(each=lambda c: c[0] * c[1]),
        "This is the number of chunks; one of them has 4 * chunk_bins * chunk_frames bytes.": (
            _bytes(each=lambda chunks: 1)
        ),
        "You read the whole track: only the chunks that hold a frame from start to stop count.": (
            _bytes(along_time=lambda s, c, a, b: _ceil(s[1], c[1]))
        ),
    },
    differs="For an array {0} in chunks of {1}, frames {2} to {3} need {right:.0f} bytes; you say "
    "{got:g}.",
    praise="From the first chunk touched to the last, in both directions, each in full.",
)

# ---- 3: the key of a cache ---------------------------------------------------------------------

CODE = "def log_mel(audio, n_bands, hop_samples):\n    return mel(power(audio), n_bands)\n"
AUDIO = np.random.default_rng([107, 3]).uniform(-1, 1, 4000).astype(np.float32)
ONE_SAMPLE, SWAPPED = AUDIO.copy(), AUDIO.copy()
ONE_SAMPLE[2000] += 1e-3
SWAPPED[[1000, 3000]] = AUDIO[[3000, 1000]]
CALLS: Mapping[str, Mapping[str, Any]] = {  # what differs from the usual call
    "usual": {},
    "other recording": {"audio": np.cos(np.arange(4000, dtype=np.float32))},
    "shorter": {"audio": AUDIO[:3999]},
    "one sample": {"audio": ONE_SAMPLE},
    "swapped": {"audio": SWAPPED},
    "integers": {"audio": AUDIO.view(np.int32)},
    "two channels": {"audio": AUDIO.reshape(2, 2000)},
    "other parameter": {"parameters": {"n_bands": 64, "window_samples": 512}},
    "other value": {"parameters": {"n_bands": 64, "hop_samples": 256}},
    "other code": {"code": CODE.replace("power(audio)", "power(audio) ** 0.5")},
    "run together": {"parameters": {"n_bands": 6, "hop_samples": 4512}},
    "again": {},
    "renamed": {"name": "copy_of_take_1.wav"},
    "reordered": {"parameters": {"hop_samples": 512, "n_bands": 64}},
}


def _observed(call: Callable, answer: Any) -> dict[str, Any]:
    """Return the key of each call, and whether Python's own hash() is used."""
    seen: dict[str, Any] = {}
    for label, changed in CALLS.items():
        arguments = {
            "name": "take_1.wav",
            "audio": AUDIO,
            "parameters": {"n_bands": 64, "hop_samples": 512},
            "code": CODE,
        } | changed
        arguments["audio"] = arguments["audio"].copy()
        key = call(*arguments.values())
        if isinstance(key, np.ndarray | list | dict | set):
            raise NotAccepted(
                f"A key must be able to name a file; yours is a {type(key).__name__}. Return text."
            )
        seen[label] = str(key)
    names = getattr(getattr(answer, "__code__", None), "co_names", ())
    own = getattr(answer, "__globals__", {})
    return seen | {"hash": "hash" in names and "hash" not in own}


def _sha(*parts: Any) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def _about(x: NDArray) -> str:
    return _sha(x.dtype, x.shape, hashlib.sha256(x.tobytes()).hexdigest())


def _blind(label: str) -> Callable[[Mapping], bool]:
    """Return whether a call that should have another key has the usual one."""
    return lambda seen: seen[label] == seen["usual"]


def _restless(label: str) -> Callable[[Mapping], bool]:
    """Return whether a call that should have the usual key has another."""
    return lambda seen: seen[label] != seen["usual"]


KEY = Behaviour(
    title="a key that cannot lie",
    minutes=15,
    rubric={
        "all samples count, with their type and shape": 2,
        "names and values of the parameters, and the code, count": 2,
        "the file's name and the order of parameters do not count": 1,
    },
    observe=_observed,
    faults={
        "Python's own hash() of texts and bytes is another number in every new process, so "
        "after a restart nothing would be found: use hashlib.": (
            lambda seen: seen["hash"],
            lambda n, a, p, c: hash((a.tobytes(), a.shape, str(a.dtype), str(sorted(p)), c)),
        ),
        "The file was replaced by another recording under the same name, and your key stays "
        "what it was: the old feature would be served, silently. Use the samples, not the name.": (
            _blind("other recording"),
            lambda n, a, p, c: _sha(n, sorted(p.items()), c),
        ),
        "One sample less at the end, and the key is the same. Use all samples.": (
            _blind("shorter"),
            lambda n, a, p, c: _sha(_about(a[:3000]), sorted(p.items()), c),
        ),
        "One sample in the middle was changed, and the key is the same. Printing an array "
        "(str, repr) leaves out its middle: use audio.tobytes().": (
            _blind("one sample"),
            lambda n, a, p, c: _sha(repr(a), a.shape, a.dtype, sorted(p.items()), c),
        ),
        "Two samples changed places, and the key is the same. A sum or a mean does not see "
        "order: use a digest of audio.tobytes().": (
            _blind("swapped"),
            lambda n, a, p, c: _sha(_about(np.sort(a)), sorted(p.items()), c),
        ),
        "The same bytes as integers are another signal, and the key is the same: put "
        "audio.dtype into the key as well.": (
            _blind("integers"),
            lambda n, a, p, c: _sha(a.shape, a.tobytes(), sorted(p.items()), c),
        ),
        "The same bytes in two channels are another signal, and the key is the same: put "
        "audio.shape into the key as well.": (
            _blind("two channels"),
            lambda n, a, p, c: _sha(_about(a.ravel()), sorted(p.items()), c),
        ),
        "Another parameter with the same value, and the key is the same: names belong to it.": (
            _blind("other parameter"),
            lambda n, a, p, c: _sha(_about(a), sorted(map(str, p.values())), c),
        ),
        "A parameter was changed from 512 to 256, and the key is the same: the values of all "
        "parameters belong to it.": (
            _blind("other value"),
            lambda n, a, p, c: _sha(_about(a), sorted(p), c),
        ),
        "The function was corrected, and your key still finds what the faulty one computed: "
        "the code belongs to the key.": (
            _blind("other code"),
            lambda n, a, p, c: _sha(_about(a), sorted(p.items())),
        ),
        "Bands 64 and hop 512, or bands 6 and hop 4512: your key runs them together. Put "
        "something between, or use json.dumps(parameters, sort_keys=True).": (
            _blind("run together"),
            lambda n, a, p, c: _sha(
                _about(a), *sorted(p), "".join(str(p[k]) for k in sorted(p, reverse=True)), c
            ),
        ),
        "The same call has another key the second time, so nothing would ever be found. Is "
        "there a time, a random number or an id() in it?": (
            _restless("again"),
            lambda n, a, p, c: _sha(_about(a), sorted(p.items()), c, time.perf_counter_ns()),
        ),
        "The same recording under another name has another key, and is computed again. The "
        "name is not what the feature depends on: leave it out.": (
            _restless("renamed"),
            lambda n, a, p, c: _sha(n, _about(a), sorted(p.items()), c),
        ),
        "The same parameters, written in another order, have another key: sort them.": (
            _restless("reordered"),
            lambda n, a, p, c: _sha(_about(a), p, c),
        ),
    },
    crash={
        TypeError: (
            "hashlib takes bytes: audio.tobytes(), text.encode(); and json takes no arrays, so "
            "give the audio to hashlib by itself.",
            lambda n, a, p, c: json.dumps([a, p, c]),
        ),
    },
    praise="Samples, type and shape, parameters by name, code: and nothing else.",
)

EXERCISES: Mapping[str, Exercise] = {
    "features_at_speed.1": PATCH,
    "features_at_speed.2": BYTES,
    "features_at_speed.3": KEY,
}
