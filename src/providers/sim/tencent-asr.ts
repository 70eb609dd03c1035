/** The recogniser of the simulated Tencent (providers.md 4.1). */
import type { TimerHandle } from '#lib/clock.ts';
import { samplesOf } from '../rates.ts';
import { problemOfSignature, type SimTencentLink } from './tencent-rules.ts';
import { SimHearing } from './vendor-hearing.ts';
import { parsedMessage } from './vendor-message.ts';
import { playMidway } from './vendor-speaker.ts';

const IDLE_MS = 15_000;
const MAX_EARS = 200;
const FRAME_MS = 40;
/** More than so much sound within a second is too much. */
const MAX_BURST_MS = 3_000;
const WINDOW_MS = 1_000;
const MIDWAY_MS = 200;
const ENGINES =
  /^(?:8k_(?:zh|en|zh_large)|16k_(?:zh|en|zh_en|zh_large|yue|ja|ko|zh_dialect)|Hy-ASR-3\.0-preview)$/;
const FORMATS = ['1', '4', '6', '8', '10', '12', '14', '16'];
const REQUIRED = [
  ...['secretid', 'timestamp', 'expired', 'nonce'],
  ...['engine_model_type', 'voice_id', 'voice_format'],
];

export class SimTencentEars {
  readonly #link: SimTencentLink;
  readonly #voiceId: string;
  readonly #rateHz: number;
  readonly #hearing: SimHearing;
  readonly #sent: { readonly atMs: number; readonly ms: number }[] = [];
  #state: 'starting' | 'running' | 'over' = 'starting';
  #start: TimerHandle | undefined;
  #idle: TimerHandle | undefined;
  #delay: TimerHandle | undefined;
  #index = -1;
  #count = 0;
  #beginMs: number | null = null;
  #wasShort = false;
  #isDelayed: boolean;
  #isPlayed = false;

  constructor(link: SimTencentLink, appId: string, live: number) {
    this.#link = link;
    const { parameters, options, clock, fault, socket } = link;
    this.#voiceId = parameters.get('voice_id') ?? '';
    this.#rateHz = parameters.get('engine_model_type')?.startsWith('8k') === true ? 8_000 : 16_000;
    this.#isDelayed = fault?.kind === 'slow';
    this.#hearing = this.#makeHearing();
    socket.on('message', (data, isBinary) => {
      if (this.#state === 'over') return;
      if (isBinary) this.#binary(data as Buffer);
      else this.#text(data as Buffer);
    });
    socket.on('close', () => this.#end());
    const wrong = this.#refusal(appId, live > (options.maxEars ?? MAX_EARS));
    if (wrong !== null) this.#refuse(...wrong);
    else if (fault?.kind !== 'hang') {
      // Not at once: a client that does not wait for it is caught.
      this.#start = clock.setTimer(() => this.#started(), 1);
    }
  }

  #refusal(appId: string, isFull: boolean): readonly [number, string] | null {
    const { parameters, fault } = this.#link;
    if (fault?.kind === 'fail_before_start') return [5000, 'backend'];
    // Any code of providers.md 4.1 by its number.
    if (fault?.kind === 'own' && /^\d{4}$/.test(fault.name)) return [Number(fault.name), 'refused'];
    const missing = REQUIRED.find((name) => (parameters.get(name) ?? '') === '');
    if (missing !== undefined) return this.#wrong(`no ${missing}`);
    const unsigned = problemOfSignature(this.#link, appId);
    if (unsigned !== null) return [4002, unsigned];
    const problem = this.#problem();
    if (problem !== null) return this.#wrong(problem);
    if (!this.#link.isNew(`voice ${this.#voiceId}`)) return this.#wrong('voice_id used again');
    return isFull ? [4006, 'over concurrency'] : null;
  }

  #wrong(text: string): readonly [number, string] {
    this.#link.violation(`recogniser: ${text}`);
    return [4001, text];
  }

  #problem(): string | null {
    const get = (name: string): string => this.#link.parameters.get(name) ?? '';
    if (!ENGINES.test(get('engine_model_type')))
      return `engine_model_type ${get('engine_model_type')}`;
    if (!FORMATS.includes(get('voice_format'))) return `voice_format ${get('voice_format')}`;
    if (!/^\d{1,10}$/.test(get('nonce'))) return `nonce ${get('nonce')}`;
    if (get('voice_id').length > 128) return 'voice_id of more than 128 characters';
    const silence = get('vad_silence_time');
    const isSilence = silence === '' || (Number(silence) >= 500 && Number(silence) <= 2_000);
    if (!isSilence) return `vad_silence_time ${silence}`;
    return /^[01]?$/.test(get('needvad')) ? null : `needvad ${get('needvad')}`;
  }

  #started(): void {
    this.#state = 'running';
    this.#send({});
    this.#rest();
    const { fault, socket } = this.#link;
    if (fault?.kind === 'late') this.#result(2, '', 0, 0);
    else if (fault?.kind === 'own' && fault.name === 'cut_at_start') socket.terminate();
  }

  #text(data: Buffer): void {
    const message = parsedMessage(data);
    this.#link.note(message ?? { raw: data.toString('utf8') });
    if (this.#state !== 'running' || message?.['type'] !== 'end') {
      this.#link.violation(`recogniser: an unknown text message: ${data.toString('utf8')}`);
      this.#refuse(4010, 'unknown text message');
      return;
    }
    this.#hearing.end();
    this.#state = 'over';
    queueMicrotask(() => {
      this.#send({ message_id: `${this.#voiceId}_final`, final: 1 });
      this.#link.socket.close(1000);
      this.#end();
    });
  }

  #binary(data: Buffer): void {
    if (this.#state !== 'running') {
      this.#link.violation('recogniser: audio before the start');
      this.#refuse(4001, 'audio before the start');
      return;
    }
    const ms = data.length / 2 / (this.#rateHz / 1000);
    if (data.length % 2 !== 0) return this.#broken('half a sample');
    if (ms > FRAME_MS) this.#link.violation(`recogniser: a frame of ${ms} ms`);
    if (this.#wasShort) {
      this.#link.violation('recogniser: a frame of less than 40 ms that was not the last');
    }
    this.#wasShort = ms < FRAME_MS;
    this.#rest();
    if (this.#isTooFast(ms)) {
      this.#link.violation('recogniser: more than 3 s of audio within 1 s');
      this.#refuse(4000, 'too much audio');
      return;
    }
    this.#hearing.push(samplesOf(data));
    this.#midway();
  }

  #broken(text: string): void {
    this.#link.violation(`recogniser: ${text}`);
    this.#refuse(4007, 'audio decode');
  }

  #isTooFast(ms: number): boolean {
    const nowMs = this.#link.clock.now();
    this.#sent.push({ atMs: nowMs, ms });
    while ((this.#sent[0]?.atMs ?? nowMs) < nowMs - WINDOW_MS) this.#sent.shift();
    return this.#sent.reduce((sum, each) => sum + each.ms, 0) > MAX_BURST_MS;
  }

  /** The 15 s without audio begin anew. */
  #rest(): void {
    const { clock, options } = this.#link;
    clock.clearTimer(this.#idle);
    this.#idle = clock.setTimer(
      () => this.#refuse(4008, '15 s without audio'),
      options.asrIdleMs ?? IDLE_MS,
    );
  }

  #makeHearing(): SimHearing {
    const { parameters, options } = this.#link;
    const skipsEmpty = parameters.get('filter_empty_result') !== '0';
    return new SimHearing({
      ...{ words: options.words ?? {}, rateHz: this.#rateHz },
      silenceMs: Number(parameters.get('vad_silence_time') ?? 1_000),
      onBegin: (beginMs) => {
        this.#index += 1;
        this.#beginMs = beginMs;
        this.#tell(0, '', beginMs, beginMs);
      },
      onPartial: (text) => this.#tell(1, text, this.#beginMs ?? 0, this.#hearing.audioMs),
      onSentence: (text, beginMs, endMs) => {
        this.#beginMs = null;
        if (text !== '' || !skipsEmpty) this.#tell(2, text, beginMs, endMs);
      },
    });
  }

  /** Results come at once, or the first one late and the others behind it. */
  #tell(slice: number, text: string, beginMs: number, endMs: number): void {
    const { fault, clock } = this.#link;
    if (!this.#isDelayed || fault?.kind !== 'slow') {
      queueMicrotask(() => this.#result(slice, text, beginMs, endMs));
      return;
    }
    this.#isDelayed = false;
    this.#delay = clock.setTimer(() => this.#result(slice, text, beginMs, endMs), fault.ms);
  }

  #result(slice: number, text: string, beginMs: number, endMs: number): void {
    const result = {
      ...{ slice_type: slice, index: Math.max(0, this.#index) },
      ...{ start_time: Math.round(beginMs), end_time: Math.round(endMs) },
      ...{ voice_text_str: text, word_size: 0, word_list: [] },
    };
    this.#send({ message_id: `${this.#voiceId}_${++this.#count}_0`, result });
  }

  #send(message: object): void {
    const { socket } = this.#link;
    if (socket.readyState !== socket.OPEN) return;
    socket.send(
      JSON.stringify({ code: 0, message: 'success', voice_id: this.#voiceId, ...message }),
    );
  }

  #refuse(code: number, text: string): void {
    this.#send({ code, message: text });
    this.#end();
    this.#link.socket.close(1000);
  }

  #end(): void {
    this.#state = 'over';
    for (const timer of [this.#start, this.#idle, this.#delay]) this.#link.clock.clearTimer(timer);
  }

  /** Faults in the middle of a sentence, once. */
  #midway(): void {
    const { fault, socket } = this.#link;
    if (fault === null || this.#isPlayed || this.#beginMs === null) return;
    if (this.#hearing.audioMs - this.#beginMs < MIDWAY_MS) return;
    this.#isPlayed = true;
    playMidway(fault, {
      ...{ socket, isBinary: false, swapped: '{"code":0,"result":{"slice_type":2}}' },
      stop: () => this.#end(),
      fail: () => this.#refuse(5001, 'backend'),
      recycle: () => {
        this.#send({ final: 1 });
        socket.close(1000);
      },
      own: (name) => {
        if (name === 'idle') this.#refuse(4008, '15 s without audio');
        if (name === 'odd_fields') {
          this.#send({ result: { slice_type: 'x', voice_text_str: 5, index: null } });
          this.#send({ result: null, something: [1] });
        }
        if (name === 'no_code') socket.send('{"voice_id":"x"}');
      },
    });
  }
}
