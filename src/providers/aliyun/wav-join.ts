/** Several WAV streams of one rate as one: the header of the first, with a length that is not known, and all samples. */

const UNKNOWN = 0xff_ff_ff_ff;
const MAX_HEADER_BYTES = 4_096;

export class WavJoin {
  /** Bytes of a header that is not complete. */
  #head: Buffer = Buffer.alloc(0);
  #hasHeader = false;

  /** What of the next message goes on. A message that begins a stream begins with RIFF. */
  push(data: Buffer): Buffer {
    const begins = this.#head.length > 0 || data.subarray(0, 4).toString('latin1') === 'RIFF';
    if (!begins) return data;
    this.#head = Buffer.concat([this.#head, data]);
    const at = dataAt(this.#head);
    if (at === null) {
      // Not a header after all.
      return this.#head.length < MAX_HEADER_BYTES ? Buffer.alloc(0) : this.#take(0);
    }
    return this.#take(at);
  }

  #take(dataFrom: number): Buffer {
    const whole = this.#head;
    this.#head = Buffer.alloc(0);
    if (this.#hasHeader) return whole.subarray(dataFrom);
    this.#hasHeader = true;
    if (dataFrom >= 8) {
      whole.writeUInt32LE(UNKNOWN, 4);
      whole.writeUInt32LE(UNKNOWN, dataFrom - 4);
    }
    return whole;
  }
}

/** Where the samples begin; null while more bytes are needed to tell. */
function dataAt(wav: Buffer): number | null {
  for (let at = 12; at + 8 <= wav.length;) {
    const size = wav.readUInt32LE(at + 4);
    if (wav.toString('latin1', at, at + 4) === 'data') return at + 8;
    at += 8 + size + (size % 2);
  }
  return null;
}
