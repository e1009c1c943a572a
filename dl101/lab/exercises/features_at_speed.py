"""Checks of the chapter on features at speed.

``features_at_speed.1`` ``find_patch(number, n_frames, patch_frames, hop_frames)`` returns (track,
start, stop) of the patch with this number; ``n_frames`` lists the length of each track, patches
begin every ``hop_frames``, the last one of a track is the first that reaches its end, and stops
there.

``features_at_speed.2`` ``bytes_read(shape, chunks, start, stop)`` returns how many bytes of a
float32 array (bins, frames) are read from disk for the frames [start, stop), when a chunk that is
touched is read in full, also at the edges.

``features_at_speed.3`` ``cache_key(name, audio, parameters, code)`` returns a key that changes with
everything that the cached feature depends on, and with nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.data.featurestore import bytes_touched
from dl101.lab.checks import Exercise, NotAccepted, ask
from dl101.patches import PatchIndex

# ---- 1: which patch is it? ---------------------------------------------------------------------

TOO_FEW = (
    "Your count of patches ends too early for the last numbers: does the last, shorter patch of "
    "each track count, and that of a track shorter than a patch?"
)
Lengths = tuple[Sequence[int], int, int]
CORPORA: tuple[Lengths, ...] = (  # n_frames, patch_frames, hop_frames
    ((16, 24, 8), 8, 8),  # whole patches only
    ((10, 30, 5, 8, 17), 8, 8),  # shorter last ones, and a track shorter than a patch
    ((20, 33, 2, 9), 8, 4),  # overlapping, and a track far shorter than a patch
    ((23, 8, 40), 10, 3),
)


def _cut(
    corpus: Lengths,
    *,
    count: Callable[[int, int, int], int] = lambda n, p, h: 1 + max(0, -(-(n - p) // h)),
    clip: bool = True,
) -> list[tuple[int, int, int]]:
    """Return all patches by the rule (the defaults) or by a misreading of it."""
    n_frames, p, h = corpus
    return [
        (track, k * h, min(k * h + p, n) if clip else k * h + p)
        for track, n in enumerate(n_frames)
        for k in range(count(n, p, h))
    ]


def _across(corpus: Lengths) -> list[tuple[int, int, int]]:
    """Return patches cut from all tracks joined together, with the track they begin in."""
    n_frames, p, h = corpus
    first = np.concatenate([[0], np.cumsum(n_frames)])
    starts = range(0, int(first[-1]), h)
    tracks = [int(np.searchsorted(first, s, side="right")) - 1 for s in starts]
    return [
        (t, int(s - first[t]), int(s - first[t]) + p) for t, s in zip(tracks, starts, strict=True)
    ]


CUT_MISTAKES: tuple[tuple[Callable[[Lengths], list], str], ...] = (
    (
        lambda c: _cut(c, clip=False),
        "The last patch of a track stops beyond its end: stop is min(start + patch_frames, length "
        "of the track). Whoever wants equal lengths pads later, and knows what was padded.",
    ),
    (
        lambda c: _cut(c, count=lambda n, p, h: 1 + max(0, (n - p) // h)),
        "You count whole patches only, so the frames at the end of a track are in no patch: round "
        "up instead of down, ceil((n - patch) / hop).",
    ),
    (
        lambda c: _cut(c, count=lambda n, p, h: 1 - (p - n) // h),
        "A track that is much shorter than a patch gets none: (n - patch) / hop is negative then, "
        "and even rounded up it may be -1 or less. Take 0 instead, so that one patch is left.",
    ),
    (
        lambda c: _cut(c, count=lambda n, p, h: 1 + max(0, n - p) // h + (n >= p)),
        "One patch too many where the patches fit exactly: the last one would begin at the end of "
        "the track. Round (n - patch) / hop up, and add one.",
    ),
    (
        lambda c: _cut(c, count=lambda n, p, h: n // h + 1),
        "One patch too many where the patches fit exactly: the last one would begin at the end of "
        "the track. n // hop + 1 counts starts from 0 to n, and n is no frame.",
    ),
    (
        lambda c: _cut(c, count=lambda n, p, h: -(-n // h)),
        "You begin a patch at every hop inside the track. When patches overlap, the last of these "
        "hold only frames that others hold already: stop at the first patch that reaches the end.",
    ),
    (
        lambda c: _cut((c[0], c[1], c[1])),
        "hop_frames is ignored: patches begin every hop_frames, not every patch_frames.",
    ),
    (
        lambda c: [(t, k, s) for k, (t, _, s) in enumerate(_cut(c))],
        "start is the number of a patch; it should be a frame: multiply by hop_frames.",
    ),
    (
        lambda c: [(t, k * c[2], k * c[2] + s - b) for k, (t, b, s) in enumerate(_cut(c))],
        "start counts from the beginning of the corpus. Subtract the number of patches in the "
        "tracks before, so that each track begins at frame 0.",
    ),
    (
        _across,
        "You cut all tracks joined into one, so that a patch can begin in one piece and end in the "
        "next. Count the patches of each track by itself.",
    ),
    (
        lambda c: [(t + 1, b, s) for t, b, s in _cut(c)],
        "Tracks are numbered from 0; yours begin with 1.",
    ),
)


def _grade_patch(answer: object) -> str:
    right, got = [], []
    for corpus in CORPORA:
        index = PatchIndex(corpus[0], patch_frames=corpus[1], hop_frames=corpus[2])
        right.append([tuple(patch) for patch in index])
        got.append(_asked_patches(answer, len(index), corpus))
    if got == right:
        return "Every frame is in a patch, no patch leaves its track, and nothing was stored."
    for model, hint in CUT_MISTAKES:
        # a misreading may have fewer patches than there are: compare those that both have
        meant = [model(corpus) for corpus in CORPORA]
        pairs = zip(got, meant, strict=True)
        if all(g[: len(m)] == m[: len(g)] for g, m in pairs) and meant != right:
            raise NotAccepted(hint)
    place = next(i for i, (g, r) in enumerate(zip(got, right, strict=True)) if g != r)
    pairs = zip(got[place], right[place], strict=False)
    number = next((i for i, (g, r) in enumerate(pairs) if g != r), None)
    if number is None:
        raise NotAccepted(TOO_FEW)
    n_frames, patch, hop = CORPORA[place]
    raise NotAccepted(
        f"For tracks of {list(n_frames)} frames, patches of {patch} and a hop of {hop}, patch "
        f"{number} is {right[place][number]}; you return {got[place][number]}."
    )


def _asked_patches(answer: object, n: int, corpus: Lengths) -> list[tuple[int, ...]]:
    """Return the answers up to the first number for which there is none."""
    found = []
    for number in range(n):
        try:
            found.append(_asked_patch(answer, number, corpus))
        except NotAccepted as mishap:
            if mishap.done or not found:  # a stub has no answer for the first number either
                raise
            break  # a loop over the tracks that ends without a return: too few patches
    return found


def _asked_patch(answer: object, number: int, corpus: Lengths) -> tuple[int, ...]:
    result = ask(
        answer,
        number,
        list(corpus[0]),
        *corpus[1:],
        hints={IndexError: TOO_FEW},
    )
    try:
        values = tuple(int(value) for value in result)
    except (TypeError, ValueError):
        raise NotAccepted("Return three whole numbers: track, start, stop.") from None
    if len(values) != 3:
        raise NotAccepted(f"Return track, start and stop; you return {len(values)} values.")
    return values


# ---- 2: bytes read -----------------------------------------------------------------------------

Read = tuple[tuple[int, int], tuple[int, int], int, int]
READS: tuple[Read, ...] = (  # shape (bins, frames), chunks, start, stop
    ((64, 2584), (64, 128), 0, 128),
    ((64, 2584), (64, 128), 100, 228),
    ((64, 2584), (16, 100), 150, 450),
    ((72, 1000), (1, 1000), 300, 428),
    ((72, 1000), (50, 300), 850, 1000),
    ((72, 1000), (72, 1), 17, 29),
)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _blocks(chunks: tuple[int, int], start: int, stop: int) -> int:
    return (stop - 1) // chunks[1] - start // chunks[1] + 1


def _clipped(read: Read) -> int:
    """Return the bytes of the chunks touched, those at the edge of the array cut off there."""
    (bins, frames), chunks, start, stop = read
    begin = start // chunks[1] * chunks[1]
    end = min(((stop - 1) // chunks[1] + 1) * chunks[1], frames)
    return 4 * bins * (end - begin)


READ_MISTAKES: tuple[tuple[Callable[[Read], float], str], ...] = (
    (
        lambda r: 4 * r[0][0] * (r[3] - r[2]),
        "These are the bytes you want, not those that are read: a chunk comes as a whole.",
    ),
    (
        lambda r: 4 * _ceil(r[0][0], r[1][0]) * _ceil(r[3] - r[2], r[1][1]) * r[1][0] * r[1][1],
        "You assume that the patch begins where a chunk begins. A patch of 128 frames that starts "
        "at frame 100 touches two chunks of 128: count from the first chunk touched to the last.",
    ),
    (
        lambda r: (
            4
            * _ceil(r[0][0], r[1][0])
            * (r[3] // r[1][1] - r[2] // r[1][1] + 1)
            * r[1][0]
            * r[1][1]
        ),
        "One chunk too many where the patch ends with its chunk: stop is the first frame that is "
        "*not* read, so the last chunk is that of frame stop - 1.",
    ),
    (
        lambda r: 4 * _ceil(r[0][0], r[1][0]) * (_blocks(*r[1:]) - 1) * r[1][0] * r[1][1],
        "One chunk too few along time: the number of the last chunk minus that of the first is 0 "
        "when both are the same one, which is read all the same. Add 1.",
    ),
    (
        lambda r: 4 * _blocks(*r[1:]) * r[1][0] * r[1][1],
        "You count chunks along time only. The patch needs all bins: multiply by the number of "
        "chunks along the bins, ceil(bins / chunk_bins).",
    ),
    (
        lambda r: 4 * (r[0][0] // r[1][0]) * _blocks(*r[1:]) * r[1][0] * r[1][1],
        "Along the bins you round down. The bins that are left over fill a chunk of their own: "
        "round up.",
    ),
    (
        _clipped,
        "You cut the chunks off at the edge of the array. Stored, they have their full size, also "
        "where they stick out.",
    ),
    (
        lambda r: _ceil(r[0][0], r[1][0]) * _blocks(*r[1:]) * r[1][0] * r[1][1],
        "Right, but in values: a float32 has 4 bytes.",
    ),
    (
        lambda r: _ceil(r[0][0], r[1][0]) * _blocks(*r[1:]),
        "This is the number of chunks; one of them has 4 * chunk_bins * chunk_frames bytes.",
    ),
    (
        lambda r: 4 * _ceil(r[0][0], r[1][0]) * _ceil(r[0][1], r[1][1]) * r[1][0] * r[1][1],
        "You read the whole track: only the chunks that hold a frame from start to stop count.",
    ),
)


def _grade_bytes(answer: object) -> str:
    got = [_asked_bytes(answer, read) for read in READS]
    right = [float(bytes_touched(*read)) for read in READS]
    if got == right:
        return "From the first chunk touched to the last, in both directions, each in full."
    for model, hint in READ_MISTAKES:
        if got == [float(model(read)) for read in READS]:
            raise NotAccepted(hint)
    wrong = next(i for i, (g, r) in enumerate(zip(got, right, strict=True)) if g != r)
    shape, chunks, start, stop = READS[wrong]
    raise NotAccepted(
        f"For an array {shape} in chunks of {chunks}, frames {start} to {stop} need "
        f"{right[wrong]:.0f} bytes; you say {got[wrong]:g}."
    )


def _asked_bytes(answer: object, read: Read) -> float:
    result = ask(answer, *read)
    try:
        return float(result)
    except (TypeError, ValueError):
        raise NotAccepted(
            f"Return one number of bytes; yours is a {type(result).__name__}."
        ) from None


# ---- 3: the key of a cache ---------------------------------------------------------------------

Call = tuple[str, NDArray, Mapping[str, Any], str]
CODE = "def log_mel(audio, n_bands, hop_samples):\n    return mel(power(audio), n_bands)\n"


def _call(**changed: Any) -> Call:
    """Return the arguments of a call, some of them changed."""
    rng = np.random.default_rng([107, 3])
    audio = rng.uniform(-1, 1, 4000).astype(np.float32)
    usual = {
        "name": "take_1.wav",
        "audio": audio,
        "parameters": {"n_bands": 64, "hop_samples": 512},
        "code": CODE,
    }
    usual |= changed
    return usual["name"], usual["audio"], usual["parameters"], usual["code"]


def _grade_key(answer: object) -> str:
    called = getattr(getattr(answer, "__code__", None), "co_names", ())
    if "hash" in called and "hash" not in getattr(answer, "__globals__", {}):
        _asked_key(answer, _call())
        raise NotAccepted(
            "Python's own hash() of texts and bytes is another number in every new process, so "
            "after a restart nothing would be found: use hashlib."
        )
    audio = _call()[1]
    usual = _asked_key(answer, _call())
    one_sample, swapped = audio.copy(), audio.copy()
    one_sample[2000] += 1e-3
    swapped[[1000, 3000]] = audio[[3000, 1000]]
    must_differ = (
        (
            _call(audio=np.cos(np.arange(4000, dtype=np.float32))),
            "The file was replaced by another recording under the same name, and your key stays "
            "what it was: the old feature would be served, silently. Use the samples, "
            "not the name.",
        ),
        (
            _call(audio=audio[:3999]),
            "One sample less at the end, and the key is the same. Use all samples.",
        ),
        (
            _call(audio=one_sample),
            "One sample in the middle was changed, and the key is the same. Printing an array "
            "(str, repr) leaves out its middle: use audio.tobytes().",
        ),
        (
            _call(audio=swapped),
            "Two samples changed places, and the key is the same. A sum or a mean does not see "
            "order: use a digest of audio.tobytes().",
        ),
        (
            _call(audio=audio.view(np.int32)),
            "The same bytes as integers are another signal, and the key is the same: put "
            "audio.dtype into the key as well.",
        ),
        (
            _call(audio=audio.reshape(2, 2000)),
            "The same bytes in two channels are another signal, and the key is the same: put "
            "audio.shape into the key as well.",
        ),
        (
            _call(parameters={"n_bands": 64, "window_samples": 512}),
            "Another parameter with the same value, and the key is the same: names belong to it.",
        ),
        (
            _call(parameters={"n_bands": 64, "hop_samples": 256}),
            "A parameter was changed from 512 to 256, and the key is the same: the values of all "
            "parameters belong to it.",
        ),
        (
            _call(code=CODE.replace("power(audio)", "power(audio) ** 0.5")),
            "The function was corrected, and your key still finds what the faulty one computed: "
            "the code belongs to the key.",
        ),
        (
            _call(parameters={"n_bands": 6, "hop_samples": 4512}),
            "Bands 64 and hop 512, or bands 6 and hop 4512: your key runs them together. Put "
            "something between, or use json.dumps(parameters, sort_keys=True).",
        ),
    )
    missed = [hint for call, hint in must_differ if _asked_key(answer, call) == usual]
    if missed:
        raise NotAccepted(missed[0])
    if _asked_key(answer, _call()) != usual:
        raise NotAccepted(
            "The same call has another key the second time, so nothing would ever be found. Is "
            "there a time, a random number or an id() in it?"
        )
    if _asked_key(answer, _call(name="copy_of_take_1.wav")) != usual:
        raise NotAccepted(
            "The same recording under another name has another key, and is computed again. The "
            "name is not what the feature depends on: leave it out."
        )
    if _asked_key(answer, _call(parameters={"hop_samples": 512, "n_bands": 64})) != usual:
        raise NotAccepted(
            "The same parameters, written in another order, have another key: sort them."
        )
    return "Samples, type and shape, parameters by name, code: and nothing else."


def _asked_key(answer: object, call: Call) -> str:
    result = ask(
        answer,
        *call,
        hints={
            TypeError: "hashlib takes bytes: audio.tobytes(), text.encode(); and json takes no "
            "arrays, so give the audio to hashlib by itself."
        },
    )
    if isinstance(result, np.ndarray | list | dict | set):
        raise NotAccepted(
            f"A key must be able to name a file; yours is a {type(result).__name__}. Return text."
        )
    return str(result)


EXERCISES: Mapping[str, Exercise] = {
    "features_at_speed.1": Exercise(
        "which patch is number i?",
        _grade_patch,
        minutes=15,
        rubric={
            "patches are counted track by track, rounding up, so that no frame is lost": 2,
            "start is a frame of its track, and stop does not leave the track": 1,
        },
    ),
    "features_at_speed.2": Exercise(
        "bytes that a patch costs",
        _grade_bytes,
        minutes=12,
        rubric={
            "chunks are counted from the first touched to that of frame stop - 1": 2,
            "all chunks along the bins count, each with its full size in bytes": 1,
        },
    ),
    "features_at_speed.3": Exercise(
        "a key that cannot lie",
        _grade_key,
        minutes=15,
        rubric={
            "all samples count, with their type and shape": 2,
            "names and values of the parameters, and the code, count": 2,
            "the file's name and the order of parameters do not count": 1,
        },
    ),
}
