/** Sample rate conversion of whole recordings to 8 kHz, by the Speex resampler; yields to others while it works. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError } from '#lib/errors.ts';
import { loadSpeex, type SpeexModule } from '#lib/speex.ts';
import { SAMPLE_RATE_HZ } from '../types.ts';

const QUALITY = 5;
const IN_SAMPLES = 4_096;
/** Blocks between two turns of the event loop: about 10 ms of work. */
const BLOCKS_A_TURN = 16;

/** Mono PCM at `fromHz` (4,000 to 192,000) as mono PCM at 8 kHz, in step with the input. Errors: E_MEDIA. */
export async function toTelephoneRate(pcm: Int16Array, fromHz: number): Promise<Int16Array> {
  if (fromHz === SAMPLE_RATE_HZ) return pcm;
  const speex = await loadSpeex();
  const outSamples = Math.ceil((IN_SAMPLES * SAMPLE_RATE_HZ) / fromHz) + 16;
  const memory = speex._malloc(8 + (IN_SAMPLES + outSamples) * 2);
  const state = speex._speex_resampler_init(1, fromHz, SAMPLE_RATE_HZ, QUALITY, memory);
  if (state === 0) {
    speex._free(memory);
    throw new AppError('E_MEDIA', `audio at ${fromHz} Hz cannot be converted`);
  }
  try {
    speex._speex_resampler_skip_zeros(state);
    return await convert(speex, { state, memory, outSamples }, pcm, fromHz);
  } finally {
    speex._speex_resampler_destroy(state);
    speex._free(memory);
  }
}

type Work = { readonly state: number; readonly memory: number; readonly outSamples: number };

async function convert(
  speex: SpeexModule,
  work: Work,
  pcm: Int16Array,
  fromHz: number,
): Promise<Int16Array> {
  const out = new Int16Array(Math.round((pcm.length * SAMPLE_RATE_HZ) / fromHz));
  // The filter holds the last of its input back: silence behind it drives that out.
  const tail = new Int16Array(speex._speex_resampler_get_input_latency(work.state) + 1);
  let filled = 0;
  let blocks = 0;
  for (const part of [pcm, tail]) {
    for (let at = 0; at < part.length;) {
      const { taken, made } = block(speex, work, part.subarray(at, at + IN_SAMPLES));
      const wanted = made.subarray(0, out.length - filled);
      out.set(wanted, filled);
      filled += wanted.length;
      if (taken === 0) break;
      at += taken;
      if (++blocks % BLOCKS_A_TURN === 0) await nextTurn();
    }
  }
  return out;
}

function block(
  speex: SpeexModule,
  { state, memory, outSamples }: Work,
  pcm: Int16Array,
): { readonly taken: number; readonly made: Int16Array } {
  const input = memory + 8;
  const output = input + IN_SAMPLES * 2;
  speex.HEAP16.set(pcm, input >> 1);
  speex.HEAP32[memory >> 2] = pcm.length;
  speex.HEAP32[(memory >> 2) + 1] = outSamples;
  speex._speex_resampler_process_int(state, 0, input, memory, output, memory + 4);
  const taken = speex.HEAP32[memory >> 2] ?? 0;
  const made = speex.HEAP32[(memory >> 2) + 1] ?? 0;
  return { taken, made: speex.HEAP16.slice(output >> 1, (output >> 1) + made) };
}
