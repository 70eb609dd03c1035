/**
 * Speech from text that is still being written, as the vendor makes it, in any of its formats: for whoever passes it on.
 * Nobody is waited for at the vendor: a task ends when no text comes, and the next text begins another one.
 */
import { toAppError } from '#lib/errors.ts';
import { sentenceSplitter } from '../sentences.ts';
import { Intake, within } from './intake.ts';
import type { NlsAccess } from './nls-access.ts';
import { vendorError } from './nls-errors.ts';
import type { NlsSocket } from './nls-socket.ts';
import { splitAtMost } from './pieces.ts';
import { MAX_TEXT, type Voice } from './speech-task.ts';
import { Utterance, type UtteranceLine } from './utterance.ts';
import { WavJoin } from './wav-join.ts';

/** A flowing voice fails after 10 s without text. */
const QUIET_MS = 6_000;
/** A connection may be used again within 10 s. */
const MAX_REST_MS = 8_000;
/** Sound that waits to be taken: beyond it no more text is said. */
const ENOUGH_BYTES = 256 * 1024;
const MAX_BYTES = 32 * 1024 * 1024;

/** `isWhole`: each text is complete, and said as it is; else they are pieces of sentences. */
export type Writing = { readonly texts: AsyncIterable<string>; readonly isWhole: boolean };

/**
 * The sound of the texts as one stream; WAV has one header, whose length is unknown. Leaving it early, or aborting
 * `signal`, gives up at once. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED, E_QUEUE_FULL; what `texts` throws.
 */
export async function* speakTexts(
  access: NlsAccess,
  voice: Voice,
  writing: Writing,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  const over = new AbortController();
  const onAbort = (): void => over.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const speech = new Speech(access, voice, over.signal);
  const work = speech.run(writing);
  try {
    yield* speech.sound();
  } finally {
    signal.removeEventListener('abort', onAbort);
    over.abort();
    await work;
  }
}

type Sound = { readonly bytes: number; readonly data: Buffer };
type Got = IteratorResult<string> | null;

class Speech implements UtteranceLine {
  readonly access: NlsAccess;
  readonly voice: Voice;
  readonly signal: AbortSignal;
  readonly #intake = new Intake<Sound>(MAX_BYTES);
  readonly #stopped: Promise<null>;
  #resting: { readonly socket: NlsSocket; readonly sinceMs: number } | null = null;
  #utterance: Utterance | null = null;

  constructor(access: NlsAccess, voice: Voice, signal: AbortSignal) {
    this.access = access;
    this.voice = voice;
    this.signal = signal;
    this.#stopped = new Promise((resolve) => {
      const stop = (): void => {
        this.#intake.fail(vendorError('E_ABORTED', 'the speech was given up'));
        this.#utterance?.cancel();
        resolve(null);
      };
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
    });
  }

  async *sound(): AsyncGenerator<Buffer, void> {
    const wav = this.voice.format === 'wav' ? new WavJoin() : null;
    for (let item = await this.#intake.next(); item !== null; item = await this.#intake.next()) {
      const data = wav === null ? item.data : wav.push(item.data);
      if (data.length > 0) yield data;
    }
  }

  /** Never rejects: what goes wrong is told behind the sound that came before it. */
  async run({ texts, isWhole }: Writing): Promise<void> {
    const source = texts[Symbol.asyncIterator]();
    const splitter = isWhole ? null : sentenceSplitter();
    const say = this.voice.isFlowing
      ? (text: string) => this.#flow(text)
      : (text: string) => this.#sayAll(splitter === null ? [text] : splitter.push(text));
    const rest = this.voice.isFlowing
      ? () => this.#finish()
      : () => this.#sayAll(splitter?.end() ?? []);
    try {
      await this.#read(source, say, rest);
      this.#intake.end();
    } catch (error) {
      this.#intake.fail(toAppError(error, 'E_PROVIDER_SERVER'));
    } finally {
      this.#utterance?.cancel();
      this.#resting?.socket.close();
      // It may be waiting for text that never comes: its end is its own.
      void source.return?.();
    }
  }

  spare(): NlsSocket | null {
    const resting = this.#resting;
    this.#resting = null;
    if (resting === null) return null;
    const isFresh = this.access.clock.now() - resting.sinceMs < MAX_REST_MS;
    if (isFresh && resting.socket.isOpen) return resting.socket;
    resting.socket.close();
    return null;
  }

  giveBack(socket: NlsSocket): void {
    this.#resting = { socket, sinceMs: this.access.clock.now() };
  }

  audio(data: Buffer): void {
    this.#intake.push({ bytes: data.length, data });
  }

  /** `say` each text; `rest` when none comes for a while, and at the end. */
  async #read(
    source: AsyncIterator<string>,
    say: (text: string) => Promise<void>,
    rest: () => Promise<void>,
  ): Promise<void> {
    for (;;) {
      await this.#intake.room(ENOUGH_BYTES);
      if (this.#intake.isEnded) return;
      const asked: Promise<Got> = Promise.race([source.next(), this.#stopped]);
      asked.catch(() => {
        // It is awaited below, possibly a little later than it fails.
      });
      let got = await within(asked, QUIET_MS, this.access.clock);
      if (got === null && !this.signal.aborted) {
        await rest();
        got = await asked;
      }
      if (got === null) return;
      if (got.done === true) return await rest();
      await say(got.value);
    }
  }

  async #flow(text: string): Promise<void> {
    if (text === '') return;
    this.#utterance ??= new Utterance(this);
    for (const piece of splitAtMost(text, MAX_TEXT.flowing, true)) this.#utterance.say(piece);
    // A failure is told now, not when the text ends.
    this.#utterance.ended.catch((error: unknown) => this.#intake.fail(toAppError(error)));
  }

  async #finish(): Promise<void> {
    const utterance = this.#utterance;
    utterance?.finish();
    await Promise.race([utterance?.ended, this.#stopped]);
    if (!this.signal.aborted) this.#utterance = null;
  }

  async #sayAll(texts: readonly string[]): Promise<void> {
    for (const piece of texts.flatMap((text) => splitAtMost(text, MAX_TEXT.single))) {
      if (!/[\p{L}\p{N}]/u.test(piece)) continue;
      await this.#intake.room(ENOUGH_BYTES);
      if (this.#intake.isEnded) return;
      this.#utterance = new Utterance(this, piece);
      await Promise.race([this.#utterance.ended, this.#stopped]);
      if (this.signal.aborted) return;
      this.#utterance = null;
    }
  }
}
