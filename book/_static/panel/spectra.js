/* Spectra of a sound, frame by frame as it comes in: the harmonic CQT and the log-mel spectrogram.

Conventions. Twins of dl101.signal.cqt and dl101.signal.mel: same formulas, same numbers (the tests
hold them to 1e-3). A stream takes samples at the network's rate in pieces of any length,
`push(samples, last)`, and gives back the frames that are complete: one Float32Array a frame, bins
from low to high, channels of a bin side by side. Frame t stands at sample t * hop; a sound of n
samples has 1 + floor(n / hop) frames. What stands before the first and after the last sample is
silence. `lookahead` is how many frames of sound behind a frame a stream waits for: all that the
longest window sees, unless less is asked for to answer a microphone sooner; what is still missing
then counts as silence, in the lowest bins alone. */
'use strict';

(function (scope) {
  // ---- Fourier transforms ------------------------------------------------------------------

  // In place, of n = re.length a power of two. The sign of the exponent is -1, or 1 for `inverse`,
  // which leaves out the division by n.
  function makeFft(n) {
    const half = n / 2, cosine = new Float64Array(half), sine = new Float64Array(half);
    for (let k = 0; k < half; k++) {
      cosine[k] = Math.cos(2 * Math.PI * k / n);
      sine[k] = Math.sin(2 * Math.PI * k / n);
    }
    const reversed = new Uint32Array(n);
    for (let k = 1; k < n; k++) reversed[k] = (reversed[k >> 1] >> 1) | (k & 1 ? half : 0);
    return function (re, im, inverse) {
      const sign = inverse ? 1 : -1;
      for (let k = 0; k < n; k++) {
        const r = reversed[k];
        if (k < r) {
          let t = re[k]; re[k] = re[r]; re[r] = t;
          t = im[k]; im[k] = im[r]; im[r] = t;
        }
      }
      for (let size = 1, step = half; size < n; size *= 2, step /= 2) {
        for (let start = 0; start < n; start += 2 * size) {
          for (let k = start, w = 0; k < start + size; k++, w += step) {
            const c = cosine[w], s = sign * sine[w], m = k + size;
            const a = re[m] * c - im[m] * s, b = re[m] * s + im[m] * c;
            re[m] = re[k] - a; im[m] = im[k] - b;
            re[k] += a; im[k] += b;
          }
        }
      }
    };
  }

  // Of n real samples, n a power of two: the coefficients 0 to n / 2, by one complex transform of
  // half the length (even samples as real parts, odd ones as imaginary parts).
  function makeRealFft(n) {
    const half = n / 2, fft = makeFft(half);
    const re = new Float64Array(half), im = new Float64Array(half);
    const outRe = new Float64Array(half + 1), outIm = new Float64Array(half + 1);
    const cosine = new Float64Array(half + 1), sine = new Float64Array(half + 1);
    for (let k = 0; k <= half; k++) {
      cosine[k] = Math.cos(2 * Math.PI * k / n);
      sine[k] = Math.sin(2 * Math.PI * k / n);
    }
    return function (samples) {
      for (let k = 0; k < half; k++) { re[k] = samples[2 * k]; im[k] = samples[2 * k + 1]; }
      fft(re, im, false);
      for (let k = 0; k <= half; k++) {
        const i = k % half, j = (half - k) % half;
        const evenRe = (re[i] + re[j]) / 2, evenIm = (im[i] - im[j]) / 2;
        const oddRe = (im[i] + im[j]) / 2, oddIm = (re[j] - re[i]) / 2;
        outRe[k] = evenRe + cosine[k] * oddRe + sine[k] * oddIm;
        outIm[k] = evenIm + cosine[k] * oddIm - sine[k] * oddRe;
      }
      return [outRe, outIm];
    };
  }

  // ---- what has come in ----------------------------------------------------------------------

  // The samples that are still needed. `read(start, target)` fills target from sample `start` on,
  // with zeros where there is nothing.
  class Samples {
    constructor() { this.held = new Float32Array(1 << 16); this.start = 0; this.total = 0; }
    add(samples) {
      const n = this.total - this.start;
      if (n + samples.length > this.held.length) {
        const larger = new Float32Array(2 * (n + samples.length));
        larger.set(this.held.subarray(0, n));
        this.held = larger;
      }
      this.held.set(samples, n);
      this.total += samples.length;
    }
    forget(before) {
      const n = Math.min(before, this.total) - this.start;
      if (n < this.held.length / 2) return;  // not worth the copying yet
      this.held.copyWithin(0, n, this.total - this.start);
      this.start += n;
    }
    read(start, target) {
      for (let i = 0, at = start - this.start; i < target.length; i++, at++)
        target[i] = at >= 0 && at < this.total - this.start ? this.held[at] : 0;
    }
  }

  // ---- harmonic CQT --------------------------------------------------------------------------

  const LOBES = 2, MIN_HALF_WIDTH_HZ = 20, EDGE = 0.75;  // as in dl101.signal.cqt
  const BLOCK_FRAMES = 256;

  // The transform of a Hann window of unit area, at a frequency in lobes.
  function hannTransform(lobes) {
    const denominator = 1 - lobes * lobes;
    if (Math.abs(denominator) < 1e-9) return 0.5;
    return (lobes === 0 ? 1 : Math.sin(Math.PI * lobes) / (Math.PI * lobes)) / denominator;
  }

  // The distinct frequencies of all harmonics, and the row at which each harmonic starts.
  function distinctFrequencies(config) {
    const perOctave = 12 * config.bins_per_semitone, nBins = perOctave * config.n_octaves;
    const positions = config.harmonics.map(h => perOctave * Math.log2(h));
    const fractionOf = p => (Math.round((p - Math.floor(p)) * 1e6) / 1e6) % 1;
    const chains = new Map();
    for (const p of [...positions].sort((a, b) => a - b)) {
      if (!chains.has(fractionOf(p))) chains.set(fractionOf(p), []);
      chains.get(fractionOf(p)).push(p);
    }
    const frequencies = [], begins = new Map();
    for (const [fraction, members] of chains) {
      begins.set(fraction, [frequencies.length, members[0]]);
      const length = Math.round(members[members.length - 1] - members[0]) + nBins;
      for (let k = 0; k < length; k++)
        frequencies.push(config.f_min_hz * 2 ** ((members[0] + k) / perOctave));
    }
    const offsets = positions.map(p => {
      const [begin, lowest] = begins.get(fractionOf(p));
      return begin + Math.round(p - lowest);
    });
    return {frequencies, offsets, nBins};
  }

  class Hcqt {
    constructor(config, {lookahead = Infinity, step = 64} = {}) {
      const {frequencies, offsets, nBins} = distinctFrequencies(config);
      const rate = config.sample_rate, hop = config.hop_samples;
      const ratio = 2 ** (2 / (12 * config.bins_per_semitone));
      const quality = (ratio + 1) / (ratio - 1);
      Object.assign(this, {config, offsets, nBins, hop, step});
      const halfWidthHz = frequencies.map(f => Math.max(LOBES * f / quality, MIN_HALF_WIDTH_HZ));
      let reachS = 0;
      frequencies.forEach((f, i) => {
        const window = quality / f / 2, few = halfWidthHz[i] * 2 * window < 10;
        reachS = Math.max(reachS, window + (few ? 2 / ((1 - EDGE) * halfWidthHz[i]) : 0));
      });
      this.margin = Math.ceil(reachS * rate / hop);
      this.blockFrames = BLOCK_FRAMES;
      while (this.blockFrames < 3 * this.margin) this.blockFrames *= 2;
      this.lookahead = Math.min(lookahead, this.margin);
      const n = this.blockFrames * hop, resolutionHz = rate / n;
      this.rows = frequencies.map((f, i) => {
        if (f * (1 + 0.75 / quality) >= rate / 2) return null;  // stays silent
        const first = Math.max(0, Math.ceil((f - halfWidthHz[i]) / resolutionHz));
        const last = Math.min(n / 2, Math.floor((f + halfWidthHz[i]) / resolutionHz));
        const weights = new Float64Array(last - first + 1), durationS = quality / f;
        for (let k = 0; k < weights.length; k++) {
          const distanceHz = (first + k) * resolutionHz - f;
          const keptHz = Math.min(distanceHz < 0 ? f : rate / 2 - f, halfWidthHz[i]);
          const position = (Math.abs(distanceHz) / keptHz - EDGE) / (1 - EDGE);
          const edge = Math.cos(Math.PI / 2 * Math.min(1, Math.max(0, position))) ** 2;
          weights[k] = hannTransform(distanceHz * durationS) * edge
            * Math.sqrt(durationS * rate) / hop / this.blockFrames;
        }
        return {first, weights};
      });
      this.block = new Float64Array(n);
      this.transform = makeRealFft(n);
      this.invert = makeFft(this.blockFrames);
      this.re = new Float64Array(this.blockFrames);
      this.im = new Float64Array(this.blockFrames);
      this.samples = new Samples();
      this.done = 0;
    }

    get channels() { return this.offsets.length; }

    push(samples, last) {
      this.samples.add(samples);
      const total = Math.floor(this.samples.total / this.hop);
      const stop = last ? (this.samples.total ? total + 1 : 0) : total - this.lookahead;
      const frames = [];
      while (stop - this.done >= (last ? 1 : this.step)) {
        const n = Math.min(stop - this.done, this.blockFrames - 2 * this.margin);
        frames.push(...this.analyse(this.done, n));
        this.done += n;
        this.samples.forget((this.done - this.margin) * this.hop);
      }
      return frames;
    }

    analyse(first, n) {
      const {margin, blockFrames, nBins, offsets, re, im} = this, channels = offsets.length;
      this.samples.read((first - margin) * this.hop, this.block);
      const [real, imaginary] = this.transform(this.block);
      const frames = Array.from({length: n}, () => new Float32Array(nBins * channels));
      const mask = blockFrames - 1;
      this.rows.forEach((row, index) => {
        if (!row) return;
        re.fill(0); im.fill(0);
        const {first: start, weights} = row;
        for (let k = 0; k < weights.length; k++) {  // folded: sampled once a hop
          re[k & mask] += real[start + k] * weights[k];
          im[k & mask] += imaginary[start + k] * weights[k];
        }
        this.invert(re, im, true);
        for (let c = 0; c < channels; c++) {
          const bin = index - offsets[c];
          if (bin < 0 || bin >= nBins) continue;
          for (let t = 0; t < n; t++)
            frames[t][bin * channels + c] = Math.hypot(re[margin + t], im[margin + t]);
        }
      });
      const scale = this.config.compression, unit = Math.log1p(scale);
      for (const frame of frames)
        for (let i = 0; i < frame.length; i++) frame[i] = Math.log1p(scale * frame[i]) / unit;
      return frames;
    }
  }

  // ---- log-mel spectrogram ---------------------------------------------------------------------

  const HZ_PER_MEL = 200 / 3, CORNER_HZ = 1000, LOG_STEP = Math.log(6.4) / 27;  // Slaney's formula
  const melOf = hz => Math.min(hz, CORNER_HZ) / HZ_PER_MEL
    + Math.log(Math.max(hz, CORNER_HZ) / CORNER_HZ) / LOG_STEP;
  const hzOf = mel => mel < CORNER_HZ / HZ_PER_MEL ? mel * HZ_PER_MEL
    : CORNER_HZ * Math.exp(LOG_STEP * (mel - CORNER_HZ / HZ_PER_MEL));

  class LogMel {
    constructor(config, {step = 1} = {}) {
      const {sample_rate: rate, window_samples: window, n_bands: nBands} = config;
      Object.assign(this, {config, nBins: nBands, hop: config.hop_samples, step, window});
      this.lookahead = Math.ceil(window / 2 / this.hop);
      this.hann = Float64Array.from({length: window},
        (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / window));
      const top = melOf(rate / 2);
      const edges = Array.from({length: nBands + 2}, (_, i) => hzOf(top * i / (nBands + 1)));
      this.filters = [];
      for (let b = 0; b < nBands; b++) {  // triangles of area 1 over Hz
        const [low, centre, high] = edges.slice(b, b + 3);
        const first = Math.ceil(low * window / rate);
        const last = Math.min(window / 2, Math.floor(high * window / rate));
        const weights = new Float64Array(Math.max(0, last - first + 1));
        for (let k = 0; k < weights.length; k++) {
          const hz = (first + k) * rate / window;
          weights[k] = Math.max(0, Math.min((hz - low) / (centre - low), (high - hz) / (high - centre)))
            * 2 / (high - low);
        }
        this.filters.push({first, weights});
      }
      this.block = new Float64Array(window);
      this.transform = makeRealFft(window);
      this.samples = new Samples();
      this.done = 0;
    }

    get channels() { return 1; }

    push(samples, last) {
      this.samples.add(samples);
      const total = Math.floor(this.samples.total / this.hop);
      const stop = last ? (this.samples.total ? total + 1 : 0) : total - this.lookahead + 1;
      const frames = [];
      if (stop - this.done < (last ? 1 : this.step)) return frames;
      for (; this.done < stop; this.done++) frames.push(this.analyse(this.done));
      this.samples.forget(this.done * this.hop - this.window / 2);
      return frames;
    }

    analyse(t) {
      const {block, hann, config} = this;
      this.samples.read(t * this.hop - this.window / 2, block);
      for (let i = 0; i < block.length; i++) block[i] *= hann[i];
      const [re, im] = this.transform(block), frame = new Float32Array(this.nBins);
      this.filters.forEach(({first, weights}, b) => {
        let power = 0;
        for (let k = 0; k < weights.length; k++) {
          const i = first + k;
          power += weights[k] * (re[i] * re[i] + im[i] * im[i]);
        }
        frame[b] = config.compression ? Math.log1p(config.compression * power) * config.scale + config.shift
          : power;
      });
      return frame;
    }
  }

  // ---- another sample rate -----------------------------------------------------------------------

  // A windowed sinc, cut off at 0.45 of the lower rate: from what a microphone gives to what a
  // network takes. Where output samples fall between the given ones repeats, so that the sinc is
  // needed at few places: at one for 48 to 16 kHz, at 147 for 48 to 22.05 kHz.
  const MOST_PHASES = 1024;
  const divisor = (a, b) => b ? divisor(b, a % b) : a;

  class Resampler {
    constructor(from, to) {
      this.ratio = from / to;
      const cut = 0.9 * Math.min(1, to / from), reach = Math.ceil(24 / cut);
      const phases = Math.min(MOST_PHASES, Math.round(to / divisor(Math.round(from), Math.round(to))));
      this.reach = reach;
      this.kernels = this.ratio === 1 ? [] : Array.from({length: phases}, (_, phase) =>
        Float64Array.from({length: 2 * reach + 1}, (_, k) => {
          const x = k - reach - phase / phases;
          if (Math.abs(x) > reach) return 0;
          const sinc = x === 0 ? cut : Math.sin(Math.PI * cut * x) / (Math.PI * x);
          return sinc * (0.5 + 0.5 * Math.cos(Math.PI * x / reach));
        }));
      this.samples = new Samples();
      this.done = 0;
    }
    push(samples, last) {
      if (this.ratio === 1) return samples;
      this.samples.add(samples);
      const {ratio, reach, kernels} = this, taps = new Float64Array(2 * reach + 1), out = [];
      const end = this.samples.total - (last ? 0 : reach + 1);
      for (; this.done * ratio < end; this.done++) {
        const place = Math.round(this.done * ratio * kernels.length);
        const phase = place % kernels.length, middle = (place - phase) / kernels.length;
        const kernel = kernels[phase];
        this.samples.read(middle - reach, taps);
        let sum = 0;
        for (let k = 0; k < taps.length; k++) sum += taps[k] * kernel[k];
        out.push(sum);
      }
      this.samples.forget(Math.floor(this.done * ratio) - reach);
      return Float32Array.from(out);
    }
  }

  scope.dl101Spectra = {Hcqt, LogMel, Resampler, hzOf, melOf};
})(self);
