/** The recognisers of the simulated Baidu (providers.md 5.1). */
import type { TimerHandle } from '#lib/clock.ts';
import { samplesOf } from '../rates.ts';
import type { SimBaiduLink } from './baidu.ts';
import { parsedMessage } from './vendor-message.ts';
import { SimHearing } from './vendor-hearing.ts';
import { playMidway } from './vendor-speaker.ts';

const RATE_HZ = 16_000;
const IDLE_MS = 10_000;
const MIN_FRAME_MS = 20;
const MAX_FRAME_MS = 200;
const SILENCE_MS = 500;
const MIDWAY_MS = 200;
const MODELS = [1_537, 15_372, 17_372, 80_001];

export class SimBaiduEars {
  readonly #link: SimBaiduLink;
  readonly #hearing: SimHearing;
  #state: 'waiting' | 'running' | 'over' = 'waiting';
  #idle: TimerHandle | undefined;
  #delay: TimerHandle | undefined;
  #beginMs: number | null = null;
  #wasShort = false;
  #isDelayed: boolean;
  #isPlayed = false;
  /** The number that the next sentence fails with. */
  #sentenceError = 0;

  constructor(link: SimBaiduLink) {
    this.#link = link;
    const { fault, socket } = link;
    this.#isDelayed = fault?.kind === 'slow';
    if (fault?.kind === 'own' && fault.name === 'bad_sentence') this.#sentenceError = -3005;
    this.#hearing = this.#makeHearing();
    socket.on('message', (data, isBinary) => {
      if (this.#state === 'over') return;
      if (isBinary) this.#binary(data as Buffer);
      else this.#text(data as Buffer);
    });
    socket.on('close', () => this.#end());
    this.#rest();
  }

  #text(data: Buffer): void {
    const message = parsedMessage(data);
    if (message === null) {
      this.#link.violation('recogniser: a text that is no message');
      return this.#refuse(-3008, 'json');
    }
    this.#link.note(message);
    const type = String(message['type']);
    if (this.#state === 'waiting') {
      const { data: start } = message;
      return this.#start(type, (start ?? {}) as Readonly<Record<string, unknown>>);
    }
    if (type === 'HEARTBEAT') return this.#rest();
    if (type === 'CANCEL') return this.#leave();
    if (type !== 'FINISH') {
      this.#link.violation(`recogniser: the message ${type}`);
      return this.#refuse(-3008, type);
    }
    this.#hearing.end();
    this.#state = 'over';
    queueMicrotask(() => this.#leave());
  }

  #start(type: string, data: Readonly<Record<string, unknown>>): void {
    const { fault, isLarge, options, socket } = this.#link;
    if (fault?.kind === 'fail_before_start') return this.#refuse(-3013, 'backend');
    if (fault?.kind === 'own' && /^-\d{4}$/.test(fault.name)) {
      return this.#refuse(Number(fault.name), 'refused');
    }
    if (fault?.kind === 'own' && fault.name === 'qps') return this.#refuse(-3004, 'qps limit');
    const problem = type === 'START' ? problemOfStart(data, isLarge) : `${type} before START`;
    if (problem !== null) {
      this.#link.violation(`recogniser: ${problem}`);
      return this.#refuse(-3008, problem);
    }
    const isKnown = data['appid'] === options.appId && data['appkey'] === options.apiKey;
    if (!isLarge && !isKnown) return this.#refuse(-3004, 'auth failed');
    this.#state = 'running';
    if (fault?.kind === 'own' && fault.name === 'cut_at_start') socket.terminate();
    if (fault?.kind === 'late') this.#send('FIN_TEXT', { result: '', err_no: -3003, err_msg: 'x' });
    this.#send('HEARTBEAT', {});
  }

  #binary(data: Buffer): void {
    if (this.#state !== 'running') {
      this.#link.violation('recogniser: audio before START');
      return this.#refuse(-3008, 'audio before START');
    }
    if (this.#link.fault?.kind === 'hang') return;
    const ms = data.length / 2 / (RATE_HZ / 1000);
    if (data.length % 2 !== 0) this.#link.violation('recogniser: half a sample');
    if (ms > MAX_FRAME_MS) this.#link.violation(`recogniser: a frame of ${ms} ms`);
    if (this.#wasShort) this.#link.violation('recogniser: a frame of less than 20 ms');
    this.#wasShort = ms < MIN_FRAME_MS;
    this.#rest();
    this.#hearing.push(samplesOf(data));
    this.#midway();
  }

  /** The time without audio begins anew. */
  #rest(): void {
    const { clock, options } = this.#link;
    clock.clearTimer(this.#idle);
    const ms = options.idleMs ?? IDLE_MS;
    this.#idle = clock.setTimer(() => this.#refuse(-3101, 'no audio'), ms);
  }

  #makeHearing(): SimHearing {
    return new SimHearing({
      ...{ words: this.#link.options.words ?? {}, rateHz: RATE_HZ, silenceMs: SILENCE_MS },
      onBegin: (beginMs) => (this.#beginMs = beginMs),
      onPartial: (result) => this.#tell('MID_TEXT', { result }),
      onSentence: (result, beginMs, endMs) => {
        this.#beginMs = null;
        const times = { start_time: Math.round(beginMs), end_time: Math.round(endMs) };
        const error = this.#sentenceError || (result === '' ? -3005 : 0);
        this.#sentenceError = 0;
        if (error === 0) this.#tell('FIN_TEXT', { result, ...times });
        else this.#tell('FIN_TEXT', { err_no: error, err_msg: 'no speech', ...times });
      },
    });
  }

  /** Results come at once, or the first one late and the others behind it. */
  #tell(type: string, message: object): void {
    const { fault, clock } = this.#link;
    if (!this.#isDelayed || fault?.kind !== 'slow') {
      queueMicrotask(() => this.#send(type, message));
      return;
    }
    this.#isDelayed = false;
    this.#delay = clock.setTimer(() => this.#send(type, message), fault.ms);
  }

  #send(type: string, message: object): void {
    const { socket, query } = this.#link;
    if (socket.readyState !== socket.OPEN) return;
    const common = { type, err_no: 0, err_msg: 'OK', log_id: 1, sn: query.get('sn') };
    socket.send(JSON.stringify({ ...common, ...message }));
  }

  #refuse(number: number, text: string): void {
    this.#send('FIN_TEXT', { err_no: number, err_msg: text });
    this.#leave();
  }

  #leave(): void {
    this.#end();
    this.#link.socket.close(1000);
  }

  #end(): void {
    this.#state = 'over';
    for (const timer of [this.#idle, this.#delay]) this.#link.clock.clearTimer(timer);
  }

  /** Faults in the middle of a sentence, once. */
  #midway(): void {
    const { fault, socket } = this.#link;
    if (fault === null || this.#isPlayed || this.#beginMs === null) return;
    if (this.#hearing.audioMs - this.#beginMs < MIDWAY_MS) return;
    this.#isPlayed = true;
    playMidway(fault, {
      ...{ socket, isBinary: false, swapped: '{"type":"FIN_TEXT","err_no":0,"result":"x"}' },
      stop: () => this.#end(),
      fail: () => this.#refuse(-3013, 'backend'),
      recycle: () => this.#leave(),
      own: (name) => {
        if (name === 'idle') this.#refuse(-3101, 'no audio');
        if (name === 'odd_fields') {
          this.#send('MID_TEXT', { result: 5, err_no: 'none' });
          this.#send('SOMETHING_NEW', { list: [] });
        }
      },
    });
  }
}

/** What is wrong with the START message, or null. */
function problemOfStart(data: Readonly<Record<string, unknown>>, isLarge: boolean): string | null {
  if (data['format'] !== 'pcm') return `format ${String(data['format'])}`;
  if (data['sample'] !== RATE_HZ) return `sample ${String(data['sample'])}`;
  if (isLarge) return data['model'] === 'qianfan-asr-v1' ? null : `model ${String(data['model'])}`;
  if (typeof data['appid'] !== 'number') return 'appid is no number';
  if (typeof data['appkey'] !== 'string') return 'appkey is no text';
  if (!MODELS.includes(Number(data['dev_pid']))) return `dev_pid ${String(data['dev_pid'])}`;
  return typeof data['cuid'] === 'string' && data['cuid'] !== '' ? null : 'no cuid';
}
