"""Styles of accompaniment, as data: metre, tempo, chords, patterns, and who plays.

Conventions: a bar has ``beats_per_bar`` beats of ``beat_quarters`` quarter notes (1.5 in 6/8), each
beat ``steps_per_beat`` steps; a pattern has one sign per step of one or more bars (spaces only help
the eye). ``tempo_bpm`` counts beats. Signs of the patterns:

drums
    ``X`` accent, ``x`` normal, ``o`` soft, ``.`` nothing.
bass
    ``R`` the chord's bass, ``r`` the same softly, ``8`` an octave higher, ``3`` and ``5`` third and
    fifth, ``w`` a walking note, ``a`` a step towards the next chord, ``.`` hold, ``-`` stop.
comping
    ``X``, ``x``, ``o`` the whole chord, held; ``s`` the same, short; ``d``, ``u`` strummed down,
    up; ``0`` to ``5`` single notes of the chord from below, ringing; ``b``, ``f`` bass and fifth
    in a low octave; ``.`` hold; ``-`` stop.

``swing`` tells where the middle of a unit of ``swing_quarters`` falls: 0.5 straight, 2/3 triplets.
Progressions are roman numerals as :mod:`dl101.data.embedded.harmony` reads them. ``pools`` name,
for each role, *classes* of instruments of the sound bank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# General MIDI numbers of the drums that the kits have.
DRUMS = {
    "kick": 36,
    "stick": 37,
    "snare": 38,
    "clap": 39,
    "hat": 42,
    "open": 46,
    "crash": 49,
    "ride": 51,
    "low_tom": 45,
    "high_tom": 48,
    "tambourine": 54,
    "shaker": 70,
    "cowbell": 56,
    "conga": 64,
}
Drums = Mapping[int, str]


@dataclass(frozen=True)
class Style:
    """How a kind of music is accompanied; see the top of the module for the patterns.

    ``drums`` and the others hold variants: a piece takes one, a new section may take another.
    ``fills`` replace the drums in the last bar of a section. ``applied``, ``inverted`` and
    ``suspended`` are the chances, per bar, that a progression is varied that way; ``final`` is the
    last chord of a piece where it is not the first one. ``vocals`` is the chance that the melody
    is sung and ``melody_density`` its notes per beat.
    """

    name: str
    beats_per_bar: int
    tempo_bpm: tuple[float, float]
    progressions: Mapping[str, tuple[str, ...]]
    drums: tuple[Drums, ...]
    fills: tuple[Drums, ...]
    bass: tuple[str, ...]
    comping: tuple[str, ...]
    pools: Mapping[str, tuple[str, ...]]
    beat_quarters: float = 1.0
    steps_per_beat: int = 4
    swing: float = 0.5
    swing_quarters: float = 1.0
    applied: float = 0.0
    inverted: float = 0.1
    suspended: float = 0.0
    final: Mapping[str, str] = field(default_factory=dict)
    vocals: float = 0.0
    melody_density: float = 1.2

    @property
    def bar_quarters(self) -> float:
        """Length of a bar in quarter notes."""
        return self.beats_per_bar * self.beat_quarters

    @property
    def step_quarters(self) -> float:
        """Length of one step of the patterns in quarter notes."""
        return self.beat_quarters / self.steps_per_beat


def _drums(**rows: str) -> Drums:
    """Return a drum pattern from rows named after the drums."""
    return MappingProxyType({DRUMS[name]: row.replace(" ", "") for name, row in rows.items()})


def _signs(*patterns: str) -> tuple[str, ...]:
    return tuple(pattern.replace(" ", "") for pattern in patterns)


_FILL_4 = (
    _drums(kick="X... X... .... ....", snare="x.x. x.xx ..x. ....", high_tom=".... .... xx.. ....",
           low_tom=".... .... ..xx xxx.", hat="x.x. x... .... ...."),
    _drums(kick="X... ..x. X... ....", snare=".... X... .... xxXX", hat="x.x. x.x. x.x. ...."),
    _drums(kick="X... .... .... ....", snare="X... X... X.x. xxxx", hat=".... .... .... ...."),
)  # fmt: skip

_POP_MAJOR = (
    "I | V | vi | IV",
    "vi | IV | I | V",
    "I | vi | IV | V",
    "I | IV | vi | V",
    "I V/3 | vi | IV | Vsus4 V",
    "IV | I/3 | ii7 | V",
    "I | iii | IV | V",
    "I | bVII | IV | I",
)
_POP_MINOR = (
    "i | bVI | bIII | bVII",
    "i | bVII | bVI | V",
    "i | iv | bVII | bIII",
    "i | v | bVI | bVII",
    "i | bVI | iv | V7",
)

_FOLK_MAJOR = (
    "I | I | IV | V | I | I | IV V | I",
    "I | IV | I | V7 | I | IV | V7 | I",
    "I | V | vi | IV | I | V | IV V | I",
)
_FOLK_MINOR = (
    "i | i | bVII | bVII | i | i | bVII v | i",
    "i | bVI | bVII | i | i | bVI | V | i",
)
_DORIAN = ("i | i | bVII | bVII | i | i | bVII | i", "i | IV | i | bVII | i | IV | bVII | i")
_MIXOLYDIAN = (
    "I | bVII | I | bVII | I | bVII | IV bVII | I",
    "I | I | bVII | bVII | I | v | bVII | I",
)
_BLUES = (
    "I7 | I7 | I7 | I7 | IV7 | IV7 | I7 | I7 | V7 | IV7 | I7 | V7",
    "I7 | IV7 | I7 | I7 | IV7 | IV7 | I7 | V7/ii | ii7 | V7 | I7 | V7",
    "I7 | I7 | IV7 | IV7 | I7 | V7 | I7 | V7",
)
_BLUES_MINOR = ("i7 | iv7 | i7 | i7 | iv7 | iv7 | i7 | i7 | bVI7 | V7 | i7 | V7",)
_JAZZ = (
    "ii7 | V7 | Imaj7 | vi7 | ii7 | V7 | Imaj7 | Imaj7",
    "Imaj7 vi7 | ii7 V7 | iii7 V7/ii | ii7 V7 | Imaj7 V7/IV | IVmaj7 bVII7 | iii7 vi7 | ii7 V7",
    "Imaj7 | V7/vi | vi7 | V7/V | ii7 | V7 | iii7 V7/ii | ii7 V7",
    "Imaj9 | #io7 | ii7 | V9 | iii7 | bIIIo7 | ii7 | V7",
    "I6 | V7/ii | V7/V | V7 | I6 | V7/ii | ii7 V7 | I6",
)
_JAZZ_MINOR = (
    "iiø7 | V7 | i7 | i7 | iv7 | bVII7 | bIIImaj7 | bVImaj7 | iiø7 | V7 | iminmaj7 | i6",
    "i6 | iiø7 V7 | i6 | iiø7 V7 | iv7 | bVII7 | bVImaj7 | iiø7 V7",
)
_SOUL = (
    "Imaj7 | vi7 | ii7 | V7",
    "Imaj7 | iii7 | IVmaj7 | IVmaj7 V9",
    "IVmaj7 | iii7 | ii7 | Imaj7",
    "Imaj9 | IVmaj9 | Imaj9 | IVmaj9",
)
_SOUL_MINOR = (
    "i7 | iv7 | i7 | V7",
    "i9 | IV9 | i9 | IV9",
    "i7 | bVII | bVImaj7 | V7",
    "i7 | i7/b7 | bVImaj7 | V7",
)
_CLASSICAL = (
    "I | V7/5 | I/3 | IV | ii6 | V7 | I | I",
    "I | IV/5 | V7/3 | I | vi | ii/b3 | I/5 V7 | I",
    "I | V/3 | vi | iii/5 | IV | I/3 | ii7/b3 V7 | I",
    "I | vi | ii/b3 | V | I/3 | IV | Vsus4 V7 | I",
)
_CLASSICAL_MINOR = (
    "i | V7/3 | i | iv/b3 | i/5 | iiø7/b3 | V7 | i",
    "i | bVI | iv | V | i/b3 | iio/b3 | i/5 V7 | i",
    "i | viio7 | i/b3 | iv | V7/3 | i | iv V | i",
)
_VAMP = ("i7 | IV7 | i7 | IV7", "i9 | i9 | iv9 | i9", "i7 | i7 | i7 | bVII IV")
_VAMP_MAJOR = ("I7 | I7 | IV9 | I7", "I9 | I9 | I9 | IV7 V7")

_KEYS = ("piano", "electric-piano", "organ")
_GUITARS = ("acoustic-guitar", "electric-guitar")
_SINGERS = ("voice",)


def _pools(comping: str, melody: str, *, pad: str = "pad strings", bass: str = "bass") -> Mapping:
    """Return the instruments of each role, from names separated by spaces."""
    return MappingProxyType(
        {
            "comping": tuple(comping.split()),
            "pad": tuple(pad.split()),
            "bass": tuple(bass.split()),
            "melody": tuple(melody.split()),
        }
    )


# fmt: off
_STYLES = (
    Style(
        "rock", 4, (96.0, 152.0),
        {
            "major": (*_POP_MAJOR, "I | I | IV | IV | I | I | V | IV", "I | bVII | IV | IV"),
            "minor": (*_POP_MINOR, "i | i | bVII | IV"),
        },
        drums=(
            _drums(kick="X... .... X.x. ....", snare=".... X... .... X...",
                   hat="x.x. x.x. x.x. x.x."),
            _drums(kick="X..x ..x. ..X. ..x.", snare=".... X... .... X...",
                   ride="X.x. X.x. X.x. X.x."),
            _drums(kick="X... ..x. X... ....", snare=".... X... .... X..o",
                   hat="X.o. X.o. X.o. X.o."),
        ),
        fills=_FILL_4,
        bass=_signs("R.r. R.r. R.r. R.r.", "R... ..r. R... 5.a.", "R... r... ..R. r.8."),
        comping=_signs("X... x... X... x.x.", "d... d.du ..ud d.du", "X.-. ..x. .-X. ...-"),
        pools=_pools("electric-guitar distorted-guitar acoustic-guitar piano",
                     "voice electric-guitar distorted-guitar", pad="organ strings"),
        vocals=0.8, suspended=0.08, melody_density=1.3,
    ),
    Style(
        "metal", 4, (110.0, 180.0),
        {"minor": ("i5 | i5 | bVI5 | bVII5", "i5 | bII5 | i5 | bVII5",
                   "i5 bVI5 | bVII5 | i5 bIII5 | iv5")},
        drums=(
            _drums(kick="XxXx XxXx XxXx XxXx", snare=".... X... .... X...",
                   crash="X... .... .... ....",
                   hat="x.x. x.x. x.x. x.x."),
            _drums(kick="X.xx X.xx X.xx X.xx", snare=".... X... .... X...",
                   ride="X... X... X... X..."),
            _drums(kick="X... ..xx X... ..x.", snare=".... .... X... ....",
                   hat="X... X... X... X..."),
        ),
        fills=_FILL_4,
        bass=_signs("RrrR rrRr rrRr rrRr", "R.rr R.rr R.rr R.rr", "R.r. R.r. R.r. R.r."),
        comping=_signs("Xsss Xsss Xsss Xsss", "X.ss X.ss X.ss X.ss", "X... .... X... x.x."),
        pools=_pools("distorted-guitar", "distorted-guitar voice", pad="pad strings voice"),
        vocals=0.6, inverted=0.0, melody_density=1.5,
    ),
    Style(
        "pop", 4, (88.0, 132.0),
        {"major": _POP_MAJOR, "minor": _POP_MINOR},
        drums=(
            _drums(kick="X... ..x. X... ..x.", snare=".... X... .... X...",
                   hat="x.x. x.x. x.x. x.x."),
            _drums(kick="X... .... X.x. ....", clap=".... X... .... X...",
                   hat="xoxo xoxo xoxo xoxo",
                   tambourine=".... x... .... x..."),
            _drums(kick="X... x... X... x...", snare=".... X... .... X...",
                   open="..x. ..x. ..x. ..x."),
        ),
        fills=_FILL_4,
        bass=_signs("R... .... R.r. ....", "R..r ..R. ..r. 5...", "R.R. R.R. R.R. R.a."),
        comping=_signs("x... x... x... x...", "d... d.u. .ud. d.u.", "0.2. 1.2. 3.2. 1.2.",
                       "..x. ..x. ..x. ..x."),
        pools=_pools("piano electric-piano acoustic-guitar electric-guitar synth",
                     "voice synth saxophone electric-guitar flute"),
        vocals=0.85, suspended=0.1, melody_density=1.4,
    ),
    Style(
        "pop-ballad", 4, (60.0, 92.0),
        {"major": (*_POP_MAJOR, "I | I/3 | IV | iv", "I | V/3 | vi vi7/b7 | IV"),
         "minor": _POP_MINOR},
        drums=(
            _drums(kick="X... .... X... ..x.", stick=".... X... .... X...",
                   hat="o.o. o.o. o.o. o.o."),
            _drums(kick="X... ...x X... ....", snare=".... X... .... X...",
                   ride="x.o. x.o. x.o. x.o."),
            _drums(kick="X... .... ..x. ....", shaker="xoxo xoxo xoxo xoxo"),
        ),
        fills=(_FILL_4[1],
               _drums(kick="X... .... X... ....", snare=".... X... .... x.xx",
                      hat="o.o. o.o. o.o. ....")),
        bass=_signs("R... .... R... ....", "R... .... .... 5.a.", "R... ..r. R... ...."),
        comping=_signs("0.1. 2.3. 2.1. 2.1.", "x... x... x... x...", "0.12 3.21 0.12 3.21",
                       "x... .... x... ...."),
        pools=_pools("piano electric-piano acoustic-guitar harp",
                     "voice flute saxophone violin oboe", pad="pad strings voice"),
        vocals=0.8, inverted=0.18, suspended=0.15, applied=0.05, melody_density=0.95,
    ),
    Style(
        "blues", 4, (66.0, 126.0),
        {"major": _BLUES, "minor": _BLUES_MINOR},
        drums=(
            _drums(kick="X.. ..x X.. ...", snare="... X.. ... X..", ride="X.x X.x X.x X.x"),
            _drums(kick="X.. ... X.x ...", snare="... X.. ... X..", hat="X.x X.x X.x X.x"),
            _drums(kick="X.. x.. X.. x..", snare="... X.. ..o X..", hat="xox xox xox xox"),
        ),
        fills=(_drums(kick="X.. ... X.. ...", snare="... X.x xxx XxX"),
               _drums(kick="X.. ... ... X..", snare="X.x x.. x.x ...", low_tom="... ... ... xxx")),
        bass=_signs("R.. 3.. 5.. 3..", "w.. w.. w.. a..", "R.r 5.5 R.r 5.5", "R.. 5.. 8.. 5.."),
        comping=_signs("... s.. ... s..", "x.s x.s x.s x.s", "x.. ..s ..s ...", "X.. ... ..x ..."),
        pools=_pools("piano electric-guitar organ", "voice harmonica saxophone electric-guitar",
                     pad="organ"),
        steps_per_beat=3, vocals=0.55, inverted=0.0, final={"major": "I7"}, melody_density=1.3,
    ),
    Style(
        "jazz-swing", 4, (104.0, 216.0),
        {"major": _JAZZ, "minor": _JAZZ_MINOR},
        drums=(
            _drums(kick="o... o... o... o...", hat=".... x... .... x...",
                   ride="X... x.x. X... x.x."),
            _drums(kick="o... .... ..o. ....", hat=".... x... .... x...",
                   ride="X... x.x. X... x...",
                   stick=".... .... .... x..."),
        ),
        fills=(_drums(ride="X... x... .... ....", snare=".... ..x. x.x. X.x.",
                      kick="o... .... .... X..."),
               _drums(ride="X... x.x. X... ....", snare="..o. .... o.x. x.X.",
                      hat=".... x... .... x...")),
        bass=_signs("w... w... w... a...", "R... w... w... a...", "R... .... 5... ..a."),
        comping=_signs(".... ..s. .... ....", "x... ..s. .... ....", "..s. .... x... ....",
                       ".... s... .... s...",
                       "s... s... s... s..."),
        pools=_pools("piano electric-guitar electric-piano mallets",
                     "saxophone trumpet clarinet voice trombone mallets piano",
                     pad="strings brass"),
        swing=0.65, vocals=0.2, inverted=0.0, final={"major": "Imaj7", "minor": "i6"},
        melody_density=1.7,
    ),
    Style(
        "bossa", 4, (96.0, 148.0),
        {"major": (*_JAZZ, "Imaj7 | Imaj7 | bIImaj7 | bIImaj7",
                   "Imaj9 | Imaj9 | II7 | II7 | ii7 | bII7 | Imaj7 | bII7"),
         "minor": _JAZZ_MINOR},
        drums=(
            _drums(kick="X..x X..x X..x X..x", stick="x..x ..x. ..x. .x..",
                   hat="x.x. x.x. x.x. x.x."),
            _drums(kick="X..x X..x X..x X..x", stick="..x. ..x. x..x ..x.",
                   shaker="xoxo xoxo xoxo xoxo"),
        ),
        fills=(_drums(kick="X..x X..x X... ....", stick="x..x ..x. x.x. xxx.",
                      shaker="xoxo xoxo xoxo xoxo"),),
        bass=_signs("R..5 5..R R..5 5..R", "R... ..5. 5... ..R.", "R... ..55 5... ...."),
        comping=_signs("x..s ..x. .s.. x...", "..x. .x.. x..x ..x.", "b.ss .s.s f.ss .s.s"),
        pools=_pools("acoustic-guitar piano electric-piano",
                     "flute voice saxophone piano acoustic-guitar"),
        vocals=0.5, inverted=0.03, final={"major": "Imaj7", "minor": "i6"}, melody_density=1.2,
    ),
    Style(
        "reggae", 4, (66.0, 96.0),
        {"major": ("I | IV | I | V", "I | ii | I | ii", "I | vi | IV | V", "I | V | IV | IV"),
         "minor": ("i | iv | i | iv", "i | bVII | i | bVII", "i | v | iv | i")},
        drums=(
            _drums(kick=".... .... X... ....", stick=".... .... X... ....",
                   hat="x.o. x.o. x.o. x.o."),
            _drums(kick="X... .... X... ....", snare=".... .... X... ....",
                   hat="x.x. x.x. x.x. x.xo"),
            _drums(kick="X... X... X... X...", stick=".... x..x ..x. ....",
                   hat="x.o. x.o. x.o. x.o."),
        ),
        fills=(_drums(kick="X... .... .... ....", snare="..x. x.x. xxx. X...",
                      high_tom=".... .... ...x ...."),),
        bass=_signs("R... r.5. ..R. 3.5.", "-... R.r. 5.R. -...", "R..r ..5. R... -..."),
        comping=_signs(".... s... .... s...", ".... ss.. .... ss..", "..s. s.s. ..s. s.s."),
        pools=_pools("electric-guitar organ piano", "voice trumpet saxophone trombone harmonica",
                     pad="organ"),
        swing=0.58, swing_quarters=0.5, vocals=0.75, inverted=0.0, melody_density=1.2,
    ),
    Style(
        "funk", 4, (88.0, 122.0),
        {"major": _VAMP_MAJOR, "minor": _VAMP},
        drums=(
            _drums(kick="X.x. ..x. .x.. x...", snare=".... X..o .o.. X..o",
                   hat="xxxx xxxx xxxx xxox"),
            _drums(kick="X..x .... ..x. .x..", snare=".o.. X.o. .o.. X...",
                   hat="x.xx x.xx x.xx x.xx", cowbell="x... x... x... x..."),
            _drums(kick="X... ..x. ..x. ..x.", snare=".... X..o .o.o X...",
                   open="..x. ..x. ..x. ..x."),
        ),
        fills=(*_FILL_4,
               _drums(kick="X..x ..x. .... X...", snare="..x. xX.x .xX. xxx.",
                      hat="x.x. x.x. .... ....")),
        bass=_signs("R..r -.8. .r.5 -.8.", "R.-r .8.- r.5. 8.a.", "R... -.r8 .-r. 5.a."),
        comping=_signs("s..s .s.. s.s. .s.s", ".... s..s .... s...", "ssos .ss. .sso .s.s",
                       "x-.. .... ..s. .s.."),
        pools=_pools("electric-guitar clavinet electric-piano organ",
                     "voice saxophone trumpet synth", pad="brass strings"),
        swing=0.54, swing_quarters=0.5, vocals=0.5, inverted=0.0, melody_density=1.5,
    ),
    Style(
        "soul", 4, (58.0, 100.0),
        {"major": (*_SOUL, "I | iii7 | IV | V9"), "minor": _SOUL_MINOR},
        drums=(
            _drums(kick="X.. ..x X.. ...", snare="... X.. ... X..", hat="xxx xxx xxx xxx"),
            _drums(kick="X.. ... ..x ...", stick="... X.. ... X..", ride="xox xox xox xox"),
        ),
        fills=(_drums(kick="X.. ... X.. ...", snare="... X.. xxx xxx", low_tom="... ... ... ..x"),),
        bass=_signs("R.. ..5 R.. ..a", "R.. ... 5.r ..a", "R.r ..5 8.. 5.a"),
        comping=_signs("xss xss xss xss", "0.1 2.1 3.2 1.2", "x.. ..s x.. ..s", "x.. ... x.. ..."),
        pools=_pools("piano organ electric-piano electric-guitar", "voice saxophone trumpet",
                     pad="strings brass organ"),
        steps_per_beat=3, vocals=0.85, applied=0.08, melody_density=1.3,
    ),
    Style(
        "disco", 4, (108.0, 130.0),
        {"major": _SOUL, "minor": (*_SOUL_MINOR, *_POP_MINOR)},
        drums=(
            _drums(kick="X... X... X... X...", snare=".... X... .... X...",
                   open="..x. ..x. ..x. ..x.", hat="x... x... x... x..."),
            _drums(kick="X... X... X... X...", clap=".... X... .... X...",
                   hat="xxXx xxXx xxXx xxXx", tambourine="..x. ..x. ..x. ..x."),
        ),
        fills=_FILL_4,
        bass=_signs("R.8. R.8. R.8. R.8.", "R..8 ..R. 8.5. 8.a.", "R.8r .8R. 5.8. r.a."),
        comping=_signs("s.ss s.ss s.ss s.ss", "..s. ..s. ..s. ..s.", "x... ..x. ..s. x..."),
        pools=_pools("electric-guitar piano electric-piano", "voice strings brass saxophone",
                     pad="strings"),
        vocals=0.7, melody_density=1.4,
    ),
    Style(
        "electronic", 4, (118.0, 142.0),
        {"major": ("I | I | IV | IV", *_POP_MAJOR[:2]),
         "minor": (*_POP_MINOR, "i7 | i7 | i7 | i7", "i9 | i9 | bVImaj7 | bVImaj7")},
        drums=(
            _drums(kick="X... X... X... X...", clap=".... X... .... X...",
                   open="..X. ..X. ..X. ..X."),
            _drums(kick="X... X... X... X...", clap=".... X... .... X..x",
                   hat="xxXx xxXx xxXx xxXx", stick="...x ..x. ..x. ...."),
            _drums(kick="X... ..X. ...x ....", clap=".... X... .... X...",
                   hat="x.xx x.xx x.xx xxxx"),
        ),
        fills=(_drums(kick="X... X... .... ....", clap=".... X... x.x. xxxx",
                      hat="xxxx xxxx .... ...."),
               _drums(kick="X... X... X.X. XXXX", snare=".... .... x.x. xxxx")),
        bass=_signs("-.R. -.R. -.R. -.R.", "R.RR .RR. RR.R R.R.", "R..R ..R. .R.. R.8.",
                    "..Rr ..Rr ..Rr ..Rr"),
        comping=_signs("0123 2103 1230 1231", "x..x ..x. ..x. .x..", "s..s ..s. s..s ..s.",
                       "0.2. 3.2. 1.2. 4.2."),
        pools=_pools("synth electric-piano piano", "synth voice mallets", pad="pad strings voice"),
        vocals=0.35, inverted=0.0, melody_density=1.6,
    ),
    Style(
        "hip-hop", 4, (76.0, 104.0),
        {"major": ("Imaj7 | vi7 | Imaj7 | vi7", "ii7 | V7 | Imaj7 | vi7"),
         "minor": ("i7 | i7 | bVImaj7 | bVImaj7", "i | iv | i | V", "i9 | bVII | i9 | bVI",
                   "i7 | i7 | i7 | V7")},
        drums=(
            _drums(kick="X..x ..x. ..x. ....", snare=".... X... .... X...",
                   hat="x.x. x.x. x.x. x.xx"),
            _drums(kick="X... ...x .xX. ...x", clap=".... X... .... X...",
                   hat="xoxo xoxo xoxo xxxx"),
            _drums(kick="X.x. .... ..X. ....", snare=".... X... .... X.o.",
                   shaker="x.xo x.xo x.xo x.xo"),
        ),
        fills=(_drums(kick="X..x ..x. .... ....", snare=".... X... ..x. X.xx",
                      hat="x.x. x.x. .... ...."),),
        bass=_signs("R... ...r .R.. ....", "R..r ..R. -... r.a.", "R... .... ..r. 5..."),
        comping=_signs("x... .... .... ....", "x..s .... ..s. ....", "0.2. .1.3 .2.. 1...",
                       "..s. ..s. ..s. ..s."),
        pools=_pools("electric-piano piano mallets acoustic-guitar", "voice flute mallets trumpet"),
        swing=0.58, swing_quarters=0.5, vocals=0.5, inverted=0.0, melody_density=1.0,
    ),
    Style(
        "country", 4, (92.0, 160.0),
        {"major": ("I | I | IV | I | I | I | V | V", "I | IV | I | V7", "I | V/3 | IV | V7",
                   "I | IV | V7 | I", "vi | IV | I | V"),
         "mixolydian": ("I | bVII | IV | I",)},
        drums=(
            _drums(kick="X... .... X... ....", snare=".... x... .... x...",
                   hat="x.x. x.x. x.x. x.x."),
            _drums(kick="X... .... X... ....", snare="..o. X.oo ..o. X.oo"),
            _drums(kick="X... .... X... ....", stick=".... X... .... X...",
                   shaker="xoxo xoxo xoxo xoxo"),
        ),
        fills=_FILL_4[:2],
        bass=_signs("R... .... 5... ....", "R... .... 5... a...", "R... 3... 5... a..."),
        comping=_signs("b... d.u. f... d.u.", "d... d.du ..ud d.u.", "b.2. 1.3. f.2. 1.3.",
                       ".... s... .... s..."),
        pools=_pools("acoustic-guitar banjo electric-guitar",
                     "voice violin banjo harmonica electric-guitar",
                     pad="strings organ accordion"),
        vocals=0.8, applied=0.06, melody_density=1.2,
    ),
    Style(
        "folk", 4, (80.0, 126.0),
        {"major": (*_FOLK_MAJOR, *_POP_MAJOR[:2]), "minor": _FOLK_MINOR, "dorian": _DORIAN},
        drums=(
            _drums(shaker="x.o. x.o. x.o. x.o."),
            _drums(kick="X... .... x... ....", tambourine=".... x... .... x..."),
        ),
        fills=(),
        bass=_signs("R... .... 5... ....", "R... .... .... ....", "R... .... R... a..."),
        comping=_signs("0.2. 1.3. 2.3. 1.2.", "b.2. 1.3. f.2. 1.2.", "d... d.u. .ud. d.u."),
        pools=_pools("acoustic-guitar harp banjo", "voice flute violin harmonica oboe",
                     pad="strings accordion"),
        vocals=0.75, inverted=0.15, suspended=0.08, melody_density=1.1,
    ),
    Style(
        "reel", 2, (88.0, 116.0),
        {"major": _FOLK_MAJOR, "minor": _FOLK_MINOR, "dorian": _DORIAN, "mixolydian": _MIXOLYDIAN},
        drums=(
            _drums(kick="X... x... X... x...", tambourine="..x. ..x. ..x. ..x."),
            _drums(low_tom="X..x x.x. X..x x.x."),
            _drums(shaker="xoXo xoXo xoXo xoXo"),
        ),
        fills=(),
        bass=_signs("R... 5...", "R... r...", "R... ..5."),
        comping=_signs("b.d. f.d.", "d.ud .ud.", "s.s. s.s.", "dudu dudu"),
        pools=_pools("acoustic-guitar piano accordion banjo harp", "violin flute accordion banjo",
                     pad="strings accordion organ"),
        beat_quarters=2.0, vocals=0.0, inverted=0.0, melody_density=3.4,
    ),
    Style(
        "celtic", 4, (80.0, 132.0),
        {"major": _FOLK_MAJOR, "minor": _FOLK_MINOR, "dorian": _DORIAN, "mixolydian": _MIXOLYDIAN},
        drums=(
            _drums(low_tom="X.ox x.ox X.ox x.ox"),
            _drums(kick="X... .... X... ....", shaker="x.xo x.xo x.xo x.xo"),
        ),
        fills=(),
        bass=_signs("R... .... 5... ....", "R... R... R... R...", "R... .... .... 5..."),
        comping=_signs("d..u ..d. d..u ..d.", "0.12 .123 0.12 .123", "b... d.u. f... d.u."),
        pools=_pools("acoustic-guitar harp accordion", "violin flute voice accordion",
                     pad="strings organ voice"),
        vocals=0.3, inverted=0.04, melody_density=1.6,
    ),
    Style(
        "hornpipe", 4, (120.0, 184.0),
        {"major": _FOLK_MAJOR, "minor": _FOLK_MINOR, "dorian": _DORIAN, "mixolydian": _MIXOLYDIAN},
        drums=(
            _drums(kick="X... .... X... ....", tambourine=".... x... .... x..."),
            _drums(low_tom="X.o. x.o. X.o. x.o."),
        ),
        fills=(),
        bass=_signs("R... .... 5... ....", "R... 3... 5... 3...", "R... .... r... ...."),
        comping=_signs("b... s... f... s...", "d... d.u. d... d.u.", "s... s... s... s..."),
        pools=_pools("acoustic-guitar piano accordion harp", "violin flute accordion clarinet"),
        swing=0.64, vocals=0.0, inverted=0.0, melody_density=1.7,
    ),
    Style(
        "strathspey", 4, (100.0, 160.0),
        {"major": _FOLK_MAJOR, "minor": _FOLK_MINOR, "dorian": _DORIAN, "mixolydian": _MIXOLYDIAN},
        drums=(
            _drums(snare="X..x X..x X..x X..x", kick="X... .... X... ...."),
            _drums(low_tom="X... x... X... x..."),
        ),
        fills=(),
        bass=_signs("R... R... R... R...", "R... 5... R... 5..."),
        comping=_signs("X..s x..s X..s x..s", "b... s... f... s..."),
        pools=_pools("piano accordion acoustic-guitar organ", "violin accordion flute"),
        vocals=0.0, inverted=0.0, melody_density=1.8,
    ),
    Style(
        "jig", 2, (92.0, 128.0),
        {"major": _FOLK_MAJOR, "minor": _FOLK_MINOR, "dorian": _DORIAN, "mixolydian": _MIXOLYDIAN},
        drums=(
            _drums(kick="X.. x..", tambourine="..x ..x"),
            _drums(low_tom="Xox xox"),
            _drums(kick="X.. ...", shaker="xox xox"),
        ),
        fills=(),
        bass=_signs("R.. 5..", "R.. r..", "R.. ..."),
        comping=_signs("b.s f.s", "x.s x.s", "d.u d.u", "bss fss"),
        pools=_pools("acoustic-guitar piano accordion harp banjo", "violin flute accordion banjo"),
        beat_quarters=1.5, steps_per_beat=3, vocals=0.0, inverted=0.0, melody_density=2.4,
    ),
    Style(
        "slip-jig", 3, (88.0, 124.0),
        {"major": _FOLK_MAJOR, "minor": _FOLK_MINOR, "dorian": _DORIAN, "mixolydian": _MIXOLYDIAN},
        drums=(
            _drums(kick="X.. ... x..", tambourine="... x.x ..x"),
            _drums(low_tom="Xox xox xox"),
        ),
        fills=(),
        bass=_signs("R.. 5.. 5..", "R.. ... 5..", "R.. r.. 5.."),
        comping=_signs("b.s s.s s.s", "x.s x.s x.s", "d.u d.u d.u"),
        pools=_pools("acoustic-guitar harp accordion piano", "violin flute accordion"),
        beat_quarters=1.5, steps_per_beat=3, vocals=0.0, inverted=0.0, melody_density=2.3,
    ),
    Style(
        "waltz", 3, (84.0, 180.0),
        {"major": (*_FOLK_MAJOR, *_CLASSICAL[:2], "I | I | V7 | V7 | V7 | V7 | I | I"),
         "minor": (*_FOLK_MINOR, "i | i | V7 | V7 | iv | i | V7 | i")},
        drums=(
            _drums(kick="X... .... ....", snare=".... o... o..."),
            _drums(kick="X... .... ....", hat=".... x... x..."),
            _drums(kick="X... .... ....", ride="x... x... x...", stick=".... x... x..."),
        ),
        fills=(_drums(kick="X... .... ....", snare=".... x... x.x."),),
        bass=_signs("R... .... ....", "R... .... .... 5... .... ....", "R... .... ..a."),
        comping=_signs("-... s... s...", "b... s... s...", "0.1. 2.3. 2.1.", "-... x... x..."),
        pools=_pools("piano accordion acoustic-guitar strings harp",
                     "violin accordion flute clarinet voice saxophone trumpet"),
        vocals=0.2, applied=0.06, inverted=0.06, melody_density=1.0,
    ),
    Style(
        "march", 2, (92.0, 126.0),
        {"major": (*_FOLK_MAJOR, "I | I | V7 | V7 | V7 | V7 | I | I", "I | IV | V7 | I"),
         "minor": _FOLK_MINOR},
        drums=(
            _drums(kick="X... X...", snare="..x. ..xx"),
            _drums(kick="X... x...", snare="X.xx X.x."),
            _drums(kick="X... X...", snare="..x. ..x.", crash="X... .... .... ...."),
        ),
        fills=(_drums(kick="X... X...", snare="xxxx X.X."),),
        bass=_signs("R... 5...", "R... R...", "R... 3... 5... a..."),
        comping=_signs("..s. ..s.", "b.s. f.s.", "X... x...", "..s. ..ss"),
        pools=_pools("brass horn piano organ accordion",
                     "trumpet flute clarinet brass trombone horn",
                     pad="brass strings", bass="tuba bass trombone bassoon"),
        vocals=0.05, applied=0.08, melody_density=1.3,
    ),
    Style(
        "polka", 2, (100.0, 136.0),
        {"major": (*_FOLK_MAJOR, "I | I | V7 | V7 | V7 | V7 | I | I"),
         "minor": (*_FOLK_MINOR, "i | i | V7 | i")},
        drums=(
            _drums(kick="X... X...", snare="..x. ..x."),
            _drums(kick="X... X...", hat="..x. ..x.", snare=".... ...."),
        ),
        fills=(_drums(kick="X... X...", snare="..x. xxx."),),
        bass=_signs("R... 5...", "R... R...", "R... 3..."),
        comping=_signs("..s. ..s.", "b.s. f.s.", "..s. ..ss"),
        pools=_pools("accordion piano acoustic-guitar", "accordion clarinet violin trumpet",
                     bass="bass tuba"),
        vocals=0.05, inverted=0.0, melody_density=1.9,
    ),
    Style(
        "classical", 4, (60.0, 132.0),
        {"major": _CLASSICAL, "minor": _CLASSICAL_MINOR},
        drums=(),
        fills=(),
        bass=_signs("R... .... .... ....", "R... .... R... ....", "R... R... R... R..."),
        comping=_signs("0.2. 1.2. 0.2. 1.2.", "x... .... x... ....", "0.12 0.12 0.12 0.12",
                       "x... x... x... x...", "-.x. x.x. -.x. x.x."),
        pools=_pools("piano harpsichord strings pizzicato harp organ",
                     "violin viola flute oboe clarinet cello trumpet horn voice bassoon",
                     pad="strings organ", bass="cello bassoon bass"),
        vocals=0.1, applied=0.06, inverted=0.12, melody_density=1.3,
    ),
    Style(
        "ragtime", 2, (76.0, 112.0),
        {"major": ("I | V7/V | V7 | I | I | V7/ii | V7/V V7 | I", "V7/vi | V7/ii | V7/V | V7",
                   "I | I/3 | bIIIo7 | V7/5 | ii | V7/ii ii | V7/V V7 | I")},
        drums=(),
        fills=(),
        bass=_signs("R... 5...", "R... R..."),
        comping=_signs("b.s. f.s.", "b.s. b.s.", "b.s. b.ss"),
        pools=_pools("piano banjo", "piano clarinet trumpet banjo", bass="bass tuba"),
        vocals=0.0, inverted=0.0, melody_density=2.8,
    ),
    Style(
        "ambient", 4, (50.0, 84.0),
        {"major": ("Imaj7 | Imaj7 | IVmaj7 | IVmaj7", "Imaj9 | vi7 | Imaj9 | iii7",
                   "Isus2 | IVmaj7 | vi7 | IV"),
         "dorian": ("i9 | i9 | IV | IV", "i7 | bVII | IV | i7"),
         "minor": ("i9 | bVImaj7 | bIIImaj7 | iv7",)},
        drums=(),
        fills=(),
        bass=_signs("R... .... .... ....", "R... .... .... .... .... .... .... ...."),
        comping=_signs("x... .... .... ....", "0... 1... 2... 3...", "0..2 ..1. .3.. 2...",
                       ".... .... x... ...."),
        pools=_pools("synth electric-piano harp mallets piano strings",
                     "synth flute voice mallets oboe",
                     pad="pad strings voice organ", bass="bass"),
        vocals=0.1, suspended=0.1, melody_density=0.45,
    ),
)
# fmt: on

STYLES: Mapping[str, Style] = MappingProxyType({style.name: style for style in _STYLES})
