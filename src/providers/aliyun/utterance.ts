/** What is said in one task, and in another one on a new connection when the first fails before its first sound. */
import type { AppError } from '#lib/errors.ts';
import { toAppError } from '#lib/errors.ts';
import { gateOf, type NlsAccess } from './nls-access.ts';
import { isTokenRefused } from './nls-errors.ts';
import { openNlsSocket, type NlsGate, type NlsSocket } from './nls-socket.ts';
import { SpeechTask, type Voice } from './speech-task.ts';

export type UtteranceLine = {
  readonly access: NlsAccess;
  readonly voice: Voice;
  readonly signal: AbortSignal;
  /** A connection that rests, or null. It is the taker's then. */
  spare(): NlsSocket | null;
  giveBack(socket: NlsSocket): void;
  audio(data: Buffer): void;
};

const TRIES = 2;

export class Utterance {
  /** Resolves when all was said. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
  readonly ended: Promise<void>;
  readonly #line: UtteranceLine;
  readonly #text: string;
  readonly #said: string[] = [];
  readonly #settle: { resolve(): void; reject(error: AppError): void };
  #task: SpeechTask | null = null;
  #isFinished = false;
  #hasSound = false;
  #tries = 0;

  /** `text`: all of it, for a voice that does not flow. */
  constructor(line: UtteranceLine, text = '') {
    this.#line = line;
    this.#text = text;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#settle = { resolve, reject };
    promise.catch(() => {
      // Whoever waits for the end is told; nobody may be waiting yet.
    });
    void this.#start(null);
  }

  say(text: string): void {
    this.#said.push(text);
    this.#task?.say(text);
  }

  finish(): void {
    this.#isFinished = true;
    this.#task?.finish();
  }

  /** Gives up at once. Idempotent. */
  cancel(): void {
    this.#tries = TRIES;
    this.#task?.cancel();
  }

  async #start(gate: NlsGate | null): Promise<void> {
    const { access, voice, signal } = this.#line;
    this.#tries += 1;
    this.#task = null;
    try {
      const rested = gate === null ? this.#line.spare() : null;
      const nls = rested ?? (await openNlsSocket(gate ?? (await gateOf(access)), signal));
      if (signal.aborted) return nls.close();
      const sink = {
        audio: (data: Buffer) => {
          this.#hasSound = true;
          this.#line.audio(data);
        },
        sentence: () => undefined,
        subtitles: () => undefined,
        done: () => {
          this.#line.giveBack(nls);
          this.#settle.resolve();
        },
        failed: (error: AppError) => void this.#failed(error, nls.gate),
      };
      const task = new SpeechTask(nls, voice, sink, { text: this.#text });
      this.#task = task;
      for (const text of this.#said) task.say(text);
      if (this.#isFinished) task.finish();
    } catch (error) {
      await this.#failed(toAppError(error, 'E_PROVIDER_SERVER'), gate);
    }
  }

  async #failed(error: AppError, gate: NlsGate | null): Promise<void> {
    if (this.#hasSound || this.#tries >= TRIES || this.#line.signal.aborted) {
      this.#settle.reject(error);
    } else if (isTokenRefused(error)) {
      await this.#renew(error, gate);
    } else if (/^E_PROVIDER_(?:SERVER|IDLE)$/.test(error.code)) {
      await this.#start(gate);
    } else {
      this.#settle.reject(error);
    }
  }

  async #renew(error: AppError, gate: NlsGate | null): Promise<void> {
    try {
      const refused = gate?.token.token;
      const next = await gateOf(this.#line.access, refused);
      if (next.token.token === refused) this.#settle.reject(error);
      else await this.#start(next);
    } catch (thrown) {
      this.#settle.reject(toAppError(thrown));
    }
  }
}
