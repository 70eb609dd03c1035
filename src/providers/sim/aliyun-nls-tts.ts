/**
 * The voices of the simulated NLS gateway (providers.md 1.4): `SpeechSynthesizer` says one text, a flowing one text in
 * pieces, sentence by sentence as they are complete. The form of the subtitles is a guess where the page is silent.
 */
import type { TimerHandle } from '#lib/clock.ts';
import { bytesOf } from '../rates.ts';
import type { SimLink, SimTask } from './aliyun-nls.ts';
import { SIM_WORD_MS, simWords } from './tts.ts';
import { goHalfOpen, type VendorFault } from './vendor-server.ts';
import { simSpeech } from './vendor-voice.ts';

type Payload = Readonly<Record<string, unknown>>;

const CHUNK_MS = 100;
const STEP_MS = 2;
const RATES = [8_000, 16_000, 24_000];
const FORMATS = ['pcm', 'wav', 'mp3'];
const MAX_SEND_CHARS = 2_000;

/** What a voice says, and how far it is with it. */
abstract class SimVoice implements SimTask {
  protected readonly link: SimLink;
  protected readonly fault: VendorFault | null;
  readonly #rateHz: number;
  readonly #format: string;
  protected readonly hasSubtitles: boolean;
  #queue: (() => void)[] = [];
  #timer: TimerHandle | undefined;
  #isOver = false;
  #isPlayed = false;
  #hasHeader = false;
  protected audioMs = 0;
  protected readonly isRefused: boolean;

  constructor(link: SimLink, payload: Payload, fault: VendorFault | null) {
    this.link = link;
    this.fault = fault;
    this.#rateHz = Number(payload['sample_rate']);
    this.#format = String(payload['format']);
    this.hasSubtitles = payload['enable_subtitle'] === true;
    const problem = problemOf(payload);
    this.isRefused = problem !== null;
    if (problem === null) return;
    link.violation(problem);
    link.fail(40_000_003, `Gateway:PARAMETER_INVALID:${problem}`);
  }

  abstract directive(name: string, payload: Payload): boolean;
  abstract get waits(): boolean;

  binary(): void {
    this.link.violation('binary data to a voice');
    this.link.fail(40_000_002, 'Gateway:MESSAGE_INVALID:Binary data is not expected now');
  }

  close(): void {
    this.#isOver = true;
    this.#queue = [];
    this.link.clock.clearTimer(this.#timer);
  }

  protected get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  /** One step after the other, as fast as a vendor sends: far faster than real time. */
  protected then(step: () => void): void {
    this.#queue.push(step);
    if (this.#queue.length === 1) this.#schedule(this.#firstMs());
  }

  #firstMs(): number {
    return this.fault?.kind === 'slow' && this.audioMs === 0 ? this.fault.ms : STEP_MS;
  }

  #schedule(ms: number): void {
    this.#timer = this.link.clock.setTimer(() => {
      const step = this.#queue[0];
      if (this.#isOver || step === undefined) return;
      step();
      this.#queue.shift();
      if (this.#queue.length > 0 && !this.#isOver) this.#schedule(STEP_MS);
    }, ms);
  }

  /** The sound of `text`, in chunks; `told` is called before each with what is said in it. */
  protected say(text: string): void {
    const sound = simSpeech(text, this.#rateHz);
    const step = (this.#rateHz * CHUNK_MS) / 1000;
    for (let at = 0; at < sound.length; at += step) {
      const chunk = sound.subarray(at, at + step);
      this.then(() => this.#send(chunk));
    }
  }

  #send(chunk: Int16Array): void {
    if (this.#isOver) return;
    this.audioMs += (chunk.length * 1000) / this.#rateHz;
    const pcm = bytesOf(chunk);
    if (this.#format === 'pcm') this.link.binary(pcm);
    else if (this.#format === 'mp3') this.link.binary(frameOfMp3(pcm.length));
    else {
      // As a stream has it: the length is not known.
      const header = this.#hasHeader ? Buffer.alloc(0) : unendedHeader(this.#rateHz);
      this.#hasHeader = true;
      this.link.binary(Buffer.concat([header, pcm]));
    }
    if (this.fault !== null && !this.#isPlayed && this.audioMs >= 2 * CHUNK_MS) {
      this.#isPlayed = true;
      playMidway(this.link, this.fault, () => this.close());
    }
  }

  /** `null` as a fault is the usual end. */
  protected complete(): void {
    this.then(() => {
      if (this.fault?.kind === 'own' && this.fault.name === 'no_end') return;
      this.link.send('SynthesisCompleted');
      this.link.done();
      this.close();
      // Sound that was on its way still comes, without a task.
      if (this.fault?.kind === 'late') this.link.binary(Buffer.alloc(1600, 0x7f));
    });
  }
}

/** A whole text in one request. */
export class SimSynthesizer extends SimVoice {
  constructor(link: SimLink, payload: Payload, fault: VendorFault | null, maxChars: number) {
    super(link, payload, fault);
    const { text } = payload;
    if (this.isRefused) return;
    if (typeof text !== 'string' || text === '' || text.length > maxChars) {
      link.violation(`a text of ${String(text).length} characters`);
      link.fail(40_000_003, 'Gateway:PARAMETER_INVALID:text');
      return;
    }
    if (fault?.kind === 'hang') return;
    if (this.hasSubtitles) {
      const subtitles = subtitlesOf(text, 0, String);
      this.then(() => link.send('MetaInfo', { subtitles }));
    }
    this.say(text);
    this.complete();
  }

  get waits(): boolean {
    return false;
  }

  directive(): boolean {
    return false;
  }
}

/** Text in pieces. */
export class SimFlowing extends SimVoice {
  #state: 'starting' | 'running' | 'stopping' = 'starting';
  #text = '';
  #index = 0;

  constructor(link: SimLink, payload: Payload, fault: VendorFault | null) {
    super(link, payload, fault);
    if (this.isRefused || fault?.kind === 'hang') return;
    this.then(() => {
      this.#state = 'running';
      link.send('SynthesisStarted', { session_id: 'sim-session' });
    });
  }

  get waits(): boolean {
    return this.#state !== 'stopping' && !this.isBusy;
  }

  directive(name: string, payload: Payload): boolean {
    if (this.#state !== 'running') return false;
    if (name === 'RunSynthesis') {
      const { text } = payload;
      if (typeof text !== 'string' || text.length > MAX_SEND_CHARS) return false;
      this.#text += text;
      this.#sayComplete();
      return true;
    }
    if (name !== 'StopSynthesis') return false;
    this.#state = 'stopping';
    this.#sentence(this.#text);
    this.complete();
    return true;
  }

  #sayComplete(): void {
    for (;;) {
      const cut = /^[^。！？.!?]*[。！？.!?]+/u.exec(this.#text)?.[0];
      if (cut === undefined) return;
      this.#text = this.#text.slice(cut.length);
      this.#sentence(cut);
    }
  }

  #sentence(text: string): void {
    if (simWords(text).length === 0) return;
    this.#index += 1;
    const index = this.#index;
    const subtitles = (): object[] => (this.hasSubtitles ? subtitlesOf(text, 0, Number) : []);
    this.then(() => this.link.send('SentenceBegin', { index }));
    if (this.hasSubtitles) {
      this.then(() => this.link.send('SentenceSynthesis', { index, subtitles: subtitles() }));
    }
    this.say(text);
    this.then(() => this.link.send('SentenceEnd', { index, subtitles: subtitles() }));
  }
}

function playMidway(link: SimLink, fault: VendorFault, stop: () => void): void {
  const html = '<html>not now</html>';
  switch (fault.kind) {
    case 'cut':
      return link.socket.terminate();
    case 'half_open':
      stop();
      return goHalfOpen(link.socket);
    case 'fail_midway':
      return link.fail(50_000_000, 'Gateway:SERVER_ERROR:Internal');
    case 'recycle':
      return link.socket.close(1000);
    case 'junk':
      return link.raw(html, false);
    case 'swapped':
      return link.raw(Buffer.from(`{"header":{"name":"SentenceEnd"}}`), true);
    case 'huge':
      return link.raw(Buffer.alloc(fault.bytes), true);
    case 'own':
      if (fault.name === 'stall') stop();
      if (fault.name === 'empty_audio') link.binary(Buffer.alloc(0));
      return;
    case 'refuse':
    case 'fail_before_start':
    case 'hang':
    case 'slow':
    case 'late':
    case 'moderated':
    // They are played elsewhere, or not by this vendor.
  }
}

/** The sentence, and every word of it, as milliseconds from the sentence's start. */
function subtitlesOf(text: string, fromMs: number, ms: (value: number) => unknown): object[] {
  const words = simWords(text);
  const total = words.length * SIM_WORD_MS;
  const whole = { text: '', begin_time: ms(fromMs), end_time: ms(fromMs + total), sentence: true };
  return [
    { ...whole, begin_index: 0, end_index: text.length },
    ...words.map(({ text: word, end }, i) => ({
      text: word,
      ...{ begin_time: ms(fromMs + i * SIM_WORD_MS), end_time: ms(fromMs + (i + 1) * SIM_WORD_MS) },
      ...{ begin_index: end - word.length, end_index: end, sentence: false },
    })),
  ];
}

function unendedHeader(rateHz: number): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(0x7fffffff, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rateHz, 24);
  header.writeUInt32LE(rateHz * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(0x7fffffff, 40);
  return header;
}

/** Not sound, but bytes of the vendor that nobody may touch: one header of a frame, and its number. */
function frameOfMp3(length: number): Buffer {
  const frame = Buffer.alloc(Math.max(8, Math.floor(length / 10)), 0x55);
  frame.writeUInt32BE(0xff_f3_40_c4, 0);
  return frame;
}

function problemOf(payload: Payload): string | null {
  const {
    sample_rate: rateHz,
    format,
    voice,
    volume,
    speech_rate: speed,
    pitch_rate: pitch,
  } = payload;
  if (typeof voice !== 'string' || voice === '' || voice === 'nobody')
    return `voice ${String(voice)}`;
  if (!RATES.includes(Number(rateHz))) return `sample_rate ${String(rateHz)}`;
  if (!FORMATS.includes(String(format))) return `format ${String(format)}`;
  if (!isWithin(volume, 0, 100)) return `volume ${String(volume)}`;
  if (!isWithin(speed, -500, 500)) return `speech_rate ${String(speed)}`;
  return isWithin(pitch, -500, 500) ? null : `pitch_rate ${String(pitch)}`;
}

function isWithin(value: unknown, min: number, max: number): boolean {
  if (value === undefined) return true;
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
}
