/** A voice's task of the simulated DashScope, CosyVoice (providers.md 2.2): text in pieces, sound as binary data. */
import { bytesOf } from '../rates.ts';
import type { Json, SimDashscopeTask, SimTaskLink } from './dashscope.ts';
import { BREAK_AFTER_MS } from './speech-peer.ts';
import type { VendorFault } from './vendor-server.ts';
import { simSpeech } from './vendor-voice.ts';

const TEXT_GAP_MS = 23_000;
const CHUNK_MS = 100;
const MAX_WEIGHT = 2_000;
const RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

export class SimDashscopeVoice implements SimDashscopeTask {
  readonly #link: SimTaskLink;
  readonly #fault: VendorFault | null;
  readonly #rateHz: number;
  #state: 'starting' | 'running' | 'over' = 'starting';
  #text = '';
  #audioMs = 0;
  #isPlayed = false;

  constructor(link: SimTaskLink, payload: Json, fault: VendorFault | null) {
    this.#link = link;
    this.#fault = fault;
    const parameters = (payload['parameters'] ?? {}) as Json;
    this.#rateHz = Number(parameters['sample_rate']);
    const problem = problemOf(payload, parameters);
    if (problem !== null) {
      this.#state = 'over';
      link.refuse('InvalidParameter', problem);
    } else if (fault?.kind !== 'hang') link.peer.then(() => this.#start(), 1);
  }

  action(name: string, input: Json): boolean {
    if (this.#state !== 'running') return false;
    if (name === 'continue-task') {
      const { text } = input;
      if (typeof text !== 'string' || text === '' || weightOf(text) > MAX_WEIGHT) return false;
      this.#text += text;
      this.#rest();
      this.#sayComplete();
      return true;
    }
    if (name !== 'finish-task') return false;
    this.#state = 'over';
    this.#link.peer.timer('gap', 0, null);
    this.#say(this.#text);
    this.#link.peer.then(() => this.#finish());
    return true;
  }

  binary(): void {
    this.#link.refuse('InvalidParameter', 'binary data to a voice');
  }

  #start(): void {
    this.#state = 'running';
    this.#link.event('task-started');
    this.#rest();
  }

  #rest(): void {
    this.#link.peer.timer('gap', TEXT_GAP_MS, () => this.#link.expire());
  }

  #sayComplete(): void {
    for (;;) {
      const sentence = /^[^。！？.!?]*[。！？.!?]+/u.exec(this.#text)?.[0];
      if (sentence === undefined) return;
      this.#text = this.#text.slice(sentence.length);
      this.#say(sentence);
    }
  }

  #say(text: string): void {
    const { peer } = this.#link;
    const sound = bytesOf(simSpeech(text, this.#rateHz));
    // An odd number of bytes: messages end where they like.
    const step = Math.floor((this.#rateHz * CHUNK_MS * 2) / 1000) | 1;
    const ms = this.#fault?.kind === 'slow' && this.#audioMs === 0 ? this.#fault.ms : 2;
    if (sound.length > 0) {
      peer.then(
        () => this.#link.event('result-generated', { output: { sentence: { words: [] } } }),
        ms,
      );
    }
    for (let at = 0; at < sound.length; at += step) {
      peer.then(() => this.#send(sound.subarray(at, at + step)));
    }
  }

  #send(chunk: Uint8Array): void {
    const { peer } = this.#link;
    this.#audioMs += CHUNK_MS;
    peer.raw(chunk, true);
    const fault = this.#fault;
    if (fault === null || this.#isPlayed || this.#audioMs < 2 * CHUNK_MS) return;
    this.#isPlayed = true;
    peer.interject(() => this.#play(fault, chunk), BREAK_AFTER_MS);
  }

  #play(fault: VendorFault, chunk: Uint8Array): void {
    const { peer } = this.#link;
    if (fault.kind === 'swapped') return peer.raw(Buffer.from(chunk).toString('base64'), false);
    if (fault.kind === 'moderated') {
      const text = 'Output data may contain inappropriate content.';
      return this.#link.fail('DataInspectionFailed', text);
    }
    if (peer.breaks(fault, () => this.#link.fail('InternalError', 'Internal server error!')))
      return;
    if (fault.kind === 'own' && fault.name === 'empty_audio') peer.raw(Buffer.alloc(0), true);
  }

  #finish(): void {
    const fault = this.#fault;
    if (fault?.kind === 'own' && fault.name === 'no_end') return;
    if (fault?.kind === 'own' && fault.name === 'wordless') return this.#link.done();
    this.#link.done();
    // Sound that was on its way still comes, without a task.
    if (fault?.kind === 'late') this.#link.peer.raw(Buffer.alloc(1600, 0x7f), true);
  }
}

/** A Chinese character counts as two. */
function weightOf(text: string): number {
  return text.length + (text.match(/\p{Script=Han}/gu)?.length ?? 0);
}

function problemOf(payload: Json, parameters: Json): string | null {
  const { text_type: type, voice, format, sample_rate: rateHz, volume, rate, pitch } = parameters;
  const within = (value: unknown, min: number, max: number): boolean =>
    value === undefined || (typeof value === 'number' && value >= min && value <= max);
  if (!/^(?:cosyvoice|qwen-audio)/.test(String(payload['model']))) return 'model';
  if (typeof payload['input'] !== 'object') return 'input is missing';
  if (type !== 'PlainText' || format !== 'pcm') return `${String(type)} ${String(format)}`;
  if (typeof voice !== 'string' || voice === '') return 'voice';
  if (!RATES.includes(Number(rateHz))) return `sample_rate ${String(rateHz)}`;
  if (!within(volume, 0, 100) || !Number.isInteger(volume ?? 0)) return 'volume';
  return within(rate, 0.5, 2) && within(pitch, 0.5, 2) ? null : 'rate or pitch';
}
