"""The sounds that the singer of :mod:`dl101.data.embedded.singer` can make, as numbers.

Conventions: frequencies and bandwidths in Hz; levels as amplitudes relative to a sung vowel. A
*formant* is a resonance of the vocal tract: a peak of the spectrum that stays where it is whatever
the pitch. Labels are plain letters: the vowels a e i o u (as in Italian), ``ae`` (bad), ``eh``
(bed), ``uh`` (bud) and ``aw`` (bought); consonants as they are spelt, ``sh`` as in ship.

Sources: the vowels a e i o u for each kind of voice are the table "Formant Values" of the Csound
reference manual (an appendix; made for singing synthesis); the other vowels are the averages of
Peterson and Barney, "Control methods used in a study of the vowels", JASA 24 (1952), Table II, with
the two highest formants as in the singing table, or above the third. Formants of consonants follow
Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980), Table III (a man).
Durations, amplitudes and colours of hissing sounds are ours, set by looking at spectrograms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

N_FORMANTS = 5
VOICE_TYPES = ("soprano", "alto", "tenor", "bass")
VOWELS = ("a", "e", "i", "o", "u", "ae", "eh", "uh", "aw")

Resonances = tuple[tuple[float, ...], tuple[float, ...]]  # frequencies, bandwidths

_SUNG: Mapping[str, Mapping[str, Resonances]] = {
    "soprano": {
        "a": ((800, 1150, 2900, 3900, 4950), (80, 90, 120, 130, 140)),
        "e": ((350, 2000, 2800, 3600, 4950), (60, 100, 120, 150, 200)),
        "i": ((270, 2140, 2950, 3900, 4950), (60, 90, 100, 120, 120)),
        "o": ((450, 800, 2830, 3800, 4950), (70, 80, 100, 130, 135)),
        "u": ((325, 700, 2700, 3800, 4950), (50, 60, 170, 180, 200)),
    },
    "alto": {
        "a": ((800, 1150, 2800, 3500, 4950), (80, 90, 120, 130, 140)),
        "e": ((400, 1600, 2700, 3300, 4950), (60, 80, 120, 150, 200)),
        "i": ((350, 1700, 2700, 3700, 4950), (50, 100, 120, 150, 200)),
        "o": ((450, 800, 2830, 3500, 4950), (70, 80, 100, 130, 135)),
        "u": ((325, 700, 2530, 3500, 4950), (50, 60, 170, 180, 200)),
    },
    "tenor": {
        "a": ((650, 1080, 2650, 2900, 3250), (80, 90, 120, 130, 140)),
        "e": ((400, 1700, 2600, 3200, 3580), (70, 80, 100, 120, 120)),
        "i": ((290, 1870, 2800, 3250, 3540), (40, 90, 100, 120, 120)),
        "o": ((400, 800, 2600, 2800, 3000), (40, 80, 100, 120, 120)),
        "u": ((350, 600, 2700, 2900, 3300), (40, 60, 100, 120, 120)),
    },
    "bass": {
        "a": ((600, 1040, 2250, 2450, 2750), (60, 70, 110, 120, 130)),
        "e": ((400, 1620, 2400, 2800, 3100), (40, 80, 100, 120, 120)),
        "i": ((250, 1750, 2600, 3050, 3340), (60, 90, 100, 120, 120)),
        "o": ((400, 750, 2400, 2600, 2900), (40, 80, 100, 120, 120)),
        "u": ((350, 600, 2400, 2675, 2950), (40, 80, 100, 120, 120)),
    },
}
_SPOKEN_MEN = {
    "ae": (660, 1720, 2410),
    "eh": (530, 1840, 2480),
    "uh": (640, 1190, 2390),
    "aw": (570, 840, 2410),
}
_SPOKEN_WOMEN = {
    "ae": (860, 2050, 2850),
    "eh": (610, 2330, 2990),
    "uh": (760, 1400, 2780),
    "aw": (590, 920, 2710),
}


def _all_vowels(voice_type: str) -> Mapping[str, Resonances]:
    sung = _SUNG[voice_type]
    spoken = _SPOKEN_WOMEN if voice_type in ("soprano", "alto") else _SPOKEN_MEN
    high = sung["a"][0][3:]
    added = {}
    for vowel, formants in spoken.items():
        # Two resonances in one place would whistle: keep the fourth and fifth above the third.
        above = (max(high[0], formants[2] + 500), max(high[1], formants[2] + 1000))
        added[vowel] = (formants + above, (80.0, 90.0, 120.0, 130.0, 140.0))
    return MappingProxyType({**sung, **added})


VOWEL_RESONANCES: Mapping[str, Mapping[str, Resonances]] = MappingProxyType(
    {voice_type: _all_vowels(voice_type) for voice_type in VOICE_TYPES}
)


@dataclass(frozen=True)
class Consonant:
    """How a consonant sounds.

    ``formants_hz`` are the first three, of a man (None: those of the vowel). ``voicing`` is the
    amplitude of the voice in it, ``aspiration`` that of breath through the tract, ``friction`` that
    of noise made at a narrowing, around ``friction_hz`` with ``friction_width_hz``. A plosive is
    silent (or murmurs) until its last ``burst_s``; a nasal closes the mouth and adds a zero to the
    tract.
    """

    duration_s: float
    formants_hz: tuple[float, float, float] | None = None
    voicing: float = 0.0
    aspiration: float = 0.0
    friction: float = 0.0
    friction_hz: float = 1500.0
    friction_width_hz: float = 2000.0
    burst_s: float = 0.0
    nasal: bool = False


CONSONANTS: Mapping[str, Consonant] = MappingProxyType(
    {
        "m": Consonant(0.08, (480, 1270, 2130), voicing=0.45, nasal=True),
        "n": Consonant(0.07, (480, 1340, 2470), voicing=0.45, nasal=True),
        "l": Consonant(0.06, (310, 1050, 2880), voicing=0.6),
        "r": Consonant(0.06, (310, 1060, 1380), voicing=0.6),
        "w": Consonant(0.06, (290, 610, 2150), voicing=0.6),
        "y": Consonant(0.06, (260, 2070, 3020), voicing=0.6),
        "v": Consonant(0.06, (220, 1100, 2080), 0.35, 0.0, 0.04, 4500.0, 5000.0),
        "z": Consonant(0.08, (240, 1390, 2530), 0.3, 0.0, 0.12, 6500.0, 2000.0),
        "f": Consonant(0.09, (340, 1100, 2080), 0.0, 0.0, 0.08, 5500.0, 6000.0),
        "s": Consonant(0.10, (320, 1390, 2530), 0.0, 0.0, 0.28, 7000.0, 1800.0),
        "sh": Consonant(0.10, (300, 1840, 2750), 0.0, 0.0, 0.28, 3300.0, 1400.0),
        "h": Consonant(0.07, None, 0.0, 0.05),
        "p": Consonant(0.09, (400, 1100, 2150), 0.0, 0.04, 0.12, 1000.0, 1500.0, burst_s=0.02),
        "t": Consonant(0.09, (400, 1600, 2600), 0.0, 0.04, 0.25, 4500.0, 2500.0, burst_s=0.025),
        "k": Consonant(0.09, (300, 1990, 2850), 0.0, 0.04, 0.22, 2000.0, 800.0, burst_s=0.03),
        "b": Consonant(0.06, (200, 1100, 2150), 0.08, 0.0, 0.10, 900.0, 1200.0, burst_s=0.01),
        "d": Consonant(0.06, (200, 1600, 2600), 0.08, 0.0, 0.15, 4000.0, 2500.0, burst_s=0.012),
        "g": Consonant(0.06, (200, 1990, 2850), 0.08, 0.0, 0.15, 1900.0, 800.0, burst_s=0.015),
    }
)
# Breath that a singer draws between phrases: noise through an open tract.
BREATH = Consonant(0.3, None, friction=0.05, friction_hz=1600.0, friction_width_hz=1800.0)
NASAL_ZERO_HZ = 450.0
WOMENS_TRACT_SCALE = 1.15  # formants of women over those of men, for the consonants
