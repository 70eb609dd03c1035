/** Speech read as it is spoken (contract 2.2, `GET /api/v1/aliyun/asr/stream`): one session of the vendor per socket. */
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import { AsrFeed } from './aliyun-asr-feed.ts';
import { speechProblem } from './aliyun-problem.ts';
import type { AliyunSpeech, HeardSentence, Listening } from './aliyun-speech-port.ts';
import { frameReader } from './socket-frames.ts';
import type { SocketSession } from './socket-session.ts';
import { fromVendor } from './vendor-part.ts';

export type SpeechSocketPart = { readonly aliyunSpeech: AliyunSpeech; readonly clock: Clock };

const readStart = frameReader(
  Type.Object({
    sample_rate: Type.Optional(Type.Unsafe<8000 | 16000>({ type: 'integer', enum: [8000, 16000] })),
    interim: Type.Optional(Type.Boolean()),
    punctuation: Type.Optional(Type.Boolean()),
  }),
);
type Start = ReturnType<typeof readStart>;

export function openAsrSocket(part: SpeechSocketPart, session: SocketSession): void {
  const socket = new AsrSocket(part, session);
  session.handle({
    text: (type, frame) => socket.text(type, frame),
    binary: (data) => socket.audio(data),
    closed: () => socket.closed(),
  });
}

class AsrSocket {
  readonly #part: SpeechSocketPart;
  readonly #session: SocketSession;
  readonly #left = new AbortController();
  #state: 'new' | 'open' | 'stopping' | 'over' = 'new';
  #feed: AsrFeed | null = null;
  #listening: Listening | null = null;
  #ready: Promise<void> = Promise.resolve();

  constructor(part: SpeechSocketPart, session: SocketSession) {
    this.#part = part;
    this.#session = session;
  }

  text(type: string, frame: Readonly<Record<string, unknown>>): boolean {
    if (type === 'start') this.#start(frame);
    else if (type === 'stop') void this.#stop();
    else return false;
    return true;
  }

  audio(data: Buffer): void {
    if (this.#state === 'new') this.#session.close(1003, 'audio before start');
    else this.#feed?.push(data);
  }

  closed(): void {
    this.#state = 'over';
    this.#left.abort();
    this.#feed?.close();
    this.#listening?.close();
  }

  #start(frame: object): void {
    if (this.#state !== 'new') return this.#session.error('INVALID_STATE');
    let start: Start;
    try {
      start = readStart(frame);
    } catch (error) {
      return this.#session.refuse(error);
    }
    this.#state = 'open';
    this.#ready = this.#open(start);
  }

  /** Never rejects. */
  async #open({
    sample_rate: rateHz = 16_000,
    interim = true,
    punctuation = true,
  }: Start): Promise<void> {
    const { aliyunSpeech, clock } = this.#part;
    const session = this.#session;
    const feed = new AsrFeed({
      ...{ clock, rateHz },
      // What a slow vendor does not take ends the session there, which `onFailed` tells.
      send: (bytes) => void this.#listening?.send(bytes),
      onOverrun: () => session.error('INPUT_OVERRUN'),
    });
    this.#feed = feed;
    const options = {
      ...{ rateHz, hasPartials: interim, hasPunctuation: punctuation },
      onPartial: ({ index, text, beginMs }: Pick<HeardSentence, 'index' | 'text' | 'beginMs'>) => {
        session.send({ type: 'partial', index, text, begin_ms: timeIn(feed, beginMs) });
      },
      onFinal: (sentence: HeardSentence) => {
        const { index, text, beginMs, endMs, confidence } = sentence;
        const times = { begin_ms: timeIn(feed, beginMs), end_ms: timeIn(feed, endMs) };
        session.send({ type: 'final', index, text, ...times, confidence });
      },
      onFailed: (error: AppError) => this.#fail(error),
    };
    try {
      const { accountId } = session.caller;
      const work = aliyunSpeech.listen(accountId, options, this.#left.signal);
      const listening = await fromVendor(this.#part, work);
      if (this.#state === 'over') return listening.close();
      this.#listening = listening;
      session.send({ type: 'ready' });
      feed.open();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #stop(): Promise<void> {
    if (this.#state !== 'open') return this.#session.error('INVALID_STATE');
    this.#state = 'stopping';
    await this.#ready;
    await this.#feed?.drained();
    if (!this.#session.isOpen) return;
    try {
      await this.#listening?.stop();
      this.#session.send({ type: 'done' });
      this.#session.close(1000, 'done');
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Nothing is to be told to a client that has left. */
  #fail(error: unknown): void {
    if (this.#session.isOpen) this.#session.fail(speechProblem(error));
  }
}

function timeIn(feed: AsrFeed, vendorMs: number | null): number | null {
  return vendorMs === null ? null : feed.time.of(vendorMs);
}
