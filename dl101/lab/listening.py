"""Listening tests inside the page: ABX, ratings of single sounds or pairs, and MUSHRA.

Conventions. Sounds are ``(time,)`` or ``(1, time)``; all sounds of a test get one active level (see
:mod:`dl101.lab.player`), because the louder of two sounds seems the better one. A test is a
``<figure>`` of the lab kit with a script of its own, so it works in the book, in a saved notebook
and in a live kernel: the order of trials, and which letter hides what, are drawn anew at each
start. Nothing is stored or sent; at the end the page shows the answers as a table (CSV) to download
or copy, with the columns of :mod:`dl101.evaluation.listening`, and a short analysis whose numbers
were computed there.

Everything works by keyboard: native buttons, radio buttons and sliders, and the keys 1 to 9 for the
sounds while the test has the focus. Without scripts the sounds remain, closed, with their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dl101.errors import DataError, did_you_mean
from dl101.evaluation.listening import REFERENCE, binomial_test, needed_right
from dl101.evaluation.results import t_factor
from dl101.lab.kit import KIT_STYLE, SCRIPT, json_for_script, sentence
from dl101.lab.player import audio_row, encode_mp3, level_sounds
from dl101.lab.show import Rendered

Items = Mapping[str, Mapping[str, ArrayLike]]  # item, condition, sound

BYTES_PER_S = 6_000  # finer than what is merely listened to
MAX_TRIALS = 100
# ITU-T P.800: what is asked, and the answers with their values
SCALES: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "ACR": (
        "How good is the sound?",
        {"excellent": 5, "good": 4, "fair": 3, "poor": 2, "bad": 1},
    ),
    "DCR": (
        "How does the sound differ from the reference?",
        {
            "imperceptible": 5,
            "perceptible, not annoying": 4,
            "slightly annoying": 3,
            "annoying": 2,
            "very annoying": 1,
        },
    ),
    "CCR": (
        "How good is the second sound, compared with the first?",
        {
            "much better": 3,
            "better": 2,
            "slightly better": 1,
            "about the same": 0,
            "slightly worse": -1,
            "worse": -2,
            "much worse": -3,
        },
    ),
}


def abx(pairs: Items, sample_rate: int, *, name: str, caption: str, trials: int = 10) -> None:
    """Display an ABX test, in which one says which of two sounds the third is.

    Parameters
    ----------
    pairs
        Name of a pair to its two sounds, by condition. Each trial takes one pair, all equally often
        as far as it goes, and draws which sound is A, and which of the two is X.
    sample_rate
        In Hz, one that MP3 knows.
    name
        Of the test, in the table and the name of its file.
    caption
        One sentence under the test.
    trials
        How many.

    Raises
    ------
    DataError
        If a pair has not two sounds, or a sound cannot be played.
    """
    abx_test(pairs, sample_rate, name=name, caption=caption, trials=trials).display()


def abx_test(
    pairs: Items, sample_rate: int, *, name: str, caption: str, trials: int = 10
) -> Rendered:
    """Return what :func:`abx` displays."""
    for pair, sounds in pairs.items():
        if len(sounds) != 2:
            raise DataError(
                f"ABX: pair {pair!r}",
                got=f"{len(sounds)} sounds",
                expected="two",
                hint='write {"a note": {"original": x, "copy": y}}',
            )
    if not 1 <= trials <= MAX_TRIALS:
        raise DataError(
            "ABX: trials", got=trials, expected=f"1 to {MAX_TRIALS}", hint="ten take five minutes"
        )
    needed = needed_right(trials)
    about = {
        "kind": "abx",
        "n": trials,
        "needed": needed,
        "p": [binomial_test(right, trials) for right in range(trials + 1)],
    }
    task = (
        f"{trials} trials. X is one of the two sounds A and B, drawn by lot: which? Listen as "
        "often as you like, and guess where you hear no difference."
    )
    return _test(pairs, sample_rate, name=name, caption=caption, task=task, about=about)


def rate(
    items: Items,
    sample_rate: int,
    *,
    name: str,
    caption: str,
    scale: str = "ACR",
    question: str = "",
    reference: str = REFERENCE,
) -> None:
    """Display a test in which one sound after the other is rated, in random order.

    Parameters
    ----------
    items
        Name of an item to its sounds, by condition (the systems that are compared).
    sample_rate, name, caption
        As in :func:`abx`.
    scale
        ``"ACR"``: each sound by itself, from 1 to 5; the mean is the MOS. ``"DCR"``: after the
        reference, how much worse, from 1 to 5. ``"CCR"``: against the reference, in random order,
        from -3 to 3; the table holds how much better the condition is than the reference.
    question
        Replaces the usual one, to ask for one attribute ("How bright is the sound?").
    reference
        Of DCR and CCR: the condition that is compared with. It is hidden among the others, too.

    Raises
    ------
    DataError
        If there is no such scale, an item lacks the reference, or a sound cannot be played.
    """
    rating_test(
        items,
        sample_rate,
        name=name,
        caption=caption,
        scale=scale,
        question=question,
        reference=reference,
    ).display()


def rating_test(
    items: Items,
    sample_rate: int,
    *,
    name: str,
    caption: str,
    scale: str = "ACR",
    question: str = "",
    reference: str = REFERENCE,
) -> Rendered:
    """Return what :func:`rate` displays."""
    if scale not in SCALES:
        raise DataError(
            "scale of a listening test",
            got=repr(scale),
            expected="one of " + ", ".join(SCALES),
            hint=did_you_mean(scale, SCALES),
        )
    usual, answers = SCALES[scale]
    about = {
        "kind": scale.lower(),
        "question": question or usual,
        "answers": list(answers.items()),
        "reference": reference,
        "t": _t_factors(items),
    }
    if scale != "ACR":
        _require_reference(items, reference)
    n = sum(map(len, items.values()))
    task = f"{n} sounds, one after the other, in an order drawn by lot. {question or usual}"
    return _test(items, sample_rate, name=name, caption=caption, task=task, about=about)


def mushra(
    items: Items, sample_rate: int, *, name: str, caption: str, reference: str = REFERENCE
) -> None:
    """Display a MUSHRA test: all conditions of an item side by side, rated from 0 to 100.

    Parameters
    ----------
    items
        Name of an item to its sounds, by condition. One of them is the reference, which can be
        heard openly and is hidden among the others; one should be an anchor, such as the reference
        low-passed at 3.5 kHz, which keeps the scale in place.
    sample_rate, name, caption
        As in :func:`abx`.
    reference
        Which condition is the reference.

    Raises
    ------
    DataError
        If an item lacks the reference or has fewer than three sounds, more than nine, or other
        conditions than the first, or a sound cannot be played.
    """
    mushra_test(items, sample_rate, name=name, caption=caption, reference=reference).display()


def mushra_test(
    items: Items, sample_rate: int, *, name: str, caption: str, reference: str = REFERENCE
) -> Rendered:
    """Return what :func:`mushra` displays."""
    _require_reference(items, reference)
    first = list(next(iter(items.values()))) if items else []
    for item, sounds in items.items():
        if set(sounds) != set(first) or not 3 <= len(sounds) <= 9:
            raise DataError(
                f"MUSHRA: item {item!r}",
                got=", ".join(sounds),
                expected=f"the conditions {', '.join(first)}: from three to nine, alike everywhere",
                hint="make every condition of every item: reference, anchor, systems",
            )
    about = {"kind": "mushra", "reference": reference, "t": _t_factors(items)}
    task = (
        f"{len(items)} page{'s' * (len(items) > 1)}. Rate how near each sound comes to the "
        "reference, from 0 (bad) to 100 (no difference). One of them is the reference itself."
    )
    return _test(items, sample_rate, name=name, caption=caption, task=task, about=about)


def _require_reference(items: Items, reference: str) -> None:
    for item, sounds in items.items():
        if reference not in sounds:
            raise DataError(
                f"listening test: item {item!r}",
                got=", ".join(sounds) or "no sound",
                expected=f"a sound called {reference!r} among them",
                hint=did_you_mean(reference, sounds, otherwise="add the unprocessed sound"),
            )


def _t_factors(items: Items) -> list[float | None]:
    """Return the factor of an interval for each number of ratings that a condition can have."""
    factors = [t_factor(n) for n in range(len(items) + 1)]
    return [float(f) if np.isfinite(f) else None for f in factors]


def _test(
    items: Items,
    sample_rate: int,
    *,
    name: str,
    caption: str,
    task: str,
    about: Mapping[str, Any],
) -> Rendered:
    sentence("listening test: name", name, "name the test; it stands in the table")
    sentence("listening test: caption", caption, "say what is compared")
    flat = {
        f"{item}: {condition}": sound
        for item, sounds in items.items()
        for condition, sound in sounds.items()
    }
    levelled = level_sounds(flat, sample_rate)
    rows = "".join(
        audio_row(
            label, sound, sample_rate, encode_mp3(sound, sample_rate, bytes_per_s=BYTES_PER_S)
        )
        for label, sound in levelled.items()
    )
    places: Sequence[str] = list(flat)
    listed = [
        [item, [[condition, places.index(f"{item}: {condition}")] for condition in sounds]]
        for item, sounds in items.items()
    ]
    data = json_for_script({"name": name, "items": listed, **about})
    html = (
        f'{KIT_STYLE}{STYLE}<figure class="dl101 dl101-kit dl101-listen" role="group" '
        f'aria-label="{escape(caption)}" data-lm-suppress-shortcuts="true">'
        f"<p>{escape(task)}</p>"
        f'<details class="dl101-sounds"><summary>The sounds, with their names</summary>{rows}'
        f"</details><figcaption>{escape(caption)}</figcaption>"
        f'<script type="application/json" class="dl101-test">{data}</script></figure>'
        f"{SCRIPT}{LISTEN_SCRIPT}"
    )
    return Rendered(text=f"Listening test {name!r} ({about['kind']}). {task} {caption}", html=html)


STYLE = """<style>
.dl101-listen .dl101-sounds .dl101-row{margin:.5em 0}
.dl101-listen .dl101-panel{border:1px solid currentColor;border-radius:.3em;padding:.6em .8em;
margin:.4em 2px;max-width:44em}
.dl101-listen .dl101-panel p{margin:.3em 0}
.dl101-listen .dl101-buttons{display:flex;flex-wrap:wrap;gap:.5em;margin:.5em 0}
.dl101-listen button[data-playing]{outline:2px solid #2a7fb8;outline-offset:1px}
.dl101-listen .dl101-slide{display:flex;flex-wrap:wrap;align-items:center;gap:.2em .7em;
margin:.4em 0}
.dl101-listen .dl101-slide input{flex:1 1 9em;accent-color:#2a7fb8}
.dl101-listen .dl101-slide output{flex:0 0 7em;font-variant-numeric:tabular-nums}
.dl101-listen .dl101-panel fieldset{flex-direction:column;margin:.4em 0}
.dl101-listen .dl101-panel legend{float:none;font-weight:600;line-height:inherit;margin:0 0 .2em}
.dl101-listen textarea{display:block;width:100%;box-sizing:border-box;height:8em;margin:.2em 0 .6em;
font:.8em monospace;color:inherit;background:transparent;border:1px solid currentColor}
.dl101-listen .dl101-message{font-weight:600;min-height:1.5em}
.dl101-listen .dl101-head{font-weight:600}.dl101-listen .dl101-head:focus{outline:none}
</style>"""

_LISTEN_SCRIPT = r"""
(function () {
  'use strict';
  if (window.dl101Listen) { window.dl101Listen(); return; }
  const WORDS = ['bad', 'poor', 'fair', 'good', 'excellent'];
  let serial = 0, listener = '';

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    node.append(...children);
    return node;
  }
  function shuffled(list) {
    const copy = [...list];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [copy[i], copy[j]] = [copy[j], copy[i]];
    }
    return copy;
  }
  function whoListens() {
    if (!listener) {
      const bytes = crypto.getRandomValues(new Uint8Array(3));
      listener = 'L' + [...bytes].map(b => b.toString(16).padStart(2, '0')).join('');
    }
    return listener;
  }
  const letter = i => 'ABCDEFGHI'[i];
  const field = value => {
    const text = String(value);
    return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  };

  // Pages in the order drawn: which sounds stand on each, and what is written into the table.
  function drawPages(test) {
    if (test.kind === 'abx') {
      const pages = [];
      while (pages.length < test.n)
        for (const [item, pair] of shuffled(test.items)) if (pages.length < test.n) {
          const [a, b] = shuffled(pair), x = Math.random() < 0.5 ? 0 : 1;
          pages.push({item, x, hidden: [a, b][x][0],
            sounds: [['A', a[1]], ['B', b[1]], ['X', [a, b][x][1]]]});
        }
      return pages;
    }
    if (test.kind === 'mushra') return shuffled(test.items).map(([item, sounds]) => {
      const hidden = shuffled(sounds);
      const open = sounds.find(([condition]) => condition === test.reference)[1];
      return {item, hidden, sounds: [['Reference', open],
        ...hidden.map(([condition, source], i) => [letter(i), source])]};
    });
    const single = [];
    for (const [item, sounds] of test.items) {
      const open = (sounds.find(([condition]) => condition === test.reference) || [])[1];
      for (const [condition, source] of sounds) {
        const first = test.kind === 'ccr' && Math.random() < 0.5;
        const shown = test.kind === 'acr' ? [['Sound', source]]
          : test.kind === 'dcr' ? [['Reference', open], ['Sound', source]]
          : first ? [['First', source], ['Second', open]] : [['First', open], ['Second', source]];
        single.push({item, condition, first, sounds: shown});
      }
    }
    return shuffled(single);
  }

  function start(figure) {
    const test = JSON.parse(figure.querySelector('.dl101-test').textContent);
    const named = figure.querySelector('.dl101-sounds');
    const players = [...named.querySelectorAll('audio')].map(a => new Audio(a.src));
    const panel = make('div', {class: 'dl101-panel'});
    let pages = [], at = 0, rows = [], playing = null, appeared = 0;
    named.hidden = true;
    named.before(panel);

    function stop() {
      if (!playing) return;
      playing.sound.pause();
      playing.button.removeAttribute('data-playing');
      playing = null;
    }
    // in a MUSHRA test a change of sound goes on at the same position
    function play(button, source) {
      const again = playing && playing.button === button;
      const from = playing && test.kind === 'mushra' ? playing.sound.currentTime : 0;
      stop();
      if (again) return;
      const sound = players[source];
      document.dispatchEvent(new CustomEvent('dl101-play', {detail: figure}));
      sound.currentTime = from < sound.duration - 0.05 ? from : 0;
      playing = {button, sound};
      button.setAttribute('data-playing', '');
      button.heard = true;
      sound.onended = () => { if (playing && playing.sound === sound) stop(); };
      // a sound that another one interrupts must not stop that one
      sound.play().catch(() => { if (playing && playing.button === button) stop(); });
    }
    document.addEventListener('dl101-play', e => { if (e.detail !== figure) stop(); });

    function radios(question, answers) {
      const name = 'dl101-listen-' + (++serial);
      const inputs = answers.map(([text, value]) => make('input', {type: 'radio', name, value}));
      const node = make('fieldset', {}, make('legend', {}, question), ...answers.map(([text], i) =>
        make('label', {class: 'dl101-option'}, inputs[i], text)));
      return {node, value: () => {
        const chosen = inputs.find(input => input.checked);
        return chosen ? Number(chosen.value) : null;
      }};
    }
    function slider(label) {
      const input = make('input', {type: 'range', min: 0, max: 100, step: 1, value: 50,
        'aria-label': 'quality of ' + label, 'aria-valuetext': 'not rated'});
      const output = make('output', {'aria-hidden': 'true'}, 'not rated');
      let rated = false;
      input.addEventListener('input', () => {
        rated = true;
        const value = Number(input.value), word = WORDS[Math.min(4, Math.floor(value / 20))];
        output.textContent = value + ', ' + word;
        input.setAttribute('aria-valuetext', output.textContent);
      });
      return {nodes: [input, output], value: () => rated ? Number(input.value) : null};
    }

    function show() {
      stop();
      const page = pages[at];
      const buttons = page.sounds.map(([label, source]) => {
        const button = make('button', {type: 'button', 'aria-label': 'Play ' + label}, label);
        button.addEventListener('click', () => play(button, source));
        return button;
      });
      const message = make('p', {class: 'dl101-message', role: 'status'});
      const last = at === pages.length - 1;
      const next = make('button', {type: 'button'}, last ? 'Finish' : 'Next');
      const body = [];
      let answers;
      if (test.kind === 'mushra') {
        const slides = page.hidden.map((_, i) => slider(letter(i)));
        body.push(make('div', {class: 'dl101-buttons'}, buttons[0]), ...slides.map((each, i) =>
          make('div', {class: 'dl101-slide'}, buttons[i + 1], ...each.nodes)));
        answers = () => slides.map(each => each.value());
      } else {
        const asked = test.kind === 'abx' ? radios('Which is X?', [['X is A', 0], ['X is B', 1]])
          : radios(test.question, test.answers);
        body.push(make('div', {class: 'dl101-buttons'}, ...buttons), asked.node);
        answers = () => [asked.value()];
      }
      next.addEventListener('click', () => {
        const unheard = buttons.filter(button => !button.heard).map(b => b.textContent);
        const given = answers();
        message.textContent = '';
        if (unheard.length) message.textContent = 'Listen first: ' + unheard.join(', ') + '.';
        else if (given.includes(null)) message.textContent = 'Answer first.';
        else {
          note(page, given, (performance.now() - appeared) / 1000);
          if (last) finish(); else { at++; show(); }
        }
      });
      const head = make('p', {class: 'dl101-head', tabindex: '-1'},
        (test.kind === 'mushra' ? 'Page ' : 'Trial ') + (at + 1) + ' of ' + pages.length);
      panel.replaceChildren(head, ...body, message, next);
      if (figure.started) head.focus({preventScroll: true});
      figure.started = true;
      appeared = performance.now();
      figure.keys = buttons;
    }

    function note(page, given, seconds) {
      const row = (condition, place, answer, right) => rows.push([test.name, whoListens(), at + 1,
        page.item, condition, place, answer, right, seconds.toFixed(1)]);
      if (test.kind === 'abx')
        row(page.hidden, letter(page.x), given[0], given[0] === page.x ? 1 : 0);
      else if (test.kind === 'mushra')
        page.hidden.forEach(([condition], i) => row(condition, letter(i), given[i], ''));
      else {
        // "the second against the first", turned so that it is about the condition
        const turned = page.first && given[0] ? -given[0] : given[0];
        row(page.condition, page.first ? 'A' : 'B', turned, '');
      }
    }

    function analysis() {
      if (test.kind === 'abx') {
        const right = rows.filter(row => row[7] === 1).length, p = test.p[right];
        const chance = p < 0.001 ? 'less than 0.1' : (100 * p).toFixed(p < 0.1 ? 1 : 0);
        return [make('p', {}, 'You were right in ' + right + ' of ' + test.n + ' trials. By '
          + 'guessing, so many or more are right with a probability of ' + chance + ' %.'),
          make('p', {}, test.needed === null ? 'So few trials cannot show a difference.'
            : 'From ' + test.needed + ' on, one speaks of a difference that was heard.')];
      }
      const by = new Map();
      for (const row of rows) by.set(row[4], [...(by.get(row[4]) || []), row[6]]);
      const cell = (tag, text, head) => make(tag, head ? {scope: head} : {}, text);
      const lines = [...by].map(([condition, values]) => {
        const n = values.length, mean = values.reduce((a, b) => a + b, 0) / n;
        const square = values.reduce((a, b) => a + (b - mean) * (b - mean), 0);
        const half = n > 1 ? test.t[n] * Math.sqrt(square / (n - 1) / n) : null;
        return {condition, n, mean, half};
      }).sort((a, b) => b.mean - a.mean);
      const digits = test.kind === 'mushra' ? 0 : 2;
      const table = make('table', {class: 'dataframe'},
        make('caption', {}, 'Your means, with 95 % intervals over the items.'),
        make('thead', {}, make('tr', {}, ...['condition', 'mean', '±', 'ratings'].map(text =>
          cell('th', text, 'col')))),
        make('tbody', {}, ...lines.map(line => make('tr', {}, cell('th', line.condition, 'row'),
          cell('td', line.mean.toFixed(digits)),
          cell('td', line.half === null ? '–' : line.half.toFixed(digits)),
          cell('td', line.n)))));
      return [make('div', {class: 'dl101-wide'}, table)];
    }

    function finish() {
      stop();
      figure.keys = [];
      const head = ['test', 'listener', 'trial', 'item', 'condition', 'place', 'answer', 'right',
        'seconds'];
      const csv = [head, ...rows].map(row => row.map(field).join(',')).join('\n') + '\n';
      const id = 'dl101-listen-' + (++serial);
      const area = make('textarea', {id, readonly: '', spellcheck: 'false'});
      area.value = csv;
      const file = test.name.replace(/[^A-Za-z0-9_-]+/g, '-') + '-' + whoListens() + '.csv';
      const save = make('a', {download: file,
        href: 'data:text/csv;charset=utf-8,' + encodeURIComponent(csv)}, 'Download the table');
      const again = make('button', {type: 'button'}, 'Start again');
      again.addEventListener('click', begin);
      const done = make('p', {class: 'dl101-head', role: 'status', tabindex: '-1'}, 'Done.');
      panel.replaceChildren(done, ...analysis(),
        make('label', {for: id}, 'Your answers as a table (CSV)'), area, make('p', {}, save),
        again);
      named.hidden = false;
      done.focus({preventScroll: true});
    }

    function begin() {
      pages = drawPages(test);
      at = 0;
      rows = [];
      named.hidden = true;
      named.open = false;
      show();
    }
    figure.addEventListener('keydown', event => {
      const i = '123456789'.indexOf(event.key);
      const plain = !(event.ctrlKey || event.altKey || event.metaKey);
      if (i < 0 || !figure.keys || i >= figure.keys.length || !plain
        || event.target.matches('textarea')) return;
      event.preventDefault();
      event.stopPropagation();
      figure.keys[i].click();
    });
    const go = make('button', {type: 'button'}, 'Start the test');
    go.addEventListener('click', () => { figure.started = true; begin(); });
    panel.append(go);
    figure.dl101 = {pages: () => pages, draw: () => drawPages(test)};
  }

  window.dl101Listen = function () {
    for (const figure of document.querySelectorAll('.dl101-listen:not([data-listening])')) {
      figure.setAttribute('data-listening', '');
      start(figure);
    }
  };
  // what calls the kit for later outputs of the page starts their tests, too
  const kit = window.dl101Kit;
  window.dl101Kit = function () { if (kit) kit(); window.dl101Listen(); };
  window.dl101Listen();
})();
"""
LISTEN_SCRIPT = (
    "<script>"
    + "\n".join(
        line.strip()
        for line in _LISTEN_SCRIPT.splitlines()
        if line.strip() and not line.strip().startswith("//")
    )
    + "</script>"
)
