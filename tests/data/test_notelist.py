"""Lists of notes as spreadsheets, editors and annotation tools write them; what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.data import notelist
from dl101.errors import DataError

NOTES = ([0.5, 1.0], [1.0, 0.25], [60.0, 64.5])
PLAIN = "0.5,1.0,60\n1.0,0.25,64.5\n"


@pytest.fixture
def read(tmp_path):
    def put(content):
        path = tmp_path / "notes.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return notelist.read(path)

    return put


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.strip(),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "  "),
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace(",", "\t").replace(".", ","),
        PLAIN.replace(",", " ").replace(".", ","),
        '"0,5","1,0","60"\n"1,0","0,25","64,5"\n',
        "# by hand\n\n" + PLAIN + "\n",
        "0.5,1.0,60,90,piano\n1.0,0.25,64.5\n",
        "5e-1,1,60\n1,.25,64.5\n",
        "onset_s,duration_s,midi\n" + PLAIN,
        b"\xef\xbb\xbfOnset (s);Duration (s);MIDI\r\n0,5;1,0;60\r\n1,0;0,25;64,5\r\n",
        "name;pitch;start;end\nc;60;0,5;1,5\ne;64,5;1;1,25\n",
        "start_time\tend_time\tnote\tvelocity\n0.5\t1.5\t60\t90\n1.0\t1.25\t64.5\t80\n",
        "H\u00f6he,note onset,dur,midi pitch\nc,0.5,1.0,60\ne,1.0,0.25,64.5\n".encode("latin-1"),
        f"onset,duration,frequency_hz\n0.5,1,261.6255653\n1,0.25,{440 * 2 ** (-4.5 / 12):.9f}\n",
    ],
)
def test_files_in_circulation(read, content):
    for found, expected in zip(read(content), NOTES, strict=True):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_whole_numbers_between_commas_are_clear_under_a_heading(read):
    notes = read("onset,duration,midi,velocity,channel\n0,5,60,90,1\n1,2,64,90,1\n")
    assert [column.tolist() for column in notes] == [[0, 1], [5, 2], [60, 64]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "got no note"),
        ("\n# nothing\n\n", "got no note"),
        ("onset_s,duration_s,midi\n", "got no note"),
        ("a,b,c\n" + PLAIN, "line 1: got the columns ['a', 'b', 'c']"),
        ("onset,duration\n0,1\n", "line 1: got the columns ['onset', 'duration']"),
        ("onset_ms,duration_ms,midi\n500,1000,60\n", "line 1: got the column 'onset_ms'"),
        ("0.5,1.0\n", "line 1: got no value in column 3"),
        (PLAIN + "2.0,0.5\n", "line 3: got no value in column 3"),
        (PLAIN + "2.0,,60\n", "line 3: got no value in column 2"),
        (PLAIN + "2.0,0.5,C4\n", "line 3: got 'C4' in column 3"),
        (PLAIN + "nan,0.5,60\n", "line 3: got 'nan' in column 1"),
        ("0,5,1,0,60\n1,0,0,25,64\n", "may stand between columns or in numbers"),
        ("0,5,1,60\n1,0,25,64\n2,1,60\n", "may stand between columns or in numbers"),
        (PLAIN + "2.0,-0.5,60\n", "negative"),
        ("onset,end,midi\n2,1,60\n", "negative"),
        (PLAIN + "2.0,0.5,440\n", "hz_to_midi"),
        ("40000,500,60\n", "divide milliseconds"),
        (b"RIFF\x00\x00\x00WAVE,\x00,\x01", "line 1"),
        ("onset,duration,hz\n0,1,1e9\n", "MIDI"),
    ],
)
def test_refuses_what_is_no_list_of_notes(read, tmp_path, content, words):
    with pytest.raises(DataError) as caught:
        read(content)
    assert words in str(caught.value) and str(tmp_path / "notes.csv") in str(caught.value)


def test_refuses_a_missing_and_a_large_file(tmp_path, monkeypatch):
    for path in (tmp_path / "missing.csv", tmp_path, "a\0b"):
        with pytest.raises(DataError, match="check the path"):
            notelist.read(path)
    monkeypatch.setattr(notelist, "LARGEST_FILE_BYTES", 10)
    (tmp_path / "large.csv").write_text(PLAIN)
    with pytest.raises(DataError, match="at most 10"):
        notelist.read(tmp_path / "large.csv")


def test_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "notes.csv").write_text(PLAIN)
    assert notelist.read("~/notes.csv")[0].tolist() == NOTES[0]


def test_damaged_lists(tmp_path):
    """Bytes changed at random: notes, or an error of ours."""
    rng = np.random.default_rng(0)
    path = tmp_path / "notes.csv"
    for _ in range(500):
        content = bytearray(("onset;duration;midi\n" * (rng.random() < 0.5) + PLAIN).encode())
        for _ in range(int(rng.integers(1, 6))):
            content[rng.integers(len(content))] = rng.choice([*b"\0\n\r\t;,.\"'#-e0\xff"])
        path.write_bytes(bytes(content))
        try:
            onsets, durations, _ = notelist.read(path)
        except DataError:
            continue
        assert onsets.size == durations.size > 0 and (durations >= 0).all()
