"""What an audio file says of its own length, where the decoder says nothing or something else.

libsndfile reads what it finds, and stops without a word where a WAV or AIFF file is cut short,
where a second Ogg stream begins, and where its guess for the length of an MP3 file ends. Here the
bones of these formats are walked, without decoding, to find that out.

Sources: RIFF (IBM and Microsoft, 1991), AIFF (Apple, 1989), Ogg (RFC 3533), MPEG audio (ISO/IEC
11172-3, 13818-3), the Xing/Info header as LAME writes it, ID3v2.4.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

# Sizes that writers leave where they do not know the length while they write.
_UNKNOWN_SIZES = (0, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_ENDLESS_BYTES = 0x7FFF_0000  # and what some write instead: nearly as much as fits
_HEAD_BYTES = 8  # of a chunk, which some writers count as well
_LARGEST_GAP_BYTES = 2**16  # of foreign bytes between two MPEG frames
_BIT_RATES = {  # kbit/s, by version (1, or 2 and 2.5) and layer, for the index 1 to 14
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def missing_bytes(file: BinaryIO) -> int:
    """Return how many bytes of samples a WAV or AIFF file lacks of those that it declares."""
    file.seek(0, 2)
    end = file.tell()
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        layout, wanted = struct.Struct("<4sI"), b"data"
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        layout, wanted = struct.Struct(">4sI"), b"SSND"
    else:
        return 0
    place = 12
    while place + layout.size <= end:
        file.seek(place)
        name, size = layout.unpack(file.read(layout.size))
        place += layout.size
        if name == wanted:
            known = size not in _UNKNOWN_SIZES and size < _ENDLESS_BYTES
            missing = place + size - end
            return missing if known and missing > _HEAD_BYTES else 0
        place += size + size % 2
    return 0


def missing_by_log(log: str) -> int:
    """Return the same for AU, RF64 and W64, from what libsndfile notes while it opens a file."""
    for declared, found in re.findall(r"(\d+) \(should be (\d+)\)", log):
        missing = int(declared) - int(found)
        if int(declared) < _ENDLESS_BYTES and missing > _HEAD_BYTES:
            return missing
    return 0


def ogg_fault(file: BinaryIO) -> str | None:
    """Return what keeps an Ogg file from being read whole, or None.

    Either a further stream that begins after the first (a *chained* file), or a last page that
    does not end the stream.
    """
    file.seek(0, 2)
    end = file.tell()
    place, begun, last = 0, False, False
    while place + 27 <= end:
        file.seek(place)
        head = file.read(27)
        if head[:4] != b"OggS":
            break
        table = file.read(head[26])
        first, last = bool(head[5] & 2), bool(head[5] & 4)
        if first and begun:
            return f"a second stream, which begins at byte {place}"
        begun = begun or not first
        place += 27 + len(table) + sum(table)
    if place > end or not last:
        return "a stream without its end"
    return None


def mpeg_samples(file: BinaryIO) -> tuple[int, int | None]:
    """Return how many samples the frames of an MPEG audio file hold, and how many it declares.

    The first is a count of its frames; decoders leave out up to three frames of it, which encoders
    add at both ends. The second is None where there is no Xing or Info header.
    """
    file.seek(0)
    head = file.read(10)
    place = 0
    if head[:3] == b"ID3" and len(head) == 10:
        place = 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
    place = _next_frame(file, place, None)
    total, declared, kind = 0, None, None
    while place is not None:
        file.seek(place)
        frame = _frame(file.read(4), kind)
        if frame is None:
            place = _next_frame(file, place, kind)
            continue
        n_bytes, n_samples, found = frame
        if kind is None:
            kind = found
            content = file.read(200)
            tag = max(content.find(b"Xing"), content.find(b"Info"))
            if tag >= 0 and len(content) >= tag + 12:
                flags, n_frames = struct.unpack(">II", content[tag + 4 : tag + 12])
                declared = n_frames * n_samples if flags & 1 else None
                n_samples = 0
        total += n_samples
        place += n_bytes
    return total, declared


def _frame(head: bytes, wanted: tuple[int, int] | None) -> tuple[int, int, tuple[int, int]] | None:
    """Return the length of an MPEG audio frame in bytes and in samples, and its kind.

    None for other bytes, and for a frame of another kind (version, layer and rate) than wanted.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    found = head[1] & 0xFE, head[2] & 0x0C
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate_index, bit_rate_index, padding = head[2] >> 2 & 3, head[2] >> 4, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate_index == 3 or bit_rate_index in (0, 15):
        return None
    if wanted not in (None, found):
        return None
    generation = 1 if version == 3 else 2
    bits_per_s = 1000 * _BIT_RATES[generation, layer][bit_rate_index - 1]
    rate_hz = _RATES_HZ[version][rate_index]
    if layer == 1:
        return (12 * bits_per_s // rate_hz + padding) * 4, 384, found
    n_samples = 576 if layer == 3 and generation == 2 else 1152
    return n_samples // 8 * bits_per_s // rate_hz + padding, n_samples, found


def _next_frame(file: BinaryIO, place: int, kind: tuple[int, int] | None) -> int | None:
    """Return where the next frame begins that is followed by another, or by the end."""
    file.seek(place)
    content = file.read(_LARGEST_GAP_BYTES)
    offset = content.find(b"\xff")
    while offset >= 0:
        frame = _frame(content[offset : offset + 4], kind)
        if frame is not None:
            file.seek(place + offset + frame[0])
            following = file.read(4)
            if len(following) < 4 or _frame(following, frame[2]) is not None:
                return place + offset
        offset = content.find(b"\xff", offset + 1)
    return None
