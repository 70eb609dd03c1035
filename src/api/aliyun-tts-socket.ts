/** A text said as it is written (contract 2.2, `GET /api/v1/aliyun/tts/stream`). */
import { Type } from 'typebox';
import { delay } from '#lib/deadline.ts';
import type { SpeechSocketPart } from './aliyun-asr-socket.ts';
import { speechProblem } from './aliyun-problem.ts';
import { voiceFields } from './aliyun-voice.ts';
import { frameReader } from './socket-frames.ts';
import type { SocketSession } from './socket-session.ts';
import { TextQueue } from './text-queue.ts';

const readStart = frameReader(Type.Object(voiceFields));
const readText = frameReader(
  Type.Object({ text: Type.String({ minLength: 1, maxLength: 2_000 }) }),
);
type Start = ReturnType<typeof readStart>;

/** Text that waits to be said. */
const MAX_WAITING_CHARS = 20_000;
const FRAME_BYTES = 16 * 1024;
/** The client reads no faster than it can: how often it is looked whether it has. */
const LOOK_EVERY_MS = 20;

export function openTtsSocket(part: SpeechSocketPart, session: SocketSession): void {
  const socket = new TtsSocket(part, session);
  session.handle({
    text: (type, frame) => socket.text(type, frame),
    binary: null,
    closed: () => socket.closed(),
  });
}

class TtsSocket {
  readonly #part: SpeechSocketPart;
  readonly #session: SocketSession;
  readonly #left = new AbortController();
  readonly #texts = new TextQueue(MAX_WAITING_CHARS);
  #state: 'new' | 'open' | 'stopping' = 'new';

  constructor(part: SpeechSocketPart, session: SocketSession) {
    this.#part = part;
    this.#session = session;
  }

  text(type: string, frame: Readonly<Record<string, unknown>>): boolean {
    try {
      if (type === 'start') this.#start(frame);
      else if (type === 'text') this.#say(frame);
      else if (type === 'stop') this.#stop();
      else return false;
    } catch (error) {
      this.#session.refuse(error);
    }
    return true;
  }

  closed(): void {
    this.#texts.end();
    this.#left.abort();
  }

  #start(frame: object): void {
    if (this.#state !== 'new') return this.#session.error('INVALID_STATE');
    const start = readStart(frame);
    this.#state = 'open';
    this.#session.send({ type: 'ready' });
    void this.#speak(start);
  }

  #say(frame: object): void {
    if (this.#state !== 'open') return this.#session.error('INVALID_STATE');
    const { text } = readText(frame);
    if (!this.#texts.push(text)) this.#session.error('OVERLOADED');
  }

  #stop(): void {
    if (this.#state !== 'open') return this.#session.error('INVALID_STATE');
    this.#state = 'stopping';
    this.#texts.end();
  }

  /** Never rejects. */
  async #speak(start: Start): Promise<void> {
    const session = this.#session;
    const { aliyunSpeech } = this.#part;
    const { accountId } = session.caller;
    const options = {
      ...{ voice: start.voice ?? 'xiaoyun', format: start.format ?? 'pcm' },
      rateHz: start.sample_rate ?? 16_000,
      ...{ volume: start.volume ?? null, speechRate: start.speech_rate ?? null },
      ...{ pitchRate: start.pitch_rate ?? null, texts: this.#texts, isWhole: false },
    } as const;
    try {
      for await (const sound of aliyunSpeech.speak(accountId, options, this.#left.signal)) {
        for (let at = 0; at < sound.length; at += FRAME_BYTES) {
          await this.#send(sound.subarray(at, at + FRAME_BYTES));
        }
      }
      session.send({ type: 'done' });
      session.close(1000, 'done');
    } catch (error) {
      // Nothing is to be told to a client that has left.
      if (session.isOpen) session.fail(speechProblem(error));
    }
  }

  /** Waits until the client has read what came before. Errors: E_ABORTED when it has left. */
  async #send(bytes: Uint8Array): Promise<void> {
    while (!this.#session.sendAudio(bytes)) {
      await delay(LOOK_EVERY_MS, this.#left.signal, this.#part.clock);
    }
    this.#session.noteWork();
  }
}
