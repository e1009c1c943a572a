"""The records of the catalogue, one for each dataset. To add a dataset, add a record here.

Nothing is recorded that no source states: a size, checksum or licence that we could not find is
left out or called "not stated". Beside each group of checksums stands who published them. None of
these files could be downloaded to check them. Faults are what users of a dataset warn of; where a
study counts them, it is named.
"""

from __future__ import annotations

from dl101.data.catalog_record import Dataset, RemoteFile

_TUTORIAL = "https://perso.telecom-paristech.fr/gpeeters/tuto_DL101forMIR/"
_SONY = "https://media.githubusercontent.com/media/SonyCSLParis/test-lfs/refs/heads/master/"
_KIB, _MIB, _GIB = 2**10, 2**20, 2**30

_NONE_STATED = "None stated by its authors, as far as we found."


def _pair(name: str, *, audio_bytes: float, annotation_bytes: float) -> dict[str, RemoteFile]:
    """Return the two files of a dataset that is published with the tutorial of 2024."""
    archive = f"{name}_audio.hdf5.zip"
    return {
        "audio": _rounded(_TUTORIAL, archive, audio_bytes, member=f"{name}_audio.hdf5"),
        "annotations": _rounded(_TUTORIAL, f"{name}.pyjama", annotation_bytes),
    }


def _features(name: str, *, feature_bytes: float, annotation_bytes: float) -> dict[str, object]:
    """Return what differs for the pairs that hold features: they are turned, and get a rate."""
    return {
        "files": (
            _rounded(_TUTORIAL, f"{name}_feat.hdf5.zip", feature_bytes),
            _rounded(_TUTORIAL, f"{name}.pyjama", annotation_bytes),
        ),
        "reader": "crema",
        "holds": "features",
        "n_bins": 12,
        "frame_rate_hz": 44_100 / 4096,  # CREMA's hop is 4096 samples at 44.1 kHz
        "unpacked_bytes": round(feature_bytes),
    }


def _file(folder: str, name: str, size_bytes: int | None = None, **known: object) -> RemoteFile:
    """Return a file whose exact size is known, or neither size."""
    return RemoteFile(name, (folder + name,), size_bytes, size_bytes, **known)


def _rounded(folder: str, name: str, about_bytes: float, **known: object) -> RemoteFile:
    """Return a file of which a source states a rounded size."""
    return RemoteFile(name, (folder + name,), round(about_bytes), **known)


_GTZAN_FAULTS = (
    "50 excerpts are exact copies of others, 22 come from the same recording as another, and 13 "
    "are versions of the same music (Sturm 2012): they must not fall on both sides of a split.",
    "43 labels are conspicuously wrong and 63 contentious; several excerpts are distorted, one "
    "beyond use but for 5 s (Sturm 2012). So no system can be right on all of it.",
    "A few artists fill much of a class (35 excerpts of reggae are by Bob Marley): a random split "
    "tests whether an artist is recognised. The fault-filtered split (443 training, 197 "
    "validation, 290 test excerpts; Kereliuk, Sturm and Larsen 2015) keeps artists apart.",
)
_MTT_FAULTS = (
    "Labels are weak: they come from players of a game, a tag that is missing may still be true, "
    "and several tags mean the same.",
    "Two versions are in use, whose scores are not comparable: with the clips that have none of "
    "the 50 tags (18,706 / 1,825 / 5,329 for training, validation, test) and without them "
    "(15,247 / 1,529 / 4,332).",
    "Several clips come from one song: a split must keep the clips of a song, and better of an "
    "artist, together.",
)
_MAPS_FAULTS = (
    "The same piece is played on several pianos: a split must keep the recordings of a piece "
    "together, or the test pieces have been practised.",
)
_COVERS_NOT_AUDIO = (
    "It holds features, not audio: nothing can be listened to, and another input cannot be tried.",
)

# Sizes of these seven pairs: the rounded ones of the server's listing. No checksum is published.
_TUTORIAL_PAIRS = (
    Dataset(
        name="bach10",
        title="Bach10",
        tasks=("multi_pitch",),
        **_pair("bach10", audio_bytes=129 * _MIB, annotation_bytes=19 * _MIB),
        contents=(
            "Ten four-part chorales by J. S. Bach played by violin, clarinet, saxophone "
            "and bassoon: the mixture and each part, with the continuous f0 of each part "
            "every 10 ms."
        ),
        licence="No licence stated; its authors offer it for research and ask to be cited.",
        restricted=False,
        permission="",
        citation=(
            "Z. Duan, B. Pardo and C. Zhang, Multiple fundamental frequency estimation by "
            "modeling spectral peaks and non-peak regions, IEEE Transactions on Audio, "
            "Speech, and Language Processing 18(8), 2121-2133, 2010"
        ),
        homepage="https://labsites.rochester.edu/air/datasets/Bach10%20Dataset_v1.0.pdf",
    ),
    Dataset(
        name="maps",
        title="MAPS (MIDI Aligned Piano Sounds), pieces of music",
        tasks=("multi_pitch",),
        **_pair("maps", audio_bytes=2.3 * _GIB, annotation_bytes=51 * _MIB),
        contents=(
            "Pieces for piano, from sampled instruments and a recorded Disklavier, with "
            "the onset, duration and MIDI number of each note."
        ),
        licence="By permission of Valentin Emiya, for following the tutorial only.",
        restricted=True,
        permission=(
            "This copy is online with the permission of Valentin Emiya for the tutorial of "
            "2024 only. For any other use, ask him first (see the homepage)."
        ),
        citation=(
            "V. Emiya, R. Badeau and B. David, Multipitch estimation of piano sounds using "
            "a new probabilistic spectral smoothness principle, IEEE Transactions on "
            "Audio, Speech, and Language Processing 18(6), 1643-1654, 2010"
        ),
        homepage="https://adasp.telecom-paris.fr/resources/2010-07-08-maps-database/",
        faults=_MAPS_FAULTS,
    ),
    Dataset(
        name="gtzan-genre",
        title="GTZAN, music genres (pair of 2024)",
        tasks=("genres",),
        **_pair("gtzan-genre", audio_bytes=1.5 * _GIB, annotation_bytes=306 * _KIB),
        contents=(
            "1000 excerpts of 30 s with one of ten genres each: blues, classical, country, disco, "
            "hip-hop, jazz, metal, pop, reggae, rock."
        ),
        licence=_NONE_STATED,
        restricted=False,
        permission="",
        citation=(
            "G. Tzanetakis and P. Cook, Musical genre classification of audio signals, IEEE "
            "Transactions on Speech and Audio Processing 10(5), 293-302, 2002"
        ),
        homepage="https://arxiv.org/abs/1306.1461",
        faults=_GTZAN_FAULTS,
    ),
    Dataset(
        name="mtt",
        title="MagnaTagATune, reduced, with 50 tags (pair of 2024)",
        tasks=("tags",),
        **_pair("mtt", audio_bytes=2.3 * _GIB, annotation_bytes=1.7 * _MIB),
        contents=(
            "Excerpts of 30 s with several tags each, for genre, mood, instruments and other "
            "properties: only the 50 most frequent tags, and about one excerpt in 20."
        ),
        licence="CC BY-NC-SA 3.0",
        restricted=False,
        permission="",
        citation=(
            "E. Law, K. West, M. Mandel, M. Bay and J. S. Downie, Evaluation of algorithms using "
            "games: the case of music tagging, ISMIR 2009"
        ),
        homepage="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
        faults=_MTT_FAULTS,
    ),
    Dataset(
        name="rwc-pop_chord",
        title="RWC Popular Music, chords",
        tasks=("chords",),
        **_pair("rwc-pop_chord", audio_bytes=1.8 * _GIB, annotation_bytes=10 * _MIB),
        contents=(
            "100 songs in the styles of American and Japanese charts, with the time, duration and "
            "name of each chord (AIST annotation)."
        ),
        licence="By permission of Masataka Goto, for following the tutorial only.",
        restricted=True,
        permission=(
            "This copy is online with the permission of Masataka Goto for the tutorial of 2024 "
            "only. For any other use, ask him first (see the homepage)."
        ),
        citation=(
            "M. Goto, H. Hashiguchi, T. Nishimura and R. Oka, RWC music database: popular, "
            "classical and jazz music databases, ISMIR 2002; M. Goto, AIST annotation for the RWC "
            "music database, ISMIR 2006"
        ),
        homepage="https://staff.aist.go.jp/m.goto/RWC-MDB/rwc-mdb-p.html",
    ),
    Dataset(
        name="cover1000",
        title="Cover1000, CREMA features",
        tasks=("covers",),
        **_features("cover1000", feature_bytes=101 * _MIB, annotation_bytes=1.0 * _MIB),
        contents=(
            "996 performances of 395 works: 12-bin CREMA pitch-class features over time, with the "
            "identities of work and performance."
        ),
        licence=_NONE_STATED,
        restricted=False,
        permission="",
        citation=(
            "No publication is named for it; cite its source, SecondHandSongs, and G. Peeters et "
            "al., Deep learning 101 for audio-based MIR, 2024, doi:10.5281/zenodo.14049461"
        ),
        homepage=_TUTORIAL,
        faults=_COVERS_NOT_AUDIO,
    ),
    Dataset(
        name="datacos-benchmark",
        title="Da-TACOS, benchmark subset, CREMA features",
        tasks=("covers",),
        **_features("datacos-benchmark", feature_bytes=1.5 * _GIB, annotation_bytes=6.3 * _MIB),
        contents=(
            "15,000 performances of 3,000 works: 12-bin CREMA pitch-class features over time, with "
            "the identities of work and performance."
        ),
        licence="CC BY-NC-SA 4.0",
        restricted=False,
        permission="",
        citation=(
            "F. Yesiler, C. Tralie, A. Correya, D. F. Silva, P. Tovstogan, E. Gomez and X. Serra, "
            "Da-TACOS: a dataset for cover song identification and understanding, ISMIR 2019"
        ),
        homepage="https://zenodo.org/records/3520368",
        faults=_COVERS_NOT_AUDIO,
    ),
)

# Sizes and SHA-256: the Git LFS pointers in SonyCSLParis/test-lfs on GitHub.
_ARCHIVES = (
    Dataset(
        name="nsynth-guitar",
        title="NSynth, guitars (MP3)",
        tasks=("notes",),
        contents=(
            "Single notes of guitars, acoustic, electronic and synthetic, 4 s each with pitch and "
            "velocity, in the folders nsynth-guitar-train and nsynth-guitar-valid."
        ),
        licence="CC BY 4.0, as NSynth itself; this selection states none.",
        restricted=False,
        permission="",
        citation=(
            "J. Engel et al., Neural audio synthesis of musical notes with WaveNet autoencoders, "
            "ICML 2017"
        ),
        homepage="https://github.com/SonyCSLParis/test-lfs",
        files=(
            _file(
                _SONY,
                "NSYNTH_GUITAR_MP3.zip",
                334_999_208,
                sha256="cbabb3ba2ce81c28982eb41c3ba5127a0d81a3cd72d55d427a95f0558e43dfb3",
            ),
        ),
        reader="nsynth",
        unpacked_bytes=round(4.5e9),  # some 35,000 notes (NSynth's guitars), 16 kHz, 16 bits
        faults=(
            "MP3 loses detail that the original recordings have.",
            "Notes of one instrument sound alike: a split must keep them together, as the two "
            "folders do.",
        ),
    ),
    Dataset(
        name="mtt-ssl",
        title="MagnaTagATune for self-supervised learning (archive in two parts)",
        tasks=("tags", "self_supervised"),
        contents=(
            "Clips of MagnaTagATune for self-supervised learning, in a zip archive of two parts. "
            "As the tutorial of 2024 uses it: many clips without tags, and about a tenth with the "
            "usual 50, listed in tables annotations.csv of the folders train and test."
        ),
        licence="CC BY-NC-SA 3.0, as MagnaTagATune itself; this selection states none.",
        restricted=False,
        permission="",
        citation=(
            "E. Law, K. West, M. Mandel, M. Bay and J. S. Downie, Evaluation of algorithms using "
            "games: the case of music tagging, ISMIR 2009"
        ),
        homepage="https://github.com/SonyCSLParis/test-lfs",
        files=(
            _file(
                _SONY,
                "mtt_ssl.z01",
                2_097_152_000,
                sha256="43552013ae7c26619f51eadf092157ac96059cca6183a1aa91ffae1dd0e8d851",
            ),
            _file(
                _SONY,
                "mtt_ssl.zip",
                860_068_659,
                sha256="f61a4ffbdcca32dba35afb05f4641a24ff99742bb52757abd2bc6bdc81d0d3bb",
            ),
        ),
        reader="mtt_ssl",
        unpacked_bytes=round(24e9),  # if it holds all 25,863 clips: 29 s, 16 kHz, 16 bits
        faults=(*_MTT_FAULTS, "Clips without tags may be excerpts of songs that the test uses."),
    ),
    Dataset(
        name="musdb18",
        title="MUSDB18",
        tasks=("stems",),
        contents=(
            "150 songs, 10 hours, 100 for training and 50 for testing: the mixture and the stems "
            "drums, bass, vocals and other, in stereo at 44.1 kHz, as .stem.mp4."
        ),
        licence=(
            "For academic purposes only, say its authors; each track has a licence of its own."
        ),
        restricted=True,
        permission=(
            "Its page asks users to request access on Zenodo, for academic use; the record there "
            "is public now."
        ),
        citation=(
            "Z. Rafii, A. Liutkus, F.-R. Stoter, S. I. Mimilakis and R. Bittner, The MUSDB18 "
            "corpus for music separation, 2017, doi:10.5281/zenodo.1117372"
        ),
        homepage="https://sigsep.github.io/datasets/musdb.html",
        # Size and MD5: the record on Zenodo.
        files=(
            _file(
                "https://zenodo.org/records/1117372/files/",
                "musdb18.zip",
                4_684_228_845,
                checksum="md5:af06762477334799bfc5abf237648207",
            ),
        ),
        reader="musdb18",
        unpacked_bytes=round(32e9),  # 10 hours of five stereo streams, 44.1 kHz, 16 bits
        faults=(
            "Each stream is compressed by itself (AAC, nothing above 16 kHz): the stems do not sum "
            "exactly to the mixture.",
        ),
    ),
)

_LAW = _TUTORIAL_PAIRS[3].citation
_MAGNATAGATUNE = "https://mirg.city.ac.uk/datasets/magnatagatune/"
_SPLITS = "https://github.com/jongpillee/music_dataset_split"

# MD5 of the files below, and the names of the loaders: mirdata/datasets/*.py in mirdata 1.0.0.
_THROUGH_MIRDATA = (
    Dataset(
        name="gtzan",
        title="GTZAN, music genres",
        tasks=("genres",),
        contents=(
            "1000 excerpts of 30 s, 22,050 Hz mono, 100 for each of ten genres; the loader adds "
            f"tempo and beats. Lists of the fault-filtered split are in {_SPLITS}."
        ),
        licence=_NONE_STATED,
        restricted=False,
        permission="",
        citation=_TUTORIAL_PAIRS[2].citation
        + "; for the fault-filtered split: C. Kereliuk, B. L. Sturm and J. Larsen, Deep learning "
        "and music adversaries, IEEE Transactions on Multimedia 17(11), 2059-2071, 2015",
        homepage="https://arxiv.org/abs/1306.1461",
        files=(
            _file(
                "http://opihi.cs.uvic.ca/sound/",
                "genres.tar.gz",
                checksum="md5:5b3d6dddb579ab49814ab86dba69e7c7",
            ),
        ),
        access="mirdata",
        mirdata_name="gtzan_genre",
        faults=_GTZAN_FAULTS,
    ),
    Dataset(
        name="ballroom",
        title="Ballroom",
        tasks=("dances", "beats"),
        contents=(
            "698 excerpts of about 30 s of ballroom dance music with the dance (among them "
            "cha-cha-cha, jive, quickstep, rumba, samba, tango, waltz), tempo, beats and bars."
        ),
        licence="None stated with the audio; mirdata's loader names CC BY-NC-SA 4.0.",
        restricted=False,
        permission="",
        citation=(
            "F. Gouyon, A. Klapuri, S. Dixon, M. Alonso, G. Tzanetakis, C. Uhle and P. Cano, An "
            "experimental comparison of audio tempo induction algorithms, IEEE Transactions on "
            "Audio, Speech, and Language Processing 14(5), 1832-1844, 2006"
        ),
        homepage="https://mtg.upf.edu/ismir2004/contest/tempoContest/node5.html",
        # The exact size is from a public download script, not from the authors or mirdata.
        files=(
            _file(
                "https://mtg.upf.edu/ismir2004/contest/tempoContest/",
                "data1.tar.gz",
                1_453_888_083,
                checksum="md5:2872a3e52070bc342a4510a95e2fa0b8",
            ),
        ),
        access="mirdata",
        mirdata_name="ballroom",
        faults=(
            "The classes differ in tempo so much that tempo alone names most of them: a high score "
            "need not mean that a rhythm was recognised.",
        ),
    ),
    Dataset(
        name="irmas",
        title="IRMAS",
        tasks=("instruments",),
        contents=(
            "6705 training excerpts of 3 s with one predominant instrument of eleven each, and "
            "2874 test excerpts with one or more."
        ),
        licence="CC BY-NC-SA 3.0",
        restricted=False,
        permission="",
        citation=(
            "J. J. Bosch, J. Janer, F. Fuhrmann and P. Herrera, A comparison of sound segregation "
            "techniques for predominant instrument recognition in musical audio signals, ISMIR "
            "2012, 559-564"
        ),
        homepage="https://www.upf.edu/web/mtg/irmas",
        files=tuple(
            _file(
                "https://zenodo.org/records/1290750/files/", f"IRMAS-{part}.zip", checksum=checksum
            )
            for part, checksum in (
                ("TrainingData", "md5:4fd9f5ed5a18d8e2687e6360b5f60afe"),
                ("TestingData-Part1", "md5:5a2e65520dcedada565dff2050bb2a56"),
                ("TestingData-Part2", "md5:afb0c8ea92f34ee653693106be95c895"),
                ("TestingData-Part3", "md5:9b3fb2d0c89cdc98037121c25bd5b556"),
            )
        ),
        access="mirdata",
        mirdata_name="irmas",
        faults=(
            "Training excerpts have one label, test excerpts may have several: the tasks of "
            "training and testing differ.",
        ),
    ),
    Dataset(
        name="medleydb",
        title="MedleyDB",
        tasks=("pitch", "stems"),
        contents=(
            "Multitrack recordings with annotated melody: mirdata reads the 108 mixtures with "
            "melodies (medleydb_melody) and 103 monophonic stems with f0 (medleydb_pitch)."
        ),
        licence="CC BY-NC-SA 4.0",
        restricted=True,
        permission="Ask its authors for access, on Zenodo (records 2628782 and 2620624).",
        citation=(
            "R. M. Bittner, J. Salamon, M. Tierney, M. Mauch, C. Cannam and J. P. Bello, MedleyDB: "
            "a multitrack dataset for annotation-intensive MIR research, ISMIR 2014"
        ),
        homepage="https://medleydb.weebly.com",
        access="mirdata",
        mirdata_name="medleydb_melody",
    ),
    Dataset(
        name="mdb-stem-synth",
        title="MDB-stem-synth",
        tasks=("pitch",),
        contents=(
            "230 solo stems of MedleyDB, resynthesised so that their f0 is known exactly; voices "
            "and many instruments."
        ),
        licence="CC BY-NC 4.0",
        restricted=False,
        permission="",
        citation=(
            "J. Salamon, R. M. Bittner, J. Bonada, J. J. Bosch, E. Gomez and J. P. Bello, An "
            "analysis/synthesis framework for automatic f0 annotation of multitrack datasets, "
            "ISMIR 2017"
        ),
        homepage="https://zenodo.org/records/1481172",
        files=(
            _file(
                "https://zenodo.org/records/1481172/files/",
                "MDB-stem-synth.tar.gz",
                checksum="md5:31c1f6b4888e5fd108af91c69789a809",
            ),
        ),
        access="mirdata",
        mirdata_name="mdb_stem_synth",
    ),
    Dataset(
        name="billboard",
        title="McGill Billboard",
        tasks=("chords",),
        contents=(
            "Chords, sections and metre of 890 entries (740 songs) of the Billboard charts, 1958 "
            "to 1991, with chroma features; no audio."
        ),
        licence="CC0",
        restricted=False,
        permission="",
        citation=(
            "J. A. Burgoyne, J. Wild and I. Fujinaga, An expert ground truth set for audio chord "
            "recognition and music analysis, ISMIR 2011, 633-638"
        ),
        homepage=(
            "http://ddmal.music.mcgill.ca/research/"
            "The_McGill_Billboard_Project_(Chord_Analysis_Dataset)"
        ),
        access="mirdata",
        mirdata_name="billboard",
        faults=("150 entries repeat a song: a split must keep the entries of a song together.",),
    ),
    Dataset(
        name="maestro",
        title="MAESTRO",
        tasks=("multi_pitch",),
        contents=(
            "About 200 hours of piano competitions with MIDI recorded by the instrument (3 ms), "
            "and a split that keeps a composition on one side. mirdata reads version 2."
        ),
        licence="CC BY-NC-SA 4.0",
        restricted=False,
        permission="",
        citation=(
            "C. Hawthorne et al., Enabling factorized piano music modeling and generation with the "
            "MAESTRO dataset, ICLR 2019"
        ),
        homepage="https://magenta.tensorflow.org/datasets/maestro",
        files=(
            _file(
                "https://storage.googleapis.com/magentadata/datasets/maestro/v2.0.0/",
                "maestro-v2.0.0.zip",
                checksum="md5:7a6c23536ebcf3f50b1f00ac253886a7",
            ),
        ),
        access="mirdata",
        mirdata_name="maestro",
    ),
    Dataset(
        name="da-tacos",
        title="Da-TACOS, both subsets, all features",
        tasks=("covers",),
        contents=(
            "Features and metadata of 15,000 performances (benchmark) and 10,000 (cover analysis): "
            "CREMA, HPCP, CENS, key, rhythm, MFCC, tags; no audio. The file here holds the "
            "benchmark's CREMA features; mirdata knows the others."
        ),
        licence="CC BY-NC-SA 4.0",
        restricted=False,
        permission="",
        citation=_TUTORIAL_PAIRS[6].citation,
        homepage="https://zenodo.org/records/3520368",
        files=(
            _file(
                "https://zenodo.org/records/3520368/files/",
                "da-tacos_benchmark_subset_crema.zip",
                checksum="md5:c702a3b97a60081311bf8e7fae7b433b",
            ),
        ),
        access="mirdata",
        mirdata_name="da_tacos",
        faults=_COVERS_NOT_AUDIO,
    ),
)

_DESCRIBED = (
    Dataset(
        name="magnatagatune",
        title="MagnaTagATune, all of it",
        tasks=("tags",),
        contents=(
            "25,863 clips of 29 s with 188 tags from a game; usually its 50 most frequent tags "
            f"are used. Lists of the usual split are in {_SPLITS}."
        ),
        licence="CC BY-NC-SA 3.0",
        restricted=False,
        permission="",
        citation=_LAW,
        homepage="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
        files=tuple(
            _file(_MAGNATAGATUNE, name)
            for name in (
                *("mp3.zip.001", "mp3.zip.002", "mp3.zip.003"),
                *("annotations_final.csv", "clip_info_final.csv"),
            )
        ),
        access="described",
        faults=_MTT_FAULTS,
    ),
    Dataset(
        name="extended-ballroom",
        title="Extended Ballroom",
        tasks=("dances",),
        contents="4180 excerpts of ballroom dance music in 13 dances, with tempo.",
        licence=_NONE_STATED,
        restricted=False,
        permission="",
        citation=(
            "U. Marchand and G. Peeters, The Extended Ballroom dataset, ISMIR late-breaking "
            "session, 2016"
        ),
        homepage="http://anasynth.ircam.fr/home/media/ExtendedBallroom",
        access="described",
        faults=(
            "The classes are of very different size, and tempo alone tells much about the class.",
            "Studies make splits of their own: one should keep the songs of an artist together.",
        ),
    ),
    Dataset(
        name="urbansound8k",
        title="UrbanSound8K",
        tasks=("acoustic_events",),
        contents=(
            "8732 excerpts of at most 4 s of ten sounds of a city, in ten folds; sampling rate and "
            "channels vary. The library soundata reads it."
        ),
        licence="CC BY-NC 3.0 (its own text), CC BY-NC 4.0 (soundata's loader)",
        restricted=False,
        permission="",
        citation=(
            "J. Salamon, C. Jacoby and J. P. Bello, A dataset and taxonomy for urban sound "
            "research, ACM Multimedia 2014, 1041-1044"
        ),
        homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
        # MD5: soundata/datasets/urbansound8k.py in soundata/soundata.
        files=(
            _file(
                "https://zenodo.org/records/1203745/files/",
                "UrbanSound8K.tar.gz",
                checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
            ),
        ),
        access="described",
        faults=(
            "Excerpts of one recording are in one fold: shuffling the folds anew puts them on both "
            "sides and raises scores. Use the ten folds as they are.",
        ),
    ),
    Dataset(
        name="tut-acoustic-scenes-2017",
        title="TUT Acoustic Scenes 2017",
        tasks=("acoustic_scenes",),
        contents=(
            "Binaural recordings of 15 kinds of places cut into 10 s: 4680 segments for "
            "development, in four folds, and 1620 for evaluation."
        ),
        licence="Free for non-commercial use.",
        restricted=False,
        permission="",
        citation=(
            "A. Mesaros, T. Heittola and T. Virtanen, TUT database for acoustic scene "
            "classification and sound event detection, EUSIPCO 2016"
        ),
        homepage="https://zenodo.org/records/400515",
        # Sizes and MD5: the dataset classes of the library dcase_util (DCASE 2017).
        files=tuple(
            _file(
                f"https://zenodo.org/records/{record}/files/",
                f"TUT-acoustic-scenes-2017-{part}.zip",
                size_bytes,
                checksum=f"md5:{md5}",
            )
            for record, part, size_bytes, md5 in (
                (400515, "development.meta", 104321, "9007fd4772d816590c5db5f5e9568f5d"),
                (400515, "development.error", 1432, "802c700b021769e52a2c1e3b9c117a1b"),
                (400515, "development.audio.1", 1071445248, "251325a9afaaad0326ad1c57f57d514a"),
                (400515, "development.audio.2", 1073453613, "c26861e05147dc319b4250eb103d9d99"),
                (400515, "development.audio.3", 1073077819, "a4815775f8a5e629179726ee4cd4f55a"),
                (400515, "development.audio.4", 1072822038, "1732b03afe8c53ef8bba80ba14766e57"),
                (400515, "development.audio.5", 1072644652, "611be754a0c951185c6ae4b7643c19a0"),
                (400515, "development.audio.6", 1072667888, "165a201db800d3ea76fce5a9c2bd97d7"),
                (400515, "development.audio.7", 1073417661, "c7d79db84264401c0f8680dcc36013ad"),
                (400515, "development.audio.8", 1072381222, "35043f25123439392338c790494c7a19"),
                (400515, "development.audio.9", 1072087738, "0805dcf5d8e6871dc9610182b2efb93a"),
                (400515, "development.audio.10", 1046262120, "5df83a191295a04e290b125c634e13e7"),
                (1040168, "evaluation.meta", 4473, "e006cfec14a49dd79a6ab8f8d5b1c5e6"),
                (1040168, "evaluation.audio.1", 1071856687, "5d97dea8461baec8027ae4a0c2b18d4b"),
                (1040168, "evaluation.audio.2", 1073362972, "4085ef5fa286f2169074993a4e405953"),
                (1040168, "evaluation.audio.3", 1071521152, "cac432579e7cf2dff0aec7aaed248956"),
                (1040168, "evaluation.audio.4", 382756463, "664bf09c3d24bd26c6b587f1d709de36"),
            )
        ),
        access="described",
        faults=(
            "Segments of one recording share a place and a microphone: keep them on one side of a "
            "split, as its own folds do. The file named error lists recordings with defects.",
        ),
    ),
    Dataset(
        name="mir-1k",
        title="MIR-1K",
        tasks=("pitch", "stems"),
        contents=(
            "1000 clips of 4 to 13 s of amateurs singing Chinese pop songs, 133 minutes by 19 "
            "singers: accompaniment on the left, voice on the right, with pitch, voicing and text. "
            "mirdata 1.0.0 does not read it; its later development version does."
        ),
        licence=_NONE_STATED,
        restricted=False,
        permission="",
        citation=(
            "C.-L. Hsu and J.-S. R. Jang, On the improvement of singing voice separation for "
            "monaural recordings using the MIR-1K dataset, IEEE Transactions on Audio, Speech, and "
            "Language Processing 18(2), 310-319, 2010"
        ),
        homepage="http://mirlab.org/dataset/public",
        # MD5: mirdata/datasets/mir_1k.py in mir-dataset-loaders/mirdata on GitHub.
        files=(
            _file(
                "http://mirlab.org/dataset/public/",
                "MIR-1K.zip",
                checksum="md5:3a4e5acd740110ae481a836460dabb6a",
            ),
        ),
        access="described",
        faults=("Clips of one singer must stay on one side of a split.",),
    ),
    Dataset(
        name="urmp",
        title="URMP (University of Rochester Multi-Modal Music Performance)",
        tasks=("pitch", "multi_pitch", "stems"),
        contents=(
            "44 chamber pieces for two to five instruments, each recorded by itself: score, video, "
            "the part of each instrument and the mixture (48 kHz), f0 and notes."
        ),
        licence="Not stated where we could look; see the homepage.",
        restricted=True,
        permission="Its authors give the address after a form has been filled in (see homepage).",
        citation=(
            "B. Li, X. Liu, K. Dinesh, Z. Duan and G. Sharma, Creating a multi-track classical "
            "music performance dataset for multimodal music analysis: challenges, insights, and "
            "applications, IEEE Transactions on Multimedia, 2018"
        ),
        homepage="https://labsites.rochester.edu/air/projects/URMP.html",
        access="described",
    ),
    Dataset(
        name="fma",
        title="FMA (Free Music Archive)",
        tasks=("genres", "tags"),
        contents=(
            "106,574 tracks by 16,341 artists with 161 genres. Small: 8000 clips of 30 s, 8 "
            "genres; medium: 25,000 clips, 16 genres; large: all, cut to 30 s; full: all, uncut."
        ),
        licence=(
            "Metadata CC BY 4.0; each track under the licence that its artist chose (mostly "
            "Creative Commons); meant for research."
        ),
        restricted=False,
        permission="",
        citation=(
            "M. Defferrard, K. Benzi, P. Vandergheynst and X. Bresson, FMA: a dataset for music "
            "analysis, ISMIR 2017"
        ),
        homepage="https://github.com/mdeff/fma",
        # Rounded sizes and SHA-1: README of mdeff/fma.
        files=tuple(
            _rounded(
                "https://os.unil.cloud.switch.ch/fma/",
                f"fma_{part}.zip",
                gib * _GIB,
                checksum=f"sha1:{sha1}",
            )
            for part, gib, sha1 in (
                ("metadata", 342 / 1024, "f0df49ffe5f2a6008d7dc83c6915b31835dfe733"),
                ("small", 7.2, "ade154f733639d52e35e32f5593efe5be76c6d70"),
                ("medium", 22, "c67b69ea232021025fca9231fc1c7c1a063ab50b"),
                ("large", 93, "497109f4dd721066b5ce5e5f250ec604dc78939e"),
                ("full", 879, "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab"),
            )
        ),
        access="described",
    ),
    Dataset(
        name="million-song-tags",
        title="Million Song Dataset with the tags of Last.fm",
        tasks=("tags",),
        contents=(
            "Tags of 505,216 tracks (522,366 different tags) and the features and metadata of a "
            "million songs; no audio. Studies with the 50 most frequent tags use previews of about "
            "240,000 songs, which are not distributed with it."
        ),
        licence="Not stated where we could look; see the homepage.",
        restricted=False,
        permission="",
        citation=(
            "T. Bertin-Mahieux, D. P. W. Ellis, B. Whitman and P. Lamere, The Million Song "
            "Dataset, ISMIR 2011"
        ),
        homepage="http://millionsongdataset.com/lastfm",
        access="described",
        faults=(
            "Some songs are matched with wrong tracks, and so have the tags of others; its authors "
            "publish a list of pairs not to be trusted.",
        ),
    ),
    Dataset(
        name="nsynth",
        title="NSynth, all of it",
        tasks=("notes",),
        contents=(
            "305,979 notes of 1006 instruments, 4 s at 16 kHz, with pitch, velocity, source and "
            "family: 289,205 for training, 12,678 for validation, 4096 for testing."
        ),
        licence="CC BY 4.0",
        restricted=False,
        permission="",
        citation=(
            "J. Engel et al., Neural audio synthesis of musical notes with WaveNet autoencoders, "
            "ICML 2017"
        ),
        homepage="https://magenta.tensorflow.org/datasets/nsynth",
        files=tuple(
            _file(
                "http://download.magenta.tensorflow.org/datasets/nsynth/",
                f"nsynth-{side}.jsonwav.tar.gz",
            )
            for side in ("train", "valid", "test")
        ),
        access="described",
    ),
)

ENTRIES: tuple[Dataset, ...] = (*_TUTORIAL_PAIRS, *_ARCHIVES, *_THROUGH_MIRDATA, *_DESCRIBED)
