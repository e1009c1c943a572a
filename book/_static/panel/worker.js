/* What listens: samples in, frames of the input and of the network's answer out, off the page's thread.

Conventions. Messages to it: {open: network, weights, rate, live} with the network's JSON, its file of
weights, the rate of the samples to come and whether they come from a microphone; then any number of
{samples, last}. Messages from it: {first, n, input, output, heardS, spentS}: n frames from frame
`first` on, the values of the input that are shown and the answers, one frame after the other; the
seconds of sound heard so far and the seconds of work they took. {error} if something failed. */
'use strict';

if (typeof importScripts === 'function') importScripts('spectra.js', 'layers.js');

(function (scope) {
  const {Hcqt, LogMel, Resampler} = scope.dl101Spectra, {Chain, reader} = scope.dl101Layers;
  const EAGER = {lookahead: 20, step: 16};  // for a microphone: half a second, three times a second

  // A network that hears some seconds at once: at every `hop` frames those that just passed, each
  // time brought to the same level. A frame's answer is the last one there is; before the first, 0.
  class Patches {
    constructor(network, chain) {
      Object.assign(this, network.patch, {chain, hopSamples: network.input.hop_samples});
      this.held = [];
      this.powers = [];  // sum of the squares of the samples from each frame to the next
      this.n = 0;
      this.samples = 0;
      this.answer = new Float32Array(network.output.n);
    }
    push(samples, frames) {
      for (const v of samples) {
        const t = Math.floor(this.samples++ / this.hopSamples);
        this.powers[t] = (this.powers[t] || 0) + v * v;
      }
      return frames.map(frame => {
        this.held.push(frame);
        this.held.splice(0, this.held.length - this.frames);
        this.n += 1;
        if (this.n >= this.frames && (this.n - this.frames) % this.hop === 0) this.answer = this.hear();
        return this.answer;
      });
    }
    hear() {
      const end = Math.min(this.samples, this.n * this.hopSamples);
      const start = (this.n - this.frames) * this.hopSamples;
      let power = 0;
      for (let t = this.n - this.frames; t < this.n; t++) power += this.powers[t] || 0;
      power /= end - start;
      const gain = power > 1e-12 ? 10 ** (this.level_db / 10) / power : 1;
      const patch = this.held.map(frame => frame.map(v => Math.log1p(gain * Math.expm1(v))));
      return this.chain.push(patch, true)[0];
    }
  }

  class Ear {
    constructor(network, weights, {rate, live = false} = {}) {
      const {input} = network, options = live ? EAGER : {};
      this.network = network;
      this.resampler = new Resampler(rate || input.sample_rate, input.sample_rate);
      this.spectrum = input.kind === 'hcqt' ? new Hcqt(input, options) : new LogMel(input, options);
      this.chain = new Chain(network.layers, reader(weights), network.context);
      this.patches = network.patch ? new Patches(network, this.chain) : null;
      this.waiting = [];  // inputs whose answer is not there yet
      this.next = 0;
      this.heard = 0;
    }

    // Return [first frame, inputs, answers], as many of the one as of the other.
    push(given, last) {
      const samples = this.resampler.push(given, last), first = this.next;
      this.heard += samples.length / this.network.input.sample_rate;
      const frames = this.spectrum.push(samples, last);
      const answers = this.patches ? this.patches.push(samples, frames)
        : this.chain.push(frames, last);
      this.waiting.push(...frames);
      this.next += answers.length;
      return [first, this.waiting.splice(0, answers.length), answers];
    }
  }

  function joined(frames) {
    const size = frames.length ? frames[0].length : 0, out = new Float32Array(size * frames.length);
    frames.forEach((frame, t) => out.set(frame, t * size));
    return out;
  }

  // Of all channels the one that is shown.
  function shown(frames, channels, channel) {
    return channels === 1 ? frames : frames.map(frame => {
      const out = new Float32Array(frame.length / channels);
      for (let b = 0; b < out.length; b++) out[b] = frame[b * channels + channel];
      return out;
    });
  }

  function serve() {
    let ear = null, spentS = 0;
    scope.onmessage = ({data}) => {
      try {
        if (data.open) {
          ear = new Ear(data.open, data.weights, data);
          spentS = 0;
          scope.postMessage({ready: true});
          return;
        }
        const begin = performance.now();
        const [first, frames, answers] = ear.push(data.samples, data.last);
        const {input} = ear.network;
        spentS += (performance.now() - begin) / 1000;
        const message = {first, n: answers.length, last: data.last, spentS, heardS: ear.heard,
          input: joined(data.all ? frames : shown(frames, ear.spectrum.channels, input.shown || 0)),
          output: joined(answers)};
        scope.postMessage(message, [message.input.buffer, message.output.buffer]);
      } catch (error) {
        scope.postMessage({error: String(error)});
      }
    };
  }

  scope.dl101Ear = {Ear, joined, shown};
  if (typeof importScripts === 'function') serve();
})(self);
