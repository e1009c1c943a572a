/* The live panel: a sound goes in, what the network sees and says of it scrolls by.

Conventions. A page holds <details class="dl101-panel" data-network="NAME">, with a recorded example
inside that needs no script; this file is loaded when the first one is opened, and turns each into a
panel when it is opened. The network (NAME.json, NAME.bin) is loaded then, and works in a thread of
its own (worker.js). Nothing is sent anywhere. Where something is missing (microphone, permission,
the files themselves in a page that was opened from a disk), a sentence says so, and the recorded
example stays. Time is counted in frames of the network. */
'use strict';

(function () {
  const HOME = document.currentScript.src.replace(/[^/]*$/, '');
  const SHOWN_S = 8, MOST_BEHIND_S = 4, PIECE_S = 0.5, AHEAD_S = 10, TOLD_EVERY_MS = 1500;
  const LONGEST_S = 600;
  const NOTES = ['C', 'C♯', 'D', 'D♯', 'E', 'F', 'F♯', 'G', 'G♯', 'A', 'A♯', 'B'];
  const MARK = 255;  // in what is drawn: the network decides for this
  const GROUNDS = {
    light: {stops: [[255, 255, 255], [86, 160, 206], [0, 42, 70]], mark: [213, 94, 0]},
    dark: {stops: [[20, 24, 31], [0, 100, 160], [205, 236, 255]], mark: [255, 160, 60]},
  };

  // In a worklet, which has a thread of its own: pass on what the microphone hears.
  const CAPTURE = `registerProcessor('dl101-capture', class extends AudioWorkletProcessor {
    process([channels]) {
      if (channels.length) {
        const mono = new Float32Array(channels[0].length);
        for (const c of channels) for (let i = 0; i < mono.length; i++) mono[i] += c[i] / channels.length;
        this.port.postMessage(mono, [mono.buffer]);
      }
      return true;
    }
  });`;

  class Refusal extends Error {}

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    node.append(...children);
    return node;
  }

  const noteName = midi => NOTES[((Math.round(midi) % 12) + 12) % 12] + (Math.floor(Math.round(midi) / 12) - 1);

  async function fetched(name) {
    if (location.protocol === 'file:')
      throw new Refusal('This page was opened as a file, and browsers let such pages read no other '
        + 'files: the network cannot be loaded. Below is a recorded example.');
    let answer = null;
    try { answer = await fetch(HOME + name); } catch (error) { /* said below */ }
    if (!answer || !answer.ok)
      throw new Refusal('The network could not be loaded. Below is a recorded example.');
    return answer;
  }

  // ---- pictures ----------------------------------------------------------------------------------

  // A picture of the last seconds, one column a frame. Where the reader wants little motion it
  // stands still, and the newest column moves from left to right.
  class Picture {
    constructor(nBins, columns, label, axis, room) {
      Object.assign(this, {nBins, columns, n: 0});
      this.values = new Uint8Array(nBins * columns);
      this.canvas = make('canvas', {width: columns, height: nBins, role: 'img', 'aria-label': label});
      this.pen = this.canvas.getContext('2d', {willReadFrequently: true});
      this.image = this.pen.createImageData(columns, nBins);
      const marks = make('div', {class: 'dl101-panel-axis', 'aria-hidden': 'true'});
      marks.style.flexBasis = `${1 + 0.6 * room}em`;
      for (const [text, at] of axis) {
        const mark = make('span', {}, text);
        mark.style.bottom = `${100 * at}%`;
        marks.append(mark);
      }
      this.node = make('div', {class: 'dl101-panel-picture'}, marks, this.canvas);
    }
    add(column) {
      this.values.set(column, (this.n % this.columns) * this.nBins);
      this.n += 1;
    }
    clear() { this.values.fill(0); this.n = 0; }
    draw(colours, still) {
      const {columns, nBins, values, n} = this, pixels = new Uint32Array(this.image.data.buffer);
      for (let x = 0; x < columns; x++) {
        const column = still ? x : (n + x) % columns;
        for (let b = 0; b < nBins; b++)
          pixels[(nBins - 1 - b) * columns + x] = colours[values[column * nBins + b]];
      }
      if (still && n)
        for (let b = 0; b < nBins; b++) pixels[b * columns + n % columns] = colours[MARK];
      this.pen.putImageData(this.image, 0, 0);
    }
  }

  function colours() {
    const {stops, mark} = GROUNDS[document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light'];
    const table = new Uint32Array(256);
    const pack = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
    for (let i = 0; i < MARK; i++) {
      const at = 2 * i / (MARK - 1), k = Math.min(1, Math.floor(at));
      table[i] = pack(stops[k].map((v, c) => Math.round(v + (stops[k + 1][c] - v) * (at - k))));
    }
    table[MARK] = pack(mark);
    return table;
  }

  const level = share => Math.max(0, Math.min(MARK - 1, Math.round(share * (MARK - 1))));

  // What stands out is dark: the scale goes from the mean of the last seconds up to their loudest.
  class InputView {
    constructor({span}) { Object.assign(this, {span, mean: null, loudest: 0}); }
    column(frame) {
      let sum = 0, most = -Infinity;
      for (const v of frame) { sum += v; most = Math.max(most, v); }
      const mean = sum / frame.length;
      this.mean = this.mean === null ? mean : this.mean + 0.02 * (mean - this.mean);
      this.loudest = Math.max(most, this.loudest - 0.005 * (this.loudest - this.mean));
      const range = Math.max(this.span, this.loudest - this.mean);
      return Uint8Array.from(frame, v => level((v - this.mean) / range));
    }
  }

  function pitchAxis({low_midi: low, bins_per_semitone: perSemitone}, nBins) {
    const marks = [];
    for (let midi = 12 * Math.ceil(low / 12 - 1e-9); ; midi += 12) {
      const at = ((midi - low) * perSemitone + 0.5) / nBins;
      if (at > 0.98) return marks;
      if (at >= 0) marks.push([noteName(midi), at]);
    }
  }

  // How an answer is drawn and put into words, for each kind of network.
  const ANSWERS = {
    // The probability of each pitch; a pitch is said where a peak reaches the threshold.
    pitches: {
      size: output => output.n,
      axis: output => pitchAxis(output, output.n),
      peaks(frame, output) {
        const found = [];
        for (let b = 0; b < frame.length; b++)
          if (frame[b] >= output.threshold && frame[b] > (b ? frame[b - 1] : -1)
              && frame[b] >= (b + 1 < frame.length ? frame[b + 1] : -1)) found.push(b);
        return found;
      },
      column(frame, output) {
        const column = Uint8Array.from(frame, level);
        for (const b of this.peaks(frame, output)) column.fill(MARK, Math.max(0, b - 1), b + 2);
        return column;
      },
      words(frame, output) {
        const midi = this.peaks(frame, output).map(b => output.low_midi + b / output.bins_per_semitone);
        return midi.length ? midi.map(noteName).join(', ') : 'no note';
      },
    },
    // How likely each pitch is, of which one is said if the network is sure.
    pitch: {
      size: output => output.n,
      axis: output => pitchAxis(output, output.n),
      column(frame, output) {
        const column = Uint8Array.from(frame.subarray(0, output.n), v => level(2 * v));
        const [midi, sure] = frame.subarray(output.n);
        const b = Math.round((midi - output.low_midi) * output.bins_per_semitone);
        if (sure >= output.threshold) column.fill(MARK, Math.max(0, b - 1), b + 2);
        return column;
      },
      words(frame, output) {
        const [midi, sure] = frame.subarray(output.n), cents = Math.round(100 * (midi - Math.round(midi)));
        if (sure < output.threshold) return 'no clear pitch';
        return `${noteName(midi)} ${cents < 0 ? '−' : '+'}${Math.abs(cents)} cents`;
      },
    },
  };

  // Which tags hold for the last seconds; those that hold are marked, and said with the likeliest first.
  ANSWERS.tags = {
    size: output => output.n,
    axis: output => output.axis,
    column: (frame, output) => Uint8Array.from(frame, v => v >= output.threshold ? MARK : level(v)),
    words(frame, output) {
      const found = [...frame.keys()].filter(i => frame[i] >= output.threshold)
        .sort((a, b) => frame[b] - frame[a]).slice(0, 8);
      return found.map(i => `${output.classes[i]} ${Math.round(100 * frame[i])} %`).join(', ')
        || 'no tag yet';
    },
  };

  // ---- sources -------------------------------------------------------------------------------------

  async function microphone(context, receive) {
    if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia)
      throw new Refusal('This browser gives the page no microphone. Choose the example or a file.');
    let stream;
    try {
      // as it is: what makes speech clearer for a telephone takes music apart
      stream = await navigator.mediaDevices.getUserMedia({audio: {
        echoCancellation: false, noiseSuppression: false, autoGainControl: false}});
    } catch (error) {
      const denied = error.name === 'NotAllowedError' || error.name === 'SecurityError';
      throw new Refusal(denied ? 'The microphone was not allowed. Choose the example or a file.'
        : 'No microphone was found. Choose the example or a file.');
    }
    const source = context.createMediaStreamSource(stream);
    let node;
    if (context.audioWorklet) {
      const address = URL.createObjectURL(new Blob([CAPTURE], {type: 'text/javascript'}));
      await context.audioWorklet.addModule(address);
      URL.revokeObjectURL(address);
      node = new AudioWorkletNode(context, 'dl101-capture', {numberOfOutputs: 0});
      node.port.onmessage = ({data}) => receive(data);
    } else {
      node = context.createScriptProcessor(2048, 1, 1);
      node.onaudioprocess = event => receive(event.inputBuffer.getChannelData(0).slice());
      node.connect(context.destination);
    }
    source.connect(node);
    return () => { stream.getTracks().forEach(track => track.stop()); node.disconnect(); };
  }

  // A file, mono, at the rate at which the browser plays: browsers differ in the others they know.
  async function decoded(bytes, context) {
    let sound;
    try { sound = await context.decodeAudioData(bytes); } catch (error) {
      throw new Refusal('This file holds no sound that the browser can read.');
    }
    if (sound.duration > LONGEST_S)
      throw new Refusal(`This file lasts ${Math.round(sound.duration / 60)} minutes; the panel takes up to ${LONGEST_S / 60}.`);
    const mono = new Float32Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c++)
      sound.getChannelData(c).forEach((v, i) => { mono[i] += v / sound.numberOfChannels; });
    return mono;
  }

  // ---- the panel -----------------------------------------------------------------------------------

  let serial = 0;

  class Panel {
    constructor(details) {
      this.details = details;
      this.name = details.dataset.network;
      this.clip = details.querySelector('audio').getAttribute('src');
      this.place = details.querySelector('.dl101-panel-live');
      this.mostBehindS = MOST_BEHIND_S;
      details.addEventListener('toggle', () => { if (!details.open) this.stop(); });
    }

    async load() {
      try {
        this.network = await (await fetched(`${this.name}.json`)).json();
        this.weights = await (await fetched(`${this.name}.bin`)).arrayBuffer();
        const test = new Worker(`${HOME}worker.js`);
        test.terminate();
      } catch (error) {
        this.place.append(make('p', {role: 'status'}, error instanceof Refusal ? error.message
          : 'This browser cannot run the network. Below is a recorded example.'));
        return;
      }
      this.build();
      this.details.dataset.ready = '';
    }

    build() {
      const {input, output} = this.network, group = `dl101-panel-${++serial}`;
      this.frameS = input.hop_samples / input.sample_rate;
      const columns = Math.round(SHOWN_S / this.frameS);
      this.answer = ANSWERS[output.kind];
      const axes = [input.axis || pitchAxis(input, input.n), this.answer.axis(output)];
      const room = Math.max(...axes.flat().map(([text]) => text.length));  // the same above and below
      this.input = new Picture(input.n, columns,
        `What the network is fed, the last ${SHOWN_S} seconds: ${input.name}.`, axes[0], room);
      this.output = new Picture(this.answer.size(output), columns,
        `What the network says, the last ${SHOWN_S} seconds: ${output.name}.`, axes[1], room);
      const options = [['microphone', 'my microphone'], ['clip', 'the recorded example'], ['file', 'a file']];
      this.radios = options.map(([value]) => make('input', {type: 'radio', name: group, value}));
      this.radios[0].checked = true;
      this.file = make('input', {type: 'file', accept: 'audio/*', 'aria-label': 'a sound file'});
      this.file.hidden = true;
      this.button = make('button', {type: 'button'}, 'Start');
      this.status = make('p', {class: 'dl101-panel-status', role: 'status'});
      this.said = make('output', {class: 'dl101-panel-said', 'aria-live': 'off'});
      this.speed = make('span', {class: 'dl101-panel-speed'});
      const heading = (text, ...more) => make('p', {class: 'dl101-panel-title'}, text, ...more);
      this.place.append(
        make('div', {class: 'dl101-panel-controls'},
          make('fieldset', {}, make('legend', {}, 'Listen to'), ...options.map(([, label], i) =>
            make('label', {}, this.radios[i], ' ', label)), this.file),
          this.button),
        this.status,
        heading(`In: ${input.name}`), this.input.node,
        heading(`Out: ${output.name}. `, this.said), this.output.node,
        make('p', {class: 'dl101-panel-title'}, `The last ${SHOWN_S} seconds. `, this.speed));
      this.radios.forEach(radio => radio.addEventListener('change', () => {
        this.stop();
        this.file.hidden = this.chosen() !== 'file';
      }));
      this.button.addEventListener('click', () => this.running ? this.stop() : this.start());
      const theme = new MutationObserver(() => this.draw());
      theme.observe(document.documentElement, {attributes: true, attributeFilter: ['data-theme']});
      this.draw();
    }

    chosen() { return this.radios.find(radio => radio.checked).value; }

    tell(text) { this.status.textContent = text; }

    async start() {
      const run = this.running = {sentS: 0, heardS: 0};
      this.button.textContent = 'Stop';
      this.tell('');
      this.reset();
      try {
        const kind = this.chosen();
        const context = run.context = new AudioContext();
        await context.resume();
        if (kind === 'microphone') await this.listen(run, context);
        else await this.playAlong(run, context, await this.bytes(kind));
        if (this.running === run) this.tick(run);
      } catch (error) {
        if (this.running === run) this.stop();
        this.tell(error instanceof Refusal ? error.message : `The panel stopped: ${error.message || error}`);
      }
    }

    async bytes(kind) {
      if (kind === 'clip') return (await fetch(this.clip)).arrayBuffer();
      if (!this.file.files.length) throw new Refusal('Choose a file first.');
      return this.file.files[0].arrayBuffer();
    }

    open(run, rate, live) {
      const worker = run.worker = new Worker(`${HOME}worker.js`);
      worker.onmessage = ({data}) => {
        if (this.running !== run) return;
        if (data.error) { this.stop(); this.tell(`The network stopped: ${data.error}`); }
        else if ('n' in data) this.take(run, data);
      };
      worker.onerror = () => { this.stop(); this.tell('This browser cannot run the network.'); };
      worker.postMessage({open: this.network, weights: this.weights, rate, live});
    }

    send(run, samples, rate, last) {
      run.sentS += samples.length / rate;
      run.worker.postMessage({samples, last});
    }

    async listen(run, context) {
      const rate = context.sampleRate, size = Math.round(0.09 * rate);
      let held = [], n = 0;
      run.clock = () => Infinity;
      run.release = await microphone(context, samples => {
        if (this.running !== run) return;
        held.push(samples);
        n += samples.length;
        if (n < size) return;
        const piece = new Float32Array(n);
        let at = 0;
        for (const each of held) { piece.set(each, at); at += each.length; }
        [held, n] = [[], 0];
        this.send(run, piece, rate, false);
        if (run.sentS - run.heardS > this.mostBehindS) {
          this.stop();
          this.tell('This machine computes more slowly than you play. The example and files work: their picture takes the time that it needs.');
        }
      });
      if (this.running !== run) { run.release(); return; }
      this.open(run, rate, true);
      this.tell('Listening. The picture is about a second late: a low note needs that long to be told from its neighbour.');
    }

    async playAlong(run, context, bytes) {
      const rate = context.sampleRate, samples = await decoded(bytes, context);
      if (this.running !== run) return;
      this.open(run, rate, false);
      const buffer = context.createBuffer(1, samples.length, rate), node = context.createBufferSource();
      buffer.copyToChannel(samples, 0);
      node.buffer = buffer;
      node.connect(context.destination);
      let sent = 0;
      run.feed = () => {  // a little ahead of what is heard
        while (sent < samples.length && run.sentS - run.heardS < 2 && run.sentS < run.clock() + AHEAD_S) {
          const stop = Math.min(samples.length, sent + Math.round(PIECE_S * rate));
          this.send(run, samples.slice(sent, stop), rate, stop === samples.length);
          sent = stop;
        }
      };
      const begin = context.currentTime + 0.3;  // the network gets a small start
      run.clock = () => context.currentTime - begin;
      node.start(begin);
      run.release = () => { node.onended = null; node.stop(); };
    }

    take(run, {n, input, output, heardS, spentS, last}) {
      run.heardS = heardS;
      if (n) {
        const a = input.length / n, b = output.length / n;
        for (let t = 0; t < n; t++)
          run.columns.push([input.subarray(t * a, (t + 1) * a), output.subarray(t * b, (t + 1) * b)]);
      }
      run.done = last;
      if (heardS > 1)
        this.speed.textContent = `Computed here ${(heardS / spentS).toFixed(1)} times as fast as it sounds.`;
    }

    tick(run) {
      if (this.running !== run) return;
      if (run.feed) run.feed();
      // what came in at once is shown bit by bit, so that the picture runs evenly
      const clock = run.clock(), many = clock === Infinity ? 1 + Math.floor(run.columns.length / 6) : Infinity;
      let shown = 0;
      while (run.columns.length && shown < many && run.shown * this.frameS <= clock) {
        const [frame, answer] = run.columns.shift();
        this.input.add(run.view.column(frame));
        this.output.add(this.answer.column(answer, this.network.output));
        run.answer = answer;
        run.shown += 1;
        shown += 1;
      }
      if (shown) {
        this.draw();
        const now = performance.now();
        if (now - run.toldMs > TOLD_EVERY_MS) {
          run.toldMs = now;
          this.said.textContent = this.answer.words(run.answer, this.network.output);
        }
      }
      if (run.done && !run.columns.length) { this.stop(); return; }
      requestAnimationFrame(() => this.tick(run));
    }

    reset() {
      const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
      Object.assign(this.running, {columns: [], shown: 0, toldMs: 0, view: new InputView(this.network.input)});
      this.still = still;
      this.input.clear();
      this.output.clear();
      this.said.textContent = '';
      this.speed.textContent = '';
      this.draw();
    }

    draw() {
      const table = colours();
      this.input.draw(table, this.still);
      this.output.draw(table, this.still);
    }

    stop() {
      const run = this.running;
      if (!run) return;
      this.running = null;
      if (run.release) run.release();
      if (run.worker) run.worker.terminate();
      if (run.context) run.context.close();
      this.button.textContent = 'Start';
      // read aloud now, and not while somebody sings
      this.tell(this.said.textContent && `Last heard: ${this.said.textContent}.`);
    }

    // For those who want the numbers: what the network is fed and says of samples, all at once.
    analyse(samples, rate, live = false) {
      return new Promise((resolve, reject) => {
        const worker = new Worker(`${HOME}worker.js`);
        worker.onmessage = ({data}) => {
          if (data.ready) return;
          worker.terminate();
          if (data.error) reject(new Error(data.error)); else resolve(data);
        };
        worker.postMessage({open: this.network, weights: this.weights, rate, live});
        worker.postMessage({samples, last: true, all: true});
      });
    }
  }

  function begin(details) {
    if (details.dl101 || !details.open) return;
    details.dl101 = new Panel(details);
    details.dl101.load();
  }

  const style = make('link', {rel: 'stylesheet', href: `${HOME}panel.css`});
  document.head.append(style);
  for (const details of document.querySelectorAll('details.dl101-panel')) {
    begin(details);
    details.addEventListener('toggle', () => begin(details));
  }
})();
