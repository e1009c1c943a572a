"""Files of MUSDB18's form, small."""

from __future__ import annotations

import numpy as np

from dl101.data import pair, pyjama, source
from dl101.data.embedded.export import CorpusFiles
from dl101.data.songs import STEMS


def song_files(tmp_path, monkeypatch, *, leave_out=()) -> dict[str, np.ndarray]:
    """Write files of MUSDB18's form, and return what is in them: songs and stems in stereo."""
    rng = np.random.default_rng(0)
    files = CorpusFiles(tmp_path / "stems.hdf5", tmp_path / "stems.pyjama")
    entries, sounds = [], {}
    with pair.replacing_pair(files.audio, files.annotations) as (store, temporary):
        for number in range(8):
            side = ("train", "validation", "test", "train")[number % 4]
            name = f"Artist {number} - Song"
            stems = {s: rng.normal(0, 0.1, (2, 8820)).astype(np.float32) for s in STEMS}
            mixture = 0.99 * sum(stems.values())  # as far as AAC lets it be the sum
            for stem, sound in {None: mixture, **stems}.items():
                key = f"{name}.wav" if stem is None else f"{name}-{stem}.wav"
                if key in leave_out:
                    continue
                sounds[key] = sound
                labels = {"role": "mixture" if stem is None else "stem", "split": side}
                labels |= {"artist": f"Artist {number}", "work": name, "title": "Song"}
                labels |= {} if stem is None else {"stem": stem}
                store.append(key, sound, 44_100)
                fields = {k: (pyjama.Atom(v),) for k, v in labels.items()}
                entries.append(pyjama.Entry(key, len(entries), fields))
        collection = pyjama.Collection(tuple(entries), audio_identity=store.identity)
        pyjama.write(temporary, collection, in_place=True)
    monkeypatch.setattr(source, "locate", lambda *_, **__: files)
    return sounds
