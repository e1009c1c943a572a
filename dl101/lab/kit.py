r"""What the interactive outputs share: style and script.

Conventions. An interactive output is one ``<figure class="dl101 dl101-kit">`` that carries all it
needs: pictures and sounds as data URIs, the style and the script below; no request leaves the page.
Without the script (a code host's preview, an untrusted notebook, scripts switched off) the figure
is a still picture with plain audio elements. The script finds the figures that it has not seen yet,
builds their controls from native elements (keyboard and screen reader work as everywhere) and hides
the plain audio elements. Several copies of the script on a page are harmless; a page needs one: a
saved notebook keeps the first and has :data:`CALL` for the others (``tools/chapters.py``), while
what a kernel displays is always complete, because some front-ends isolate each output.

Sounds of a figure share one transport. Each is decoded once; a change of sound starts the new one
at the position of the old one on the clock of the audio hardware and cross-fades within 10 ms.
"""

from __future__ import annotations

import json

from dl101.errors import DataError
from dl101.lab.show import STYLE


def sentence(place: str, text: object, hint: str) -> str:
    """Return a text that must not be empty, or raise :class:`DataError`."""
    if not isinstance(text, str) or not text.strip():
        raise DataError(place, got=repr(text), expected="a sentence", hint=hint)
    return text


def json_for_script(value: object) -> str:
    """Return JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


KIT_STYLE = (
    STYLE
    + """<style>
.dl101-kit [hidden]{display:none!important}
.dl101-kit img{display:block}
.dl101-kit .dl101-row{display:flex;flex-wrap:wrap;align-items:center;gap:.25em 1em;margin:.3em 0}
.dl101-kit .dl101-row span{flex:0 1 14em}
.dl101-kit audio{flex:1 1 16em;min-width:0;max-width:28em;height:2.5em}
.dl101-kit .dl101-controls,.dl101-kit .dl101-deck{display:flex;flex-wrap:wrap;align-items:center;
gap:.2em 1.2em;margin:.5em 2px;max-width:44em}
.dl101-kit .dl101-control{display:flex;flex-wrap:wrap;align-items:center;gap:0 .7em;
flex:1 1 20em;min-width:0}
.dl101-kit .dl101-control label{flex:0 0 auto;margin:0}
.dl101-kit .dl101-control input[type=range]{flex:1 1 5em}
.dl101-kit .dl101-control output{flex:0 0 auto;min-width:6em;font-variant-numeric:tabular-nums}
.dl101-kit .dl101-deck input[type=range]{flex:1 1 8em;min-width:6em}
.dl101-kit input[type=range]{min-width:0;height:2em;margin:0;accent-color:#2a7fb8}
.dl101-kit .dl101-time{font-variant-numeric:tabular-nums;min-width:7em}
.dl101-kit button,.dl101-kit select{font:inherit;color:inherit;background:transparent;
border:1px solid currentColor;border-radius:.3em;padding:.2em .8em;min-height:2em;cursor:pointer}
.dl101-kit button{min-width:5em}
.dl101-kit option{color:#000;background:#fff}
.dl101-kit fieldset{border:0;margin:0;padding:0;min-width:0;display:flex;flex-wrap:wrap;
gap:.1em 1.2em;flex:1 1 100%}
.dl101-kit legend{float:left;padding:0;margin:0 1em 0 0;font:inherit;line-height:2em;width:auto}
.dl101-kit .dl101-option{display:inline-flex;align-items:center;gap:.4em;min-height:2em;margin:0}
.dl101-kit :focus-visible{outline:3px solid currentColor;outline-offset:2px}
.dl101-kit .dl101-status{position:absolute;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%);white-space:nowrap}
.dl101-kit .dl101-spectrum{position:relative;max-width:100%;width:fit-content;margin:.3em 0}
.dl101-kit .dl101-cursor{position:absolute;top:5%;bottom:21%;width:2px;background:#fff;
outline:1px solid #000;display:none;pointer-events:none}
.dl101-kit .dl101-question{flex-direction:column}
.dl101-kit .dl101-question legend{float:none;font-weight:600;line-height:inherit;margin:0 0 .3em}
.dl101-kit .dl101-verdict{border-left:.3em solid currentColor;margin:.6em 0 0;padding:.2em .8em}
.dl101-kit .dl101-verdict:empty{display:none}
.dl101-kit .dl101-verdict[data-verdict=right]{border-color:#2e9e5b}
.dl101-kit .dl101-verdict[data-verdict=wrong]{border-color:#d9822b}
.dl101-kit[data-ready] .dl101-row{display:none}
.dl101-live .widget-readout{flex:0 0 auto;width:auto;max-width:none}
.dl101-kit[data-ready] .dl101-cursor{display:block}
</style>"""
)

_SCRIPT = r"""
(function () {
  'use strict';
  if (window.dl101Kit) { window.dl101Kit(); return; }
  const FADE_S = 0.01;
  let context = null, serial = 0;

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    node.append(...children);
    return node;
  }

  // One transport for the sounds of a figure. sources() gives the present source of each label,
  // moved(second, chosen) is told the position.
  function makeDeck(figure, labels, durationS, sources, moved) {
    const decoded = new Map(), name = 'dl101-sound-' + (++serial);
    let chosen = 0, playing = null, restS = 0, request = 0;
    const button = make('button', {type: 'button'}, 'Play');
    const seek = make('input', {type: 'range', min: 0, max: durationS, step: 0.1, value: 0,
      'aria-label': 'position'});
    const time = make('span', {class: 'dl101-time', 'aria-hidden': 'true'});
    const repeat = make('input', {type: 'checkbox'});
    const deck = make('div', {class: 'dl101-deck'}, button, seek, time,
      make('label', {class: 'dl101-option'}, repeat, 'repeat'));
    const radios = labels.map((label, i) =>
      make('input', Object.assign({type: 'radio', name}, i ? {} : {checked: ''})));
    if (labels.length > 1)
      deck.append(make('fieldset', {}, make('legend', {}, 'Sound'), ...labels.map((label, i) =>
        make('label', {class: 'dl101-option'}, radios[i], label))));

    function decode(source) {
      if (!decoded.has(source)) {
        const text = atob(source.slice(source.indexOf(',') + 1));
        const bytes = Uint8Array.from(text, c => c.charCodeAt(0));
        decoded.set(source, context.decodeAudioData(bytes.buffer));
      }
      return decoded.get(source);
    }
    function positionS(at) {
      if (!playing) return restS;
      const t = playing.fromS + Math.max(0, at - playing.at);
      return playing.node.loop ? t % playing.lengthS : Math.min(t, playing.lengthS);
    }
    function here() { return positionS(context ? context.currentTime : 0); }
    function fadeOut(at) {
      playing.gain.gain.setValueAtTime(1, at);
      playing.gain.gain.linearRampToValueAtTime(0, at + FADE_S);
      playing.node.stop(at + FADE_S);
    }
    function begin(buffer) {
      // a moment ahead, so that the old and the new sound meet on one clock
      const at = context.currentTime + 0.02;
      let fromS = positionS(at);
      if (fromS > buffer.duration - FADE_S) {
        if (playing && !repeat.checked) { stop(); return; }
        fromS = 0;
      }
      const gain = context.createGain(), node = context.createBufferSource();
      node.buffer = buffer;
      node.loop = repeat.checked;
      node.connect(gain).connect(context.destination);
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(1, at + FADE_S);
      node.start(at, fromS);
      if (playing) fadeOut(at);
      playing = {node, gain, at, fromS, lengthS: buffer.duration};
      node.onended = () => { if (playing && playing.node === node) { stop(); restS = 0; draw(); } };
      button.textContent = 'Pause';
      follow();
    }
    function play() {
      if (!context) context = new AudioContext();
      context.resume();
      document.dispatchEvent(new CustomEvent('dl101-play', {detail: figure}));
      const asked = ++request;
      const every = sources();
      // all of them, so that a change of sound need not wait
      for (const source of every) decode(source).catch(() => null);
      decode(every[chosen]).then(buffer => { if (asked === request) begin(buffer); }, () => {
        // this browser does not decode it so: give the plain audio elements back
        stop();
        deck.hidden = true;
        figure.removeAttribute('data-ready');
      });
    }
    function stop() {
      request++;
      if (playing) {
        restS = here();
        playing.node.onended = null;
        fadeOut(context.currentTime);
        playing = null;
      }
      button.textContent = 'Play';
      draw();
    }
    function follow() {
      draw();
      if (playing && !figure.isConnected) stop();
      if (playing) requestAnimationFrame(follow);
    }
    function draw() {
      const s = here(), text = s.toFixed(1) + ' of ' + durationS.toFixed(1) + ' s';
      seek.value = s;
      seek.setAttribute('aria-valuetext', text);
      time.textContent = text;
      if (moved) moved(s, chosen);
    }
    function move(s) {
      const again = playing;
      if (again) stop();
      restS = Math.max(0, Math.min(durationS, s));
      draw();
      if (again) play();
    }
    function choose(i) {
      chosen = i;
      radios[i].checked = true;
      changed();
    }
    function changed() {
      if (playing) play();
      draw();
    }
    button.addEventListener('click', () => playing ? stop() : play());
    seek.addEventListener('input', () => move(Number(seek.value)));
    repeat.addEventListener('change', () => {
      if (!playing) return;
      playing.fromS = here();
      playing.at = context.currentTime;
      playing.node.loop = repeat.checked;
    });
    radios.forEach((radio, i) => radio.addEventListener('change', () => choose(i)));
    figure.addEventListener('keydown', event => {
      const i = '123456789'.indexOf(event.key);
      const plain = !(event.ctrlKey || event.altKey || event.metaKey);
      if (i < 0 || i >= labels.length || !plain || event.target.matches('select')) return;
      event.preventDefault();
      event.stopPropagation();
      choose(i);
    });
    document.addEventListener('dl101-play', e => { if (e.detail !== figure && playing) stop(); });
    draw();
    return {node: deck, changed, move, source: () => sources()[chosen],
      state: () => ({positionS: here(), chosen, playing: !!playing,
        playedS: playing ? playing.lengthS : 0})};
  }

  function startExplore(figure, rows) {
    const states = JSON.parse(figure.querySelector('.dl101-states').textContent);
    const image = figure.querySelector('img'), stillPicture = image.src;
    const pictures = states.pictures.map(source => source || stillPicture);
    const cached = pictures.map(source => { const i = new Image(); i.src = source; return i; });
    const status = make('span', {class: 'dl101-status', role: 'status'});
    const box = make('div', {class: 'dl101-controls'});
    const inputs = states.controls.map(control => {
      const id = 'dl101-control-' + (++serial);
      const input = control.choice
        ? make('select', {id}, ...control.texts.map((t, i) => make('option', {value: i}, t)))
        : make('input', {id, type: 'range', min: 0, max: control.texts.length - 1, step: 1});
      input.value = control.start;
      const value = make('output', {'aria-hidden': 'true'});
      box.append(make('div', {class: 'dl101-control'},
        make('label', {for: id}, control.label), input, control.choice ? '' : value));
      return {input, value, control};
    });
    const text = ({input, control}) => control.texts[Number(input.value)];
    const state = () =>
      inputs.reduce((n, {input, control}) => n * control.texts.length + Number(input.value), 0);
    const audio = rows.map(row => row.querySelector('audio').src);
    const sources = () => states.sounds.map((of, i) => {
      const source = states.audio[of[state()]];
      return source || audio[i];
    });
    const deck = rows.length ? makeDeck(figure, rows.map(row => row.dataset.label),
      states.duration_s, sources) : null;
    function draw(announce) {
      let alt = states.alt;
      for (const each of inputs) {
        const now = text(each);
        each.value.textContent = now;
        if (!each.control.choice) each.input.setAttribute('aria-valuetext', now);
        alt = alt.split('{' + each.control.name + '}').join(now);
      }
      image.src = cached[states.picture[state()]].src;
      image.alt = alt;
      if (announce)
        status.textContent = alt !== states.alt ? alt
          : inputs.map(each => each.control.label + ' ' + text(each)).join(', ');
      if (announce && deck) deck.changed();
    }
    for (const {input} of inputs) input.addEventListener('input', () => draw(true));
    (image.closest('.dl101-wide') || image).after(box, ...(deck ? [deck.node] : []), status);
    draw(false);
    figure.dl101 = {state, deck};
    if (figure.dataset.live) preferLive(figure);
  }

  function startPlayer(figure, rows) {
    const spectra = [...figure.querySelectorAll('.dl101-spectrum')];
    const durationS = Number(figure.dataset.duration);
    const moved = (s, chosen) => spectra.forEach((spectrum, i) => {
      spectrum.hidden = spectra.length > 1 && i !== chosen;
      const d = spectrum.dataset, left = Number(d.left), width = Number(d.width);
      spectrum.querySelector('.dl101-cursor').style.left =
        100 * (left + width * s / durationS) + '%';
    });
    const sources = rows.map(row => row.querySelector('audio').src);
    const deck = makeDeck(figure, rows.map(row => row.dataset.label), durationS,
      () => sources, moved);
    for (const spectrum of spectra) spectrum.addEventListener('click', event => {
      const place = spectrum.getBoundingClientRect(), d = spectrum.dataset;
      deck.move(durationS *
        ((event.clientX - place.left) / place.width - Number(d.left)) / Number(d.width));
    });
    figure.prepend(deck.node);
    figure.dl101 = {deck};
  }

  // In a live kernel the figure made of widgets stands below and replaces this one; where that
  // output was saved without a kernel behind it, its error message goes instead.
  function preferLive(figure) {
    const inLab = figure.closest('.jp-OutputArea-child');
    const look = () => {
      if (document.querySelector('.' + figure.dataset.live)) { figure.hidden = true; return true; }
      const next = inLab && inLab.nextElementSibling;
      if (next && next.textContent.startsWith('Error displaying widget')) {
        next.hidden = true;
        next.style.display = 'none';
        return true;
      }
    };
    const watch = new MutationObserver(() => { if (look()) watch.disconnect(); });
    if (!look()) watch.observe(document.body, {childList: true, subtree: true,
      characterData: true});
  }

  function startQuiz(figure) {
    const answers = figure.querySelector('details'), form = figure.querySelector('form');
    const options = [...form.querySelectorAll('input')];
    const why = [...answers.querySelectorAll('li')];
    const button = make('button', {type: 'submit'}, 'Check');
    const verdict = make('p', {class: 'dl101-verdict', role: 'status'});
    answers.hidden = true;
    form.append(button, verdict);
    for (const option of options) option.addEventListener('change', () => {
      verdict.textContent = '';
      verdict.removeAttribute('data-verdict');
    });
    form.addEventListener('submit', event => {
      event.preventDefault();
      const i = options.findIndex(option => option.checked);
      verdict.textContent = i < 0 ? 'Choose an answer first.'
        : why[i].querySelector('.dl101-why').textContent;
      verdict.dataset.verdict = i < 0 ? 'none' : why[i].dataset.verdict;
    });
  }

  window.dl101Kit = function () {
    const kinds = {'dl101-explore': startExplore, 'dl101-player': startPlayer,
      'dl101-quiz': startQuiz};
    for (const kind in kinds)
      for (const figure of document.querySelectorAll('.' + kind + ':not([data-ready])')) {
        figure.setAttribute('data-ready', '');
        kinds[kind](figure, [...figure.querySelectorAll('.dl101-row')]);
      }
  };
  window.dl101Kit();
})();
"""
# indentation and comments stay in this file; they would travel with every figure
SCRIPT = (
    "<script>"
    + "\n".join(
        line.strip()
        for line in _SCRIPT.splitlines()
        if line.strip() and not line.strip().startswith("//")
    )
    + "</script>"
)
# stands for the script where a page has it already
CALL = "<script>window.dl101Kit&&window.dl101Kit()</script>"
