/**
 * Sound of phrases that are said again and again, kept in memory for all calls of the process. A phrase is kept when it is
 * known to be a fixed one, or when a second call asks for it: what only one caller is told is not kept. What is being made
 * already is not asked for twice.
 */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { TtsChunk, TtsProvider, TtsRequest } from './contract.ts';
import { phraseOf, slicesOf, throwIfAborted, type Phrase } from './local/phrase.ts';

export type PhraseStoreOptions = {
  readonly clock: Clock;
  /** Of sound. Default 32 MiB. */
  readonly maxBytes?: number;
  /** After this long a phrase is made anew: settings at the vendor may have changed. Default 15 min. */
  readonly maxAgeMs?: number;
};

const MAX_BYTES = 32 * 1024 * 1024;
const MAX_AGE_MS = 15 * 60_000;
/** Longer texts are not said twice. */
const MAX_TEXT_CHARS = 400;
/** Longer sound is not kept (30 s). */
const MAX_SAMPLES = 8000 * 30;
/** More for one piece of text is no speech. */
const MAX_MADE_SAMPLES = 8000 * 300;
/** Texts that were asked for once, and by whom. */
const MAX_SEEN = 4096;
/** `local` keeps its own sound, `sim` is there to be asked. */
const OWN: ReadonlySet<string> = new Set(['local', 'sim']);
/** As the vendor of sound that was not asked for. */
const KEPT = 'kept';

type Kept = Phrase & { readonly atMs: number };

export class PhraseStore {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #maxAgeMs: number;
  readonly #kept = new Map<string, Kept>();
  readonly #making = new Map<string, Making>();
  readonly #seen = new Map<string, symbol>();
  #bytes = 0;

  constructor({ clock, maxBytes = MAX_BYTES, maxAgeMs = MAX_AGE_MS }: PhraseStoreOptions) {
    this.#clock = clock;
    this.#maxBytes = maxBytes;
    this.#maxAgeMs = maxAgeMs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * `tts` for one call. `voice`: whatever else decides about its sound, of whose account it is; nothing is shared between
   * voices.
   */
  of(tts: TtsProvider, voice: string): TtsProvider {
    if (OWN.has(tts.vendor)) return tts;
    const call = Symbol('call');
    return {
      vendor: tts.vendor,
      ...(tts.close === undefined ? {} : { close: () => tts.close?.() }),
      ...(tts.warm === undefined ? {} : { warm: () => tts.warm?.() }),
      speak: (request, signal) => this.#speak(tts, request, signal, { voice, call }),
    };
  }

  async *#speak(
    tts: TtsProvider,
    request: TtsRequest,
    signal: AbortSignal,
    { voice, call }: { readonly voice: string; readonly call: symbol },
  ): AsyncGenerator<TtsChunk, void> {
    throwIfAborted(signal);
    const { text, language, voice: own = '' } = request;
    const name = JSON.stringify([tts.vendor, voice, own, language, text]);
    const kept = this.#find(name);
    if (kept !== null) {
      for await (const slice of slicesOf(kept, signal)) yield { ...slice, by: KEPT };
      return;
    }
    const making = this.#making.get(name);
    if (making === undefined && !this.#isWorthKeeping(name, request, call)) {
      return yield* tts.speak(request, signal);
    }
    let said = 0;
    try {
      for await (const chunk of (making ?? this.#make(name, tts, request)).listen(signal)) {
        said += chunk.pcm.length;
        yield chunk;
      }
    } catch (error) {
      // Somebody else's request that failed is no fault of this one, unless half of it is said.
      if (making === undefined || said > 0 || signal.aborted) throw error;
      yield* tts.speak(request, signal);
    }
  }

  #find(name: string): Kept | null {
    const kept = this.#kept.get(name);
    if (kept === undefined) return null;
    if (this.#clock.now() - kept.atMs >= this.#maxAgeMs) {
      this.#drop(name);
      return null;
    }
    // To the end of the line of those that go first.
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    return kept;
  }

  #isWorthKeeping(name: string, { text, keep }: TtsRequest, call: symbol): boolean {
    if (keep === 'never' || text.length > MAX_TEXT_CHARS) return false;
    if (keep === 'always') return true;
    const first = this.#seen.get(name);
    this.#seen.delete(name);
    this.#seen.set(name, first ?? call);
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MAX_SEEN && oldest !== undefined) this.#seen.delete(oldest);
    return first !== undefined && first !== call;
  }

  #make(name: string, tts: TtsProvider, request: TtsRequest): Making {
    const making = new Making(tts, request, (phrase) => {
      if (this.#making.get(name) === making) this.#making.delete(name);
      // Who stood in for a while is not to be heard from here for longer.
      if (phrase !== null && making.isOwnVoice) this.#keep(name, phrase);
    });
    this.#making.set(name, making);
    return making;
  }

  #keep(name: string, phrase: Phrase): void {
    if (phrase.pcm.length === 0 || phrase.pcm.length > MAX_SAMPLES) return;
    this.#drop(name);
    this.#kept.set(name, { ...phrase, atMs: this.#clock.now() });
    this.#bytes += phrase.pcm.byteLength;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
  }

  #drop(name: string): void {
    this.#bytes -= this.#kept.get(name)?.pcm.byteLength ?? 0;
    this.#kept.delete(name);
  }
}

/** One request at the vendor, and everybody who waits for it. It is given up when nobody does any more. */
class Making {
  readonly #chunks: TtsChunk[] = [];
  readonly #abort = new AbortController();
  #listeners = 0;
  /** Nobody has stood in so far. */
  isOwnVoice = true;
  #end: { readonly error: unknown } | 'done' | null = null;
  #change = Promise.withResolvers<void>();

  constructor(tts: TtsProvider, request: TtsRequest, onEnd: (phrase: Phrase | null) => void) {
    void this.#run(tts, request).then((phrase) => onEnd(phrase));
  }

  async *listen(signal: AbortSignal): AsyncGenerator<TtsChunk, void> {
    this.#listeners++;
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (let at = 0; ;) {
        throwIfAborted(signal);
        const chunk = this.#chunks[at];
        if (chunk !== undefined) {
          at++;
          yield chunk;
        } else if (this.#end === null) await Promise.race([this.#change.promise, aborted]);
        else if (this.#end === 'done') return;
        else throw this.#end.error;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#listeners--;
      if (this.#listeners === 0 && this.#end === null) this.#abort.abort();
    }
  }

  /** The whole phrase; null when it failed or was given up. Never rejects. */
  async #run(tts: TtsProvider, request: TtsRequest): Promise<Phrase | null> {
    let samples = 0;
    try {
      for await (const chunk of tts.speak(request, this.#abort.signal)) {
        const { pcm, marks, by, isStandIn = false } = chunk;
        samples += pcm.length;
        if (samples > MAX_MADE_SAMPLES) {
          throw new AppError('E_PROVIDER_SERVER', 'the voice does not come to an end');
        }
        // The buffer behind a chunk is the vendor's.
        this.#chunks.push({ pcm: pcm.slice(), marks, ...(by === undefined ? {} : { by }) });
        if (isStandIn) this.isOwnVoice = false;
        this.#tell();
      }
      if (this.#abort.signal.aborted) throw new AppError('E_ABORTED', 'nobody waits any more');
      this.#end = 'done';
      return phraseOf(this.#chunks);
    } catch (error) {
      this.#end = { error };
      return null;
    } finally {
      this.#tell();
    }
  }

  #tell(): void {
    const { resolve } = this.#change;
    this.#change = Promise.withResolvers<void>();
    resolve();
  }
}
