"""What a page must be like in a browser: each gate returns what is wrong, in words.

The gates look at the article alone (``.bd-article``), not at the theme around it. They know nothing
of the pages' content, so that a new chapter needs no change here; ``test_gates.py`` plants each
fault once.
"""

from __future__ import annotations

TEXT_CONTRAST = 4.5  # WCAG 2, level AA; for large text 3
SHORTEST_ALT = 15  # characters; "Figure 3" says nothing


def structure(page) -> list[str]:
    """Headings, alternative texts, captions, labels of controls; loads every picture."""
    return page.evaluate(STRUCTURE, SHORTEST_ALT)


def contrast(page) -> list[str]:
    """Texts that are too close to what is behind them, in the present colours."""
    return page.evaluate(CONTRAST, TEXT_CONTRAST)


def width(page) -> list[str]:
    """What makes the page scroll sideways."""
    return page.evaluate(WIDTH)


def rendering(page) -> list[str]:
    """Formulas and widgets that are written but not drawn."""
    return page.evaluate(RENDERING)


def sounds(page) -> list[str]:
    """Sounds that do not decode, are empty or silent, also those behind sliders."""
    return page.evaluate(SOUNDS)


def sliders(page) -> list[str]:
    """Controls of figures that the keyboard does not reach, or that change nothing.

    Moves every slider and menu of an interactive figure by a key until picture or sound changes.
    The position of a sound is no such control.
    """
    found = page.evaluate(FIND_CONTROLS)
    complaints = [text for text in found["complaints"] if text]
    for index, name in enumerate(found["controls"]):
        page.evaluate("i => window.gateControls[i].focus({preventScroll: true})", index)
        if not page.evaluate("i => document.activeElement === window.gateControls[i]", index):
            complaints.append(f"{name}: cannot be focused")
            continue
        before = page.evaluate(STATE, index)
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "Home", "End"):
            page.keyboard.press(key)
            after = page.evaluate(STATE, index)
            if after["shown"] != before["shown"] or after["heard"] != before["heard"]:
                break
        else:
            moved = "but picture and sound stay" if after["at"] != before["at"] else "nothing moves"
            complaints.append(f"{name}: keys were pressed, {moved}")
    return complaints


STRUCTURE = """async shortest => {
  const wrong = [], main = document.querySelector('.bd-article') || document.body;
  const all = what => [...main.querySelectorAll(what)];
  const brief = e => (e.outerHTML || '').replace(/data:[^"]{20,}/g, 'data:…').slice(0, 100);

  const levels = all('h1,h2,h3,h4,h5,h6').map(e => [Number(e.tagName[1]), e.textContent.trim()]);
  const tops = levels.filter(([level]) => level === 1).length;
  if (tops !== 1) wrong.push(tops + ' headings of level 1');
  levels.forEach(([level, text], i) => {
    if (i && level > levels[i - 1][0] + 1) wrong.push('heading skips a level: ' + text);
    if (!text.replace('#', '')) wrong.push('an empty heading of level ' + level);
  });

  await Promise.all(all('img').map(i => {
    i.loading = 'eager';
    return i.decode().catch(() => null);
  }));
  for (const image of all('img')) {
    const alt = (image.alt || '').trim(), inLink = image.closest('a:not(.image-reference)');
    if (!image.naturalWidth) wrong.push('image does not load: ' + brief(image));
    if (!alt) wrong.push('no alternative text: ' + brief(image));
    else if (/\\.(png|svg|jpe?g|webp)$/i.test(alt)) wrong.push('a file name for text: ' + alt);
    else if (alt.length < shortest && !inLink) wrong.push('says too little: alt="' + alt + '"');
    if (image.closest('.cell_output') && !image.closest('figure'))
      wrong.push('a picture without caption: ' + alt.slice(0, 60));
  }
  for (const drawn of all('svg, canvas, video')) {
    if (drawn.closest('mjx-container, [aria-hidden=true], button, a, svg svg')) continue;
    if (!(drawn.getAttribute('aria-label') || '').trim() && !drawn.querySelector('title'))
      wrong.push('no alternative text: ' + brief(drawn));
  }
  for (const figure of all('figure'))
    if (!(figure.querySelector('figcaption') || {textContent: ''}).textContent.trim())
      wrong.push('a figure without caption: ' + brief(figure));
  for (const table of all('.cell_output table'))
    if (!(table.querySelector('caption') || {textContent: ''}).textContent.trim())
      wrong.push('a table without caption: ' + table.textContent.trim().slice(0, 60));
  for (const control of all('input, select, button, audio, textarea')) {
    if (control.type === 'hidden') continue;
    const labels = [...(control.labels || [])].map(l => l.textContent).join('');
    const name = control.getAttribute('aria-label') || labels || control.title
      || control.dataset.tooltip || (control.tagName === 'BUTTON' ? control.textContent : '');
    if (!name.trim()) wrong.push('a control without label: ' + brief(control));
  }
  return wrong;
}"""

# Ratio of luminances as WCAG 2 defines it, of every visible piece of text, with colours that let
# something through mixed with what is behind them.
CONTRAST = """least => {
  const main = document.querySelector('.bd-article') || document.body;
  const parse = text => {
    const n = (text.match(/-?[\\d.]+(e-?\\d+)?/g) || [0, 0, 0, 0]).map(Number);
    const scale = text.startsWith('color(') ? 255 : 1;
    return [n[0] * scale, n[1] * scale, n[2] * scale, n.length > 3 ? n[3] : 1];
  };
  const over = (a, b) => [0, 1, 2].map(i => a[3] * a[i] + (1 - a[3]) * b[i]);
  const luminance = c => {
    const [r, g, b] = c.map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = new Map();
  const background = e => {
    if (!e) return [255, 255, 255];
    if (!behind.has(e)) {
      const c = parse(getComputedStyle(e).backgroundColor);
      behind.set(e, c[3] === 1 ? c.slice(0, 3) : over(c, background(e.parentElement)));
    }
    return behind.get(e);
  };
  const faded = new Map();
  const opacity = e => {
    if (!e) return 1;
    if (!faded.has(e))
      faded.set(e, Number(getComputedStyle(e).opacity) * opacity(e.parentElement));
    return faded.get(e);
  };
  const seen = new Set(), wrong = new Set();
  const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (seen.has(element) || !walker.currentNode.data.trim()) continue;
    seen.add(element);
    if (element.closest('script, style, noscript, svg, [aria-hidden=true], option')) continue;
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (style.visibility === 'hidden' || box.width < 2 || box.height < 2) continue;
    if (element.closest('.headerlink, .dl101-status, .visually-hidden, .sr-only')) continue;
    const ground = background(element), colour = parse(style.color);
    colour[3] *= opacity(element);
    const [a, b] = [luminance(over(colour, ground)), luminance(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const px = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    const wanted = px >= 24 || (bold && px >= 18.66) ? Math.min(3, least) : least;
    if (ratio < wanted - 0.01)
      wrong.add(ratio.toFixed(2) + ' to 1, ' + style.color + ' on rgb(' + ground.map(Math.round)
        + '): ' + element.tagName.toLowerCase() + '.' + element.className + ' "'
        + walker.currentNode.data.trim().slice(0, 40) + '"');
  }
  return [...wrong].slice(0, 12);
}"""

WIDTH = """() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return [];
  const out = [...document.querySelectorAll('.bd-article *')]
    .filter(e => e.getBoundingClientRect().right > page.clientWidth + 1).slice(0, 5)
    .map(e => e.tagName + '.' + e.className);
  return [page.scrollWidth + ' px on a screen of ' + page.clientWidth + ': ' + out.join(', ')];
}"""

RENDERING = """async () => {
  const wrong = [], count = what => document.querySelectorAll(what).length;
  const bare = [...document.querySelectorAll('.bd-article .math')]
    .filter(e => !e.querySelector('mjx-container'));
  for (const e of bare) wrong.push('a formula is not set: ' + e.textContent.slice(0, 60));
  // an unknown macro is set in red rather than refused
  for (const e of document.querySelectorAll('mjx-merror, mjx-container [style*="color: red"]'))
    wrong.push('a formula has an error: ' + e.textContent.slice(0, 60));
  const written = count('script[type="application/vnd.jupyter.widget-view+json"]');
  for (let i = 0; i < 100 && count('.widget-subarea') < written; i++)
    await new Promise(requestAnimationFrame);
  if (count('.widget-subarea') < written) wrong.push('a widget is not drawn');
  return wrong;
}"""

SOUNDS = """async () => {
  const context = new OfflineAudioContext(1, 1, 44100), wrong = [], places = [];
  for (const element of document.querySelectorAll('audio'))
    places.push([element.src || (element.querySelector('source') || {}).src || '', element]);
  for (const states of document.querySelectorAll('.dl101-states'))
    for (const source of JSON.parse(states.textContent).audio || [])
      if (source) places.push([source, states]);
  for (const [source, element] of places) {
    const figure = element.closest('figure') || element;
    const name = (element.getAttribute('aria-label') || figure.getAttribute('aria-label') || '?')
      .slice(0, 60) + ': ';
    try {
      const sound = await context.decodeAudioData(await (await fetch(source)).arrayBuffer());
      let peak = 0;
      for (let c = 0; c < sound.numberOfChannels; c++)
        for (const value of sound.getChannelData(c)) peak = Math.max(peak, Math.abs(value));
      if (sound.duration < 0.05) wrong.push(name + 'a sound of ' + sound.duration + ' s');
      if (peak > 1.01) wrong.push(name + 'a sound that clips');
      // a lesson on silence says so, in the label or the caption
      if (peak < 1e-3 && !/silen/i.test(name + figure.textContent)) wrong.push(name + 'silence');
    } catch (error) { wrong.push(name + 'does not decode: ' + error); }
  }
  return wrong;
}"""

FIND_CONTROLS = """() => {
  window.gateControls = [...document.querySelectorAll(
    'figure.dl101 input[type=range], figure.dl101 select')].filter(e => !e.closest('.dl101-deck'));
  const name = e => ([...(e.labels || [])].map(l => l.textContent).join(' ')
    || e.getAttribute('aria-label') || e.tagName).trim() + ' of "'
    + (e.closest('figure').getAttribute('aria-label') || '').slice(0, 50) + '"';
  return {
    controls: window.gateControls.map(name),
    complaints: [...document.querySelectorAll('figure.dl101-explore')]
      .filter(f => !window.gateControls.some(e => f.contains(e)))
      .map(f => 'a figure without controls: ' + (f.getAttribute('aria-label') || '').slice(0, 50)),
  };
}"""

# What a figure shows (a number made from its pixels or its drawing) and which sound it would play.
STATE = """async index => {
  const control = window.gateControls[index], figure = control.closest('figure');
  let shown = 7;
  const mix = v => { shown = (Math.imul(shown, 31) + v) | 0; };
  for (const image of figure.querySelectorAll('img')) {
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const pen = canvas.getContext('2d');
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    for (const v of new Uint32Array(pixels.buffer)) mix(v);
  }
  for (const canvas of figure.querySelectorAll('canvas'))
    for (const v of canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)
      mix(v);
  for (const drawing of figure.querySelectorAll('svg'))
    for (const v of new TextEncoder().encode(drawing.innerHTML)) mix(v);
  const deck = figure.dl101 && figure.dl101.deck;
  return {shown, at: control.value, heard: deck ? deck.source().slice(-200) : ''};
}"""
