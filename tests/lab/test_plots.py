import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from dl101.errors import DataError
from dl101.evaluation.results import Record
from dl101.lab import plots
from dl101.signal.feature import Feature
from dl101.units import midi_to_hz

MIDI = np.arange(48, 84)
TIMES = np.arange(50) * 0.1


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def labels(ax):
    ax.figure.canvas.draw()
    return {round(t.get_position()[1]): t.get_text() for t in ax.get_yticklabels()}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_note_names():
    assert [plots.note_name(pitch) for pitch in (60, 69, 21, 61.4)] == ["C4", "A4", "A0", "C#4"]


def test_pianoroll_puts_cells_at_their_pitch_and_time(ax):
    matrix = np.zeros((36, 50))
    matrix[12, 20] = 1  # C4 at 2 s
    assert plots.pianoroll(ax, matrix, MIDI, TIMES, title="Truth") is ax
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    assert image.origin == "lower"
    assert left + 20.5 / 50 * (right - left) == pytest.approx(2.0)
    assert bottom + 12.5 / 36 * (top - bottom) == pytest.approx(60)
    assert labels(ax)[60] == "C4"
    assert (ax.get_xlabel(), ax.get_title()) == ("time (s)", "Truth")


def test_comparison_tells_hit_miss_and_false_alarm(ax):
    truth, estimate = np.zeros((2, 36, 50))
    truth[5], estimate[5] = 1, 1
    truth[10], estimate[20] = 1, 1
    plots.compare_pianorolls(ax, truth, estimate, MIDI, TIMES)
    colours = ax.images[0].to_rgba(ax.images[0].get_array())[:, 0, :3]
    for row, colour in ((5, plots.HIT), (10, plots.MISS), (20, plots.FALSE_ALARM), (0, "white")):
        assert colours[row] == pytest.approx(to_rgb(colour), abs=0.01)
    assert legend(ax) == ["hit", "miss", "false alarm"]


def test_comparison_allows_half_a_semitone(ax):
    truth, estimate = np.zeros((2, 40, 50))
    truth[10], estimate[12] = 1, 1  # 0.4 semitones apart
    truth[30], estimate[33] = 1, 1  # 0.6
    plots.compare_pianorolls(ax, truth, estimate, 60 + np.arange(40) / 5, TIMES)
    cells = np.asarray(ax.images[0].get_array())[:, 0]
    assert cells[[10, 12, 30, 33]].tolist() == [0, 1, 2, 3]


def test_meaningful_colours_differ_in_lightness():
    linear = [
        [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        for colour in (plots.HIT, plots.FALSE_ALARM, plots.MISS, "white")
    ]
    lightness = [116 * (np.dot(c, (0.2126, 0.7152, 0.0722))) ** (1 / 3) - 16 for c in linear]
    assert min(np.diff(lightness)) > 15


def test_hcqt_channel(ax):
    values = np.zeros((6, 36, 50), np.float32)
    values[2, 12, 20] = 3.0
    feature = Feature(values, TIMES, midi_to_hz(MIDI), 22050, 512)
    plots.hcqt_channel(ax, feature, 2, title="h = 2")
    assert np.asarray(ax.images[0].get_array())[12, 20] == 3
    assert labels(ax)[60] == "C4"
    with pytest.raises(DataError, match="index 6"):
        plots.hcqt_channel(ax, feature, 6)
    with pytest.raises(DataError, match="without frequencies"):
        plots.hcqt_channel(ax, Feature(values, TIMES, None, 22050, 512), 0)


@pytest.mark.parametrize(
    ("matrix", "midi", "times", "words"),
    [
        (np.zeros((50, 36)), MIDI, TIMES, "matrix"),
        (np.zeros((36, 50)), midi_to_hz(MIDI), TIMES, "pitches_midi"),
        (np.zeros((36, 50)), MIDI, TIMES**2, "times_s"),
        (np.zeros((36, 0)), MIDI, TIMES[:0], "not empty"),
    ],
)
def test_wrong_axes_are_refused(ax, matrix, midi, times, words):
    with pytest.raises(DataError, match=words):
        plots.pianoroll(ax, matrix, midi, times)


def test_precision_recall_marks_the_threshold(ax):
    curve = [
        {"threshold": t, "precision": t, "recall": 1 - t, "accuracy": 0.5} for t in (0.2, 0.5, 0.8)
    ]
    plots.precision_recall(ax, curve, chosen=0.5)
    assert ax.lines[1].get_ydata() == pytest.approx([0.8, 0.5, 0.2])
    assert legend(ax) == ["precision", "recall", "accuracy", "chosen: 0.50"]
    with pytest.raises(DataError, match="f_measure"):
        plots.precision_recall(ax, curve, scores=["f_measure"])


def test_training_curves_mark_the_epoch_kept(ax):
    history = [{"epoch": e, "train_loss": 1 / e, "val_loss": abs(e - 2) + 0.1} for e in (1, 2, 3)]
    plots.training_curves(ax, history)
    assert legend(ax) == ["training", "validation", "kept: epoch 2"]
    assert ax.lines[2].get_xdata() == pytest.approx([2, 2])
    with pytest.raises(DataError, match="no row"):
        plots.training_curves(ax, [])


def record(variant, seed, accuracy):
    return Record(
        experiment="e",
        variant=variant,
        seed=seed,
        data={},
        split="test",
        n_items=1,
        metrics={"accuracy": accuracy},
        config={},
        command="c",
        wall_time_s=1.0,
        device="d",
        commit=None,
        date="2024-01-01",
    )


def test_scores_show_every_run_the_mean_and_the_spread(ax):
    records = [record("hcqt", s, 0.6 + 0.1 * s) for s in range(3)] + [record("cqt", 0, 0.5)]
    plots.scores_by_variant(ax, records, metric="accuracy", baselines={"salience": 0.3})
    points = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
    assert points[0] == pytest.approx([0.6, 0.7, 0.8])
    (segment,) = ax.containers[0].lines[2][0].get_segments()
    assert segment[:, 0] == pytest.approx([0.6, 0.8])  # mean 0.7, standard deviation 0.1
    assert list(labels(ax).values()) == ["hcqt", "cqt"]
    assert "salience" in legend(ax)
    with pytest.raises(DataError, match="f_measure"):
        plots.scores_by_variant(ax, records, metric="f_measure")
    with pytest.raises(DataError, match="no record"):
        plots.scores_by_variant(ax, [], metric="accuracy")


def test_a_far_baseline_is_named_and_does_not_squeeze_the_runs(ax):
    records = [record("hcqt", s, 0.6 + 0.02 * s) for s in range(3)]
    baselines = {"salience": 0.54, "silence": 0.0}
    plots.scores_by_variant(ax, records, metric="accuracy", baselines=baselines)
    low, high = ax.get_xlim()
    assert 0.5 < low < 0.54 and 0.64 < high < 0.7
    assert {"salience", "off the axis: silence, 0.00"} <= set(legend(ax))


def test_the_style_is_one_that_matplotlib_knows_and_leaves_nothing_else_changed():
    import matplotlib

    with matplotlib.rc_context():
        before = dict(matplotlib.rcParams)
        plots.use_style()
        after = dict(matplotlib.rcParams)
        fig, ax = plt.subplots()
        (line,) = ax.plot([0, 1])
        assert line.get_color() == plots.PALETTE["main"]
        assert not ax.spines["top"].get_visible()
        plt.close(fig)
    changed = {key for key in before if before[key] != after[key]}
    assert changed <= set(plots.STYLE)
    assert after["font.size"] == plots.STYLE["font.size"]


def test_colours_are_seen_on_white():
    """Every colour reaches 2.5 to 1; dark pages invert it together with the white."""
    for name, colour in plots.PALETTE.items():
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        luminance = np.dot(linear, (0.2126, 0.7152, 0.0722))
        assert 1.05 / (luminance + 0.05) >= 2.5, name
    assert len(set(plots.PALETTE.values())) == len(plots.PALETTE)
