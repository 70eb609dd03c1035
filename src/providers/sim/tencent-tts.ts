/**
 * The flowing voice of the simulated Tencent (providers.md 4.2). Of its error codes only 10001 is known: what a client does
 * wrong is answered with 10002, which is ours. The subtitles' form is that of the vendor's page "Data Types".
 */
import type { TimerHandle } from '#lib/clock.ts';
import { problemOfSignature, type SimTencentLink } from './tencent-rules.ts';
import { SIM_WORD_MS, simWords } from './tts.ts';
import { parsedMessage } from './vendor-message.ts';
import { playMidway, SimSpeaker } from './vendor-speaker.ts';

const IDLE_MS = 600_000;
const MAX_VOICES = 20;
const MAX_CHARS = 10_000;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Only these end a sentence, never a full stop of the Latin script. */
const SENTENCE = /^[^。；？！;?!\n]*[。；？！;?!\n]+/u;
const AUTH = 10_001;
const WRONG = 10_002;

export class SimTencentVoice {
  readonly #link: SimTencentLink;
  readonly #sessionId: string;
  readonly #speaker: SimSpeaker;
  #state: 'starting' | 'running' | 'completing' | 'over' = 'starting';
  #start: TimerHandle | undefined;
  #idle: TimerHandle | undefined;
  #text = '';
  #chars = 0;
  #saidMs = 0;
  #index = 0;

  constructor(link: SimTencentLink, live: number) {
    this.#link = link;
    const { parameters, options, clock, fault, socket } = link;
    this.#sessionId = parameters.get('SessionId') ?? '';
    this.#speaker = new SimSpeaker({
      ...{ clock, fault, rateHz: Number(parameters.get('SampleRate') ?? 16_000) },
      send: (pcm) => {
        if (socket.readyState === socket.OPEN) socket.send(pcm, { binary: true });
      },
      midway: () => this.#midway(),
    });
    socket.on('message', (data, isBinary) => {
      if (this.#state === 'over') return;
      if (isBinary) this.#wrong('binary data to a voice');
      else this.#message(data as Buffer);
    });
    socket.on('close', () => this.#end());
    const wrong = this.#refusal(live > (options.maxVoices ?? MAX_VOICES));
    if (wrong !== null) this.#refuse(...wrong);
    else if (fault?.kind !== 'hang') {
      this.#start = clock.setTimer(() => {
        this.#state = 'running';
        this.#send({ ready: 1 });
        this.#send({ heartbeat: 1 });
        this.#rest();
      }, 1);
    }
  }

  #refusal(isFull: boolean): readonly [number, string] | null {
    const { parameters, fault } = this.#link;
    if (fault?.kind === 'fail_before_start') return [5000, 'backend'];
    if (fault?.kind === 'own' && /^\d{4,5}$/.test(fault.name)) {
      return [Number(fault.name), 'refused'];
    }
    const unsigned = problemOfSignature(this.#link, null);
    if (unsigned !== null) return [AUTH, unsigned];
    const problem = problemOf(parameters);
    if (problem === null && this.#link.isNew(`session ${this.#sessionId}`)) {
      return isFull ? [WRONG, 'over concurrency'] : null;
    }
    const text = problem ?? 'SessionId used again';
    this.#link.violation(`voice: ${text}`);
    return [WRONG, text];
  }

  #message(data: Buffer): void {
    const message = parsedMessage(data);
    if (message === null) return this.#wrong('a text that is no message');
    this.#link.note(message);
    const { session_id: session, message_id: id, action, data: text } = message;
    if (this.#state === 'starting') this.#wrong('a message before ready');
    else if (session !== this.#sessionId) this.#wrong('a session_id of another session');
    else if (typeof id !== 'string' || !UUID.test(id)) this.#wrong('a message_id that is no uuid');
    else if (!this.#link.isNew(`message ${id}`)) this.#wrong('a message_id was used again');
    else if (typeof text !== 'string') this.#wrong('data that is no text');
    else this.#act(String(action), text);
  }

  #act(action: string, text: string): void {
    this.#rest();
    if (action === 'ACTION_RESET') this.#reset();
    else if (this.#state === 'completing') this.#wrong(`${action} after ACTION_COMPLETE`);
    else if (action === 'ACTION_COMPLETE' && text === '') this.#complete();
    else if (action === 'ACTION_SYNTHESIS') {
      this.#chars += text.length;
      if (this.#chars > MAX_CHARS) return this.#wrong('more than 10,000 characters');
      this.#text += text;
      this.#sayComplete();
    } else this.#wrong(`the action ${action}`);
  }

  #sayComplete(): void {
    for (;;) {
      const sentence = SENTENCE.exec(this.#text)?.[0];
      if (sentence === undefined) return;
      this.#text = this.#text.slice(sentence.length);
      this.#say(sentence);
    }
  }

  #say(text: string): void {
    const words = simWords(text);
    const fromMs = this.#saidMs;
    this.#saidMs += words.length * SIM_WORD_MS;
    this.#speaker.say(text);
    if (this.#link.parameters.get('EnableSubtitle') !== 'True') return;
    const subtitles = words.map(({ text: word }, i) => {
      const plain = word.replace(/[\p{P}\p{S}]+$/u, '');
      const at = this.#index;
      this.#index += plain.length;
      return {
        ...{ Text: plain, BeginTime: fromMs + i * SIM_WORD_MS, Phoneme: '' },
        ...{ EndTime: fromMs + (i + 1) * SIM_WORD_MS, BeginIndex: at, EndIndex: this.#index },
      };
    });
    this.#speaker.then(() => this.#send({ result: { subtitles: this.#spoilt(subtitles) } }));
  }

  #spoilt(subtitles: readonly object[]): unknown {
    const { fault } = this.#link;
    const name = fault?.kind === 'own' ? fault.name : '';
    if (name === 'odd_subtitles') return [null, 5, { Text: 7 }, { Text: 'x', BeginTime: 'soon' }];
    return name === 'no_subtitles' ? null : subtitles;
  }

  #complete(): void {
    this.#state = 'completing';
    if (this.#text !== '') this.#say(this.#text);
    this.#text = '';
    this.#speaker.then(() => {
      const { fault } = this.#link;
      if (fault?.kind === 'own' && fault.name === 'no_end') return;
      this.#finish();
    });
  }

  #finish(): void {
    this.#send({ final: 1 });
    this.#end();
    this.#link.socket.close(1000);
  }

  #reset(): void {
    this.#text = '';
    // What was being said comes all the same, and late.
    if (this.#link.fault?.kind !== 'late') this.#speaker.drop();
    this.#state = 'running';
    this.#send({ reset: 1 });
  }

  /** Ten minutes without text: what is there is said, and that is the end. */
  #rest(): void {
    const { clock, options } = this.#link;
    clock.clearTimer(this.#idle);
    this.#idle = clock.setTimer(() => this.#complete(), options.ttsIdleMs ?? IDLE_MS);
  }

  #send(message: object): void {
    const { socket } = this.#link;
    if (socket.readyState !== socket.OPEN) return;
    const ids = { session_id: this.#sessionId, request_id: 'sim-request', message_id: '' };
    const rest = { ready: 0, heartbeat: 0, reset: 0, final: 0, result: {} };
    socket.send(JSON.stringify({ code: 0, message: 'success', ...ids, ...rest, ...message }));
  }

  #wrong(text: string): void {
    this.#link.violation(`voice: ${text}`);
    this.#refuse(WRONG, text);
  }

  #refuse(code: number, text: string): void {
    this.#send({ code, message: text });
    this.#end();
    this.#link.socket.close(1000);
  }

  #end(): void {
    this.#state = 'over';
    this.#speaker.close();
    for (const timer of [this.#start, this.#idle]) this.#link.clock.clearTimer(timer);
  }

  #midway(): void {
    const { fault, socket } = this.#link;
    if (fault === null) return;
    playMidway(fault, {
      ...{ socket, isBinary: true, swapped: '{"code":0,"final":1}' },
      stop: () => this.#speaker.close(),
      fail: () => this.#refuse(5001, 'backend'),
      recycle: () => socket.close(1000),
      own: (name) => {
        if (name === 'empty_audio') socket.send(Buffer.alloc(0), { binary: true });
        if (name === 'no_code') socket.send('{"session_id":"x"}');
      },
    });
  }
}

/** What is wrong with the parameters, or null. */
function problemOf(parameters: ReadonlyMap<string, string>): string | null {
  const get = (name: string): string => parameters.get(name) ?? '';
  const number = (name: string): number => (get(name) === '' ? Number.NaN : Number(get(name)));
  const fits: readonly (readonly [string, boolean])[] = [
    ['Action', get('Action') === 'TextToStreamAudioWSv2'],
    ['ModelType', get('ModelType') === '1'],
    ['VoiceType', /^[1-9]\d*$/.test(get('VoiceType'))],
    ['Codec', ['pcm', 'mp3'].includes(get('Codec'))],
    ['SampleRate', [8_000, 16_000, 24_000].includes(number('SampleRate'))],
    ['Speed', number('Speed') >= -2 && number('Speed') <= 6],
    ['Volume', number('Volume') >= -10 && number('Volume') <= 10],
    ['SessionId', UUID.test(get('SessionId'))],
    ['EnableSubtitle', /^(?:True|False)$/.test(get('EnableSubtitle'))],
    ['EmotionIntensity', get('EmotionIntensity') === '' || get('EmotionCategory') !== ''],
  ];
  const wrong = fits.find(([, isFit]) => !isFit)?.[0];
  return wrong === undefined ? null : `${wrong} ${get(wrong)}`;
}
