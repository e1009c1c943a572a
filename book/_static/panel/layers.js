/* Layers of a network, applied to frames as they come in.

Conventions. A frame is a Float32Array, bins from low to high with the channels of a bin side by
side: what is (channel, bin) in Python stands here as (bin, channel), and tools/panel.py lays the
weights out accordingly. A layer takes the next frames and gives back those that it can say,
`push(frames, last)`: a convolution over three frames says its first when two are there. Put together
they are what PyTorch makes of the whole picture at once, zeros around it included. Each layer is
made from one entry of the list in a network's JSON file; numbers such as `weight` are places in its
file of weights. */
'use strict';

(function (scope) {
  const LEAK = 0.01;
  const ACTIVATIONS = {
    relu: x => x > 0 ? x : 0,
    leaky_relu: x => x > 0 ? x : LEAK * x,
    elu: x => x > 0 ? x : Math.expm1(x),
    sigmoid: x => 1 / (1 + Math.exp(-x)),
  };

  function activate(frame, name) {
    const f = ACTIVATIONS[name];
    if (name === 'relu') { for (let i = 0; i < frame.length; i++) if (frame[i] < 0) frame[i] = 0; }
    else if (f) for (let i = 0; i < frame.length; i++) frame[i] = f(frame[i]);
    return frame;
  }

  // A multiplication and an addition for each channel: batch normalisation of a trained network.
  class Affine {
    constructor({scale, shift}, get) { this.scale = get(scale); this.shift = get(shift); }
    push(frames) {
      const {scale, shift} = this, n = scale.length;
      return frames.map(frame => {
        const out = new Float32Array(frame.length);
        for (let i = 0; i < out.length; i += n)
          for (let c = 0; c < n; c++) out[i + c] = frame[i + c] * scale[c] + shift[c];
        return out;
      });
    }
  }

  class Activation {
    constructor({name}) { this.name = name; }
    push(frames) { return frames.map(frame => activate(frame.slice(), this.name)); }
  }

  // What looks at several frames at once keeps the last ones, and stands in zeros at both ends.
  class Windowed {
    constructor(width, stride, pad) {
      Object.assign(this, {width, stride, pad, held: [], begun: false});
    }
    push(frames, last) {
      const rows = frames.map(frame => this.prepare(frame));
      if (!rows.length && !last) return [];
      if (!this.begun) {
        this.begun = true;
        for (let i = 0; i < this.pad; i++) this.held.push(null);
      }
      this.held.push(...rows);
      if (last) for (let i = 0; i < this.pad; i++) this.held.push(null);
      const out = [];
      while (this.held.length >= this.width) {
        out.push(this.apply(this.held.slice(0, this.width)));
        this.held.splice(0, this.stride);
      }
      if (last) [this.held, this.begun] = [[], false];  // ready for another sound
      return out;
    }
  }

  // A convolution over (kernel[0] bins, kernel[1] frames). In a column, what a kernel sees of one
  // frame lies in one piece, so the work is products of such pieces with the weights, of two bins
  // and four outputs at a time: each number that is fetched is used several times. Measured in V8,
  // 2.7 thousand million products a second of one core, and nine seconds of sound a second for the
  // slowest network here; so no runtime of others, 0.8 MB for the smallest, is served for it.
  class Convolution extends Windowed {
    constructor({inputs, outputs, kernel, stride = 1, pad, weight, bias, activation}, get) {
      super(kernel[1], 1, pad[1]);
      const n = kernel[0] * inputs, padded = 4 * Math.ceil(outputs / 4), given = get(weight);
      Object.assign(this, {inputs, outputs, kernel, binStride: stride, padBins: pad[0], activation});
      // from (frame, output, bin, input), with outputs up to a multiple of four
      this.weights = Array.from({length: kernel[1]}, (_, t) => {
        const weights = new Float64Array(padded * n);
        weights.set(given.subarray(t * outputs * n, (t + 1) * outputs * n));
        return weights;
      });
      this.bias = new Float64Array(padded);
      this.bias.set(get(bias));
    }

    prepare(frame) {
      const row = new Float64Array(frame.length + 2 * this.padBins * this.inputs);
      row.set(frame, this.padBins * this.inputs);
      return row;
    }

    apply(rows) {
      const present = rows.find(row => row), {kernel, inputs, binStride, bias, outputs} = this;
      const nBins = Math.floor((present.length / inputs - kernel[0]) / binStride) + 1;
      const padded = bias.length, sums = new Float64Array(nBins * padded);
      for (let b = 0; b < nBins; b++) sums.set(bias, b * padded);
      rows.forEach((row, t) => {
        if (row) multiply(row, this.weights[t], sums, nBins, padded, kernel[0] * inputs, binStride * inputs);
      });
      const out = new Float32Array(nBins * outputs);
      for (let b = 0; b < nBins; b++)
        for (let o = 0; o < outputs; o++) out[b * outputs + o] = sums[b * padded + o];
      return activate(out, this.activation);
    }
  }

  // sums[b, o] += sum over i of row[b * step + i] * weights[o * n + i]
  function multiply(row, weights, sums, nBins, nOutputs, n, step) {
    let b = 0;
    for (; b + 1 < nBins; b += 2) {
      const at = b * step, next = at + step;
      for (let o = 0; o < nOutputs; o += 4) {
        const w0 = o * n, w1 = w0 + n, w2 = w1 + n, w3 = w2 + n;
        let a0 = 0, a1 = 0, a2 = 0, a3 = 0, c0 = 0, c1 = 0, c2 = 0, c3 = 0;
        for (let i = 0; i < n; i++) {
          const x = row[at + i], y = row[next + i];
          const p = weights[w0 + i], q = weights[w1 + i], r = weights[w2 + i], s = weights[w3 + i];
          a0 += x * p; a1 += x * q; a2 += x * r; a3 += x * s;
          c0 += y * p; c1 += y * q; c2 += y * r; c3 += y * s;
        }
        const k = b * nOutputs + o, m = k + nOutputs;
        sums[k] += a0; sums[k + 1] += a1; sums[k + 2] += a2; sums[k + 3] += a3;
        sums[m] += c0; sums[m + 1] += c1; sums[m + 2] += c2; sums[m + 3] += c3;
      }
    }
    for (; b < nBins; b++)
      for (let o = 0; o < nOutputs; o++) {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += row[b * step + i] * weights[o * n + i];
        sums[b * nOutputs + o] += sum;
      }
  }

  // The largest value of kernel[0] bins and kernel[1] frames; beyond the edge there is none.
  class Pool extends Windowed {
    constructor({channels, kernel, stride, pad = 0}) {
      super(kernel[1], stride[1], 0);
      Object.assign(this, {channels, kernel, binStride: stride[0], padBins: pad});
    }
    prepare(frame) { return frame; }
    apply(rows) {
      const {channels, kernel, binStride, padBins} = this, n = rows[0].length / channels;
      const nBins = Math.floor((n + 2 * padBins - kernel[0]) / binStride) + 1;
      const out = new Float32Array(nBins * channels).fill(-Infinity);
      for (const row of rows)
        for (let b = 0; b < nBins; b++)
          for (let k = 0; k < kernel[0]; k++) {
            const bin = b * binStride + k - padBins;
            if (bin < 0 || bin >= n) continue;
            for (let c = 0; c < channels; c++)
              out[b * channels + c] = Math.max(out[b * channels + c], row[bin * channels + c]);
          }
      return out;
    }
  }

  // All frames as one, the first one first; said when the last is there.
  class Flatten {
    constructor() { this.held = []; }
    push(frames, last) {
      this.held.push(...frames);
      if (!last || !this.held.length) return [];
      const size = this.held[0].length, out = new Float32Array(size * this.held.length);
      this.held.forEach((frame, t) => out.set(frame, t * size));
      this.held = [];
      return [out];
    }
  }

  class Linear {
    constructor({weight, bias, activation}, get) {
      Object.assign(this, {activation, weight: get(weight), bias: get(bias)});
    }
    push(frames) {
      return frames.map(frame => activate(affine(this.weight, this.bias, frame), this.activation));
    }
  }

  function affine(weight, bias, x) {
    const n = x.length, out = new Float32Array(bias.length);
    for (let o = 0; o < out.length; o++) {
      let sum = bias[o];
      for (let i = 0, at = o * n; i < n; i++) sum += weight[at + i] * x[i];
      out[o] = sum;
    }
    return out;
  }

  // Each frame brought to mean 0 and deviation 1, then scaled and shifted.
  class Norm {
    constructor({scale, shift, epsilon, activation}, get) {
      Object.assign(this, {scale: get(scale), shift: get(shift), epsilon, activation});
    }
    push(frames) {
      return frames.map(frame => {
        const n = frame.length, out = new Float32Array(n);
        let mean = 0, power = 0;
        for (const v of frame) mean += v / n;
        for (const v of frame) power += (v - mean) ** 2 / n;
        const by = 1 / Math.sqrt(power + this.epsilon);
        for (let i = 0; i < n; i++) out[i] = (frame[i] - mean) * by * this.scale[i] + this.shift[i];
        return activate(out, this.activation);
      });
    }
  }

  // A recurrent layer (GRU): what it says of a frame depends on all frames before.
  class Recurrent {
    constructor({hidden, input_weight, input_bias, state_weight, state_bias}, get) {
      this.state = new Float32Array(hidden);
      this.ofInput = x => affine(inputWeight, inputBias, x);
      this.ofState = x => affine(stateWeight, stateBias, x);
      const [inputWeight, inputBias] = [get(input_weight), get(input_bias)];
      const [stateWeight, stateBias] = [get(state_weight), get(state_bias)];
    }
    push(frames) {
      const n = this.state.length, sigmoid = ACTIVATIONS.sigmoid;
      return frames.map(frame => {
        const a = this.ofInput(frame), b = this.ofState(this.state), next = new Float32Array(n);
        for (let i = 0; i < n; i++) {  // gates in PyTorch's order: reset, update, new
          const reset = sigmoid(a[i] + b[i]), update = sigmoid(a[n + i] + b[n + i]);
          const fresh = Math.tanh(a[2 * n + i] + reset * b[2 * n + i]);
          next[i] = (1 - update) * fresh + update * this.state[i];
        }
        this.state = next;
        return next.slice();
      });
    }
  }

  // Two ways for the same frames, whose results are put together once both are there.
  class Two {
    constructor(one, other) { Object.assign(this, {one, other, first: [], second: []}); }
    push(frames, last) {
      this.first.push(...this.one.push(frames, last));
      this.second.push(...this.other.push(frames, last));
      const n = Math.min(this.first.length, this.second.length);
      const second = this.second.splice(0, n);
      return this.first.splice(0, n).map((frame, t) => this.joined(frame, second[t]));
    }
  }

  class Residual extends Two {
    constructor({before, around, through}, get) {
      super(new Chain(around, get), new Chain(through, get));
      this.before = new Chain(before, get);
    }
    push(frames, last) { return super.push(this.before.push(frames, last), last); }
    joined(a, b) { return a.map((v, i) => v + b[i]); }
  }

  // Beside the channels of each place the bands of the spectrum that belong to it.
  class LookAgain extends Two {
    constructor({layers, inside}, get) {
      super(new Chain(layers, get), {push: frames => frames});
      this.inside = inside;
    }
    joined(frame, bands) {
      const {inside} = this, places = Math.ceil(bands.length / inside), n = frame.length / places;
      const out = new Float32Array(places * (n + inside));
      for (let p = 0; p < places; p++) {
        out.set(frame.subarray(p * n, (p + 1) * n), p * (n + inside));
        out.set(bands.subarray(p * inside, (p + 1) * inside), p * (n + inside) + n);
      }
      return out;
    }
  }

  // From what is said of each sine to its frequency in Hz and its amplitude: first all the
  // frequencies, then all the amplitudes (dl101.nn.inverse_synthesis.SinusoidalEncoder).
  class Sines {
    constructor({bins, lowest, octaves}, get) {
      Object.assign(this, {bins, lowest: get(lowest), octaves: get(octaves)});
    }
    push(frames) {
      const {bins, lowest, octaves} = this, n = lowest.length;
      return frames.map(frame => {
        const out = new Float32Array(2 * n);
        for (let i = 0; i < n; i++) {
          const at = i * (1 + bins), share = softmax(frame.subarray(at + 1, at + 1 + bins));
          let place = 0;
          for (let k = 0; k < bins; k++) place += share[k] * k / (bins - 1);
          out[i] = Math.exp(lowest[i] + place * octaves[i]);
          out[n + i] = expSigmoid(frame[at]);
        }
        return out;
      });
    }
  }

  const expSigmoid = x => 2 * (1 / (1 + Math.exp(-x))) ** Math.log(10) + 1e-7;

  function softmax(x) {
    let most = -Infinity, sum = 0;
    for (const v of x) if (v > most) most = v;
    const out = Float64Array.from(x, v => Math.exp(v - most));
    for (const v of out) sum += v;
    return out.map(v => v / sum);
  }

  // From sines to a softmax over pitches, by two ways: layers with a memory, and a look at the
  // multiples of every pitch (HarmonicEncoder and HarmonicSeries of dl101.nn.inverse_synthesis).
  // A frame holds the share of each pitch, then the pitch as a MIDI number, then how sure it is.
  class Pitch {
    constructor(spec, get) {
      Object.assign(this, spec, {lowest: get(spec.lowest), octaves: get(spec.octaves)});
      this.remembering = new Chain(spec.layers, get);
      this.comparing = new Chain(spec.series, get);
    }
    push(frames) {
      const n = this.lowest.length;
      return frames.map(frame => {
        const given = new Float32Array(2 * n);
        for (let i = 0; i < n; i++) {
          given[i] = Math.log10(frame[n + i]) / 2 + 1;
          given[n + i] = 2 * (Math.log(frame[i]) - this.lowest[i]) / this.octaves[i] - 1;
        }
        const [said] = this.remembering.push([given], false);
        const [more] = this.comparing.push([this.lookedUp(frame)], false);
        const shares = softmax(more.map((v, k) => v + said[1 + k]));
        return this.read(shares, expSigmoid(said[0]));
      });
    }
    lookedUp(frame) {
      const {starts, bins, step, low_midi: low} = this, n = frame.length / 2;
      const places = bins + Math.max(...starts), axis = new Float64Array(places);
      let total = 0;
      for (let i = 0; i < n; i++) total += frame[n + i];
      for (let i = 0; i < n; i++) {
        const place = (69 + 12 * Math.log2(frame[i] / 440) - low) / step;
        if (place < 0 || place > places - 2) continue;
        const left = Math.floor(place), share = frame[n + i] / total;
        axis[left] += share * (1 - (place - left));
        axis[left + 1] += share * (place - left);
      }
      const out = new Float32Array(bins * starts.length);
      for (let b = 0; b < bins; b++)
        for (let k = 0; k < starts.length; k++)
          out[b * starts.length + k] = Math.log10(axis[starts[k] + b] + 1e-3) / 2 + 1;
      return out;
    }
    read(shares, amplitude) {
      const {bins, step, first_midi: first} = this, out = new Float32Array(bins + 2);
      let best = 0, sum = 0, midi = 0, near = 0;
      for (let k = 1; k < bins; k++) if (shares[k] > shares[best]) best = k;
      const reach = Math.max(1, 1.01 * step);
      for (let k = 0; k < bins; k++)
        if (Math.abs(k - best) * step <= reach) { sum += shares[k]; midi += shares[k] * (first + k * step); }
      for (let k = 0; k < bins; k++)
        if (Math.abs(first + k * step - midi / sum) <= 1) near += shares[k];
      out.set(shares);
      out[bins] = midi / sum;
      out[bins + 1] = near * amplitude / (amplitude + 1e-3);
      return out;
    }
  }

  const KINDS = {affine: Affine, activation: Activation, convolution: Convolution, pool: Pool,
    flatten: Flatten, linear: Linear, norm: Norm, recurrent: Recurrent, residual: Residual,
    look_again: LookAgain, sines: Sines, pitch: Pitch};

  // Layers one after the other. `context` frames of zeros before and after the sound are heard,
  // too, as they are in Python where a track is padded before the network sees it.
  class Chain {
    constructor(specs, get, context = 0) {
      this.layers = specs.map(spec => new KINDS[spec.type](spec, get));
      Object.assign(this, {context, begun: false, ahead: context, held: []});
    }
    push(frames, last) {
      if (!this.context) return this.run(frames, last);
      if (!frames.length && !(last && this.begun)) return [];
      const silence = () => Array.from({length: this.context},
        () => new Float32Array(this.size));
      if (frames.length) this.size = frames[0].length;
      let given = this.begun ? frames : [...silence(), ...frames];
      this.begun = true;
      if (last) given = [...given, ...silence()];
      const out = this.run(given, last);
      const dropped = Math.min(this.ahead, out.length);
      this.ahead -= dropped;
      out.splice(0, dropped);
      this.held.push(...out);  // the last ones say what comes after the end
      return this.held.splice(0, last ? Math.max(0, this.held.length - this.context) : this.held.length);
    }
    run(frames, last) {
      return this.layers.reduce((given, layer) => layer.push(given, last), frames);
    }
  }

  // A getter for the places in a file of weights: [first byte, how many, 2 or 4 bytes each].
  function reader(buffer) {
    const view = new DataView(buffer);
    return ([start, n, bytes]) => {
      if (start + n * bytes > buffer.byteLength) throw new RangeError('weights end too early');
      const out = new Float32Array(n);
      for (let i = 0; i < n; i++)
        out[i] = bytes === 2 ? half(view.getUint16(start + 2 * i, true))
          : view.getFloat32(start + 4 * i, true);
      return out;
    };
  }

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  scope.dl101Layers = {Chain, KINDS, Windowed, affine, activate, reader};
})(self);
