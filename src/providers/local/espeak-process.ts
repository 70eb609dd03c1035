/**
 * The child process that speaks. eSpeak NG is GPL-3 and blocks its thread while it works, so it lives here, apart from
 * the server: one job in, chunks of 8 kHz PCM with word events out, one job after the other.
 */
import type { EspeakReply, EspeakRequest } from './espeak-protocol.ts';
import type { VoiceEvent } from './speech-plan.ts';

const ESPEAK = '@echogarden/espeak-ng-emscripten';
const RESAMPLER = '@echogarden/speex-resampler-wasm/simd';
const TARGET_HZ = 8000;
const QUALITY = 5;
/** Of 100; the Chinese voice would otherwise reach full scale. */
const VOLUME = 75;
/** Words per minute. The Chinese voice drags at the default of 175. */
const RATES: readonly (readonly [RegExp, number])[] = [
  [/^cmn/, 215],
  [/./, 175],
];

/** What we use of the engine; its package has no types. */
type Voice = {
  get_samplerate(): number;
  set_voice(name: string, language: string, gender: number, age: number, variant: number): number;
  set_volume(volume: number): void;
  set_rate(wordsPerMinute: number): void;
  synthesize(
    text: string,
    onAudio: (pcm: Int16Array, events: readonly EspeakEvent[]) => boolean,
  ): void;
};
type EspeakEvent = {
  readonly type: string;
  readonly text_position: number;
  readonly audio_position: number;
  readonly id?: unknown;
};
type EspeakModule = { readonly eSpeakNGWorker: new () => Voice };

type SpeexModule = {
  readonly HEAP16: Int16Array;
  readonly HEAP32: Int32Array;
  _malloc(bytes: number): number;
  _speex_resampler_init(
    channels: number,
    fromHz: number,
    toHz: number,
    quality: number,
    error: number,
  ): number;
  _speex_resampler_process_int(
    state: number,
    channel: number,
    input: number,
    inputLength: number,
    output: number,
    outputLength: number,
  ): number;
  _speex_resampler_reset_mem(state: number): number;
  _speex_resampler_skip_zeros(state: number): number;
  _speex_resampler_get_input_latency(state: number): number;
};

async function load<T>(name: string): Promise<T> {
  const loaded = (await import(name)) as { default: () => Promise<T> };
  return loaded.default();
}

const IN_SAMPLES = 4096;

class Downsampler {
  readonly #speex: SpeexModule;
  readonly #state: number;
  readonly #in: number;
  readonly #out: number;
  readonly #lengths: number;

  constructor(speex: SpeexModule, fromHz: number) {
    this.#speex = speex;
    this.#in = speex._malloc(IN_SAMPLES * 2);
    this.#out = speex._malloc(IN_SAMPLES * 2);
    this.#lengths = speex._malloc(8);
    this.#state = speex._speex_resampler_init(1, fromHz, TARGET_HZ, QUALITY, this.#lengths);
    if (this.#state === 0) throw new Error('the resampler could not be made');
    speex._speex_resampler_skip_zeros(this.#state);
  }

  process(pcm: Int16Array): Int16Array {
    const parts: Int16Array[] = [];
    for (let at = 0; at < pcm.length; at += IN_SAMPLES) {
      parts.push(this.#block(pcm.subarray(at, at + IN_SAMPLES)));
    }
    return parts.length === 1 ? (parts[0] as Int16Array) : joined(parts);
  }

  /** The tail that the filter still holds; afterwards it is ready for the next utterance. */
  flush(): Int16Array {
    const tail = this.process(
      new Int16Array(this.#speex._speex_resampler_get_input_latency(this.#state)),
    );
    this.#speex._speex_resampler_reset_mem(this.#state);
    this.#speex._speex_resampler_skip_zeros(this.#state);
    return tail;
  }

  #block(pcm: Int16Array): Int16Array {
    const speex = this.#speex;
    speex.HEAP16.set(pcm, this.#in >> 1);
    speex.HEAP32[this.#lengths >> 2] = pcm.length;
    speex.HEAP32[(this.#lengths >> 2) + 1] = IN_SAMPLES;
    speex._speex_resampler_process_int(
      this.#state,
      0,
      this.#in,
      this.#lengths,
      this.#out,
      this.#lengths + 4,
    );
    const made = speex.HEAP32[(this.#lengths >> 2) + 1] ?? 0;
    return speex.HEAP16.slice(this.#out >> 1, (this.#out >> 1) + made);
  }
}

function joined(parts: readonly Int16Array[]): Int16Array {
  const whole = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Word starts, and pauses, which eSpeak reports as phonemes without a name. */
function voiceEvents(events: readonly EspeakEvent[]): VoiceEvent[] {
  return events.flatMap((event): VoiceEvent[] => {
    const at = { position: event.text_position, ms: event.audio_position };
    if (event.type === 'word') return [{ kind: 'word', ...at }];
    return event.type === 'phoneme' && event.id === '' ? [{ kind: 'pause', ...at }] : [];
  });
}

function reply(message: EspeakReply): void {
  process.send?.(message);
}

async function main(): Promise<void> {
  const espeak = await load<EspeakModule>(ESPEAK);
  const voice = new espeak.eSpeakNGWorker();
  voice.set_volume(VOLUME);
  const down = new Downsampler(await load<SpeexModule>(RESAMPLER), voice.get_samplerate());
  let current = '';
  const speak = (job: EspeakRequest): void => {
    if (job.voice !== current) {
      voice.set_voice(job.voice, '', 0, 0, 0);
      voice.set_rate(RATES.find(([name]) => name.test(job.voice))?.[1] ?? 175);
      current = job.voice;
    }
    voice.synthesize(job.text, (pcm, events) => {
      if (pcm.length > 0 || events.length > 0) {
        const out = pcm.length > 0 ? down.process(pcm) : pcm;
        reply({ type: 'chunk', job: job.job, pcm: out, events: voiceEvents(events) });
      }
      return false;
    });
    reply({ type: 'chunk', job: job.job, pcm: down.flush(), events: [] });
    reply({ type: 'done', job: job.job });
  };
  process.on('message', speak);
  reply({ type: 'ready' });
}

// The server decides when this process ends: a Ctrl-C in its terminal must not silence the calls that still drain.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(0));
await main();
