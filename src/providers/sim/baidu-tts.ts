/** The voice of the simulated Baidu (providers.md 5.2). The form of its error messages is a guess: the page has none. */
import { parsedMessage } from './vendor-message.ts';
import type { SimBaiduLink } from './baidu.ts';
import { playMidway, SimSpeaker } from './vendor-speaker.ts';

const MAX_CHARS = 1_000;
const PCM_8K = 5;
const PCM = 4;
const SENTENCE = /^[^。；？！;?!.\n]*[。；？！;?!.\n]+/u;

export class SimBaiduVoice {
  readonly #link: SimBaiduLink;
  #speaker: SimSpeaker | null = null;
  #state: 'waiting' | 'starting' | 'running' | 'finishing' | 'over' = 'waiting';
  #text = '';

  constructor(link: SimBaiduLink) {
    this.#link = link;
    link.socket.on('message', (data, isBinary) => {
      if (this.#state === 'over') return;
      const message = isBinary ? null : parsedMessage(data as Buffer);
      if (message === null) return this.#wrong('no message');
      link.note(message);
      const { type, payload } = message;
      this.#act(String(type), (payload ?? {}) as Readonly<Record<string, unknown>>);
    });
    link.socket.on('close', () => this.#end());
  }

  #act(type: string, payload: Readonly<Record<string, unknown>>): void {
    if (this.#state === 'waiting' && type === 'system.start') return this.#start(payload);
    if (this.#state !== 'running') return this.#wrong(`${type} while ${this.#state}`);
    if (type === 'system.finish') return this.#finish();
    const { text } = payload;
    if (type !== 'text' || typeof text !== 'string') return this.#wrong(`the message ${type}`);
    if (text.length > MAX_CHARS) return this.#wrong(`a text of ${text.length} characters`);
    this.#text += text;
    for (;;) {
      const sentence = SENTENCE.exec(this.#text)?.[0];
      if (sentence === undefined) return;
      this.#text = this.#text.slice(sentence.length);
      this.#speaker?.say(sentence);
    }
  }

  #start(payload: Readonly<Record<string, unknown>>): void {
    const { clock, fault, socket } = this.#link;
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'fail_before_start') return this.#refuse(500, 'backend');
    if (fault?.kind === 'own' && /^\d{3,6}$/.test(fault.name)) {
      return this.#refuse(Number(fault.name), 'refused');
    }
    const rateHz = rateOf(payload);
    if (typeof rateHz === 'string') return this.#wrong(rateHz);
    this.#state = 'starting';
    this.#speaker = new SimSpeaker({
      ...{ clock, fault: fault?.kind === 'slow' ? null : fault, rateHz },
      send: (pcm) => {
        if (socket.readyState === socket.OPEN) socket.send(pcm, { binary: true });
      },
      midway: () => this.#midway(),
    });
    // Not at once: a client that does not wait for it is caught.
    this.#speaker.then(() => {
      this.#state = 'running';
      this.#send('system.started', {});
    });
  }

  #finish(): void {
    const { fault, clock } = this.#link;
    this.#state = 'finishing';
    const rest = (): void => {
      if (this.#text !== '') this.#speaker?.say(this.#text);
      this.#speaker?.then(() => {
        if (fault?.kind === 'own' && fault.name === 'no_end') return;
        this.#send('system.finished', {});
        this.#end();
        this.#link.socket.close(1000);
      });
    };
    if (fault?.kind === 'slow') clock.setTimer(rest, fault.ms);
    else rest();
  }

  #send(type: string, message: object): void {
    const { socket } = this.#link;
    if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ type, ...message }));
  }

  #wrong(text: string): void {
    this.#link.violation(`voice: ${text}`);
    this.#refuse(501, text);
  }

  #refuse(code: number, message: string): void {
    this.#send('system.error', { code, message });
    this.#end();
    this.#link.socket.close(1000);
  }

  #end(): void {
    this.#state = 'over';
    this.#speaker?.close();
  }

  #midway(): void {
    const { fault, socket } = this.#link;
    if (fault === null) return;
    playMidway(fault, {
      ...{ socket, isBinary: true, swapped: '{"type":"system.finished"}' },
      stop: () => this.#speaker?.close(),
      fail: () => this.#refuse(500, 'backend'),
      recycle: () => socket.close(1000),
      own: (name) => {
        if (name === 'empty_audio') socket.send(Buffer.alloc(0), { binary: true });
        if (name === 'moderated') this.#refuse(513, 'text');
      },
    });
  }
}

/** What is wrong with the address of a voice, or null. */
export function problemOfVoice(query: URLSearchParams): string | null {
  const per = query.get('per') ?? '';
  return /^\d{1,10}$/.test(per) ? null : `per ${per}`;
}

/** The rate of its sound; a text: what is wrong with the start. `sampling_rate` may only bring the format's rate down. */
function rateOf(payload: Readonly<Record<string, unknown>>): number | string {
  for (const name of ['spd', 'pit', 'vol']) {
    const value = payload[name];
    const isFit = Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 15;
    if (!isFit) return `${name} ${String(value)}`;
  }
  const { aue, audio_ctrl: control } = payload;
  if (typeof control !== 'string') return 'audio_ctrl is no text';
  const rateHz = Number(parsedMessage(Buffer.from(control))?.['sampling_rate']);
  if (aue === PCM_8K && rateHz === 8_000) return rateHz;
  if (aue === PCM && [8_000, 16_000, 24_000].includes(rateHz)) return rateHz;
  return `aue ${String(aue)} at ${rateHz}`;
}
