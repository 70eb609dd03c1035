/** Sample rate conversion of audio as it flows, by the Speex resampler: 20 ms in, 20 ms out, about 3 ms late. */
import { AppError } from './errors.ts';
import { loadSpeex, type SpeexModule } from './speex.ts';

const QUALITY = 5;
const IN_SAMPLES = 2_048;
/** Of 8 kHz as 48 kHz. */
const LARGEST_RATIO = 6;
const OUT_SAMPLES = IN_SAMPLES * LARGEST_RATIO + 16;

/** One direction of one stream, mono. */
export type StreamResampler = {
  /** All of `pcm` at the other rate, as far as the filter has it; the array is the caller's. */
  convert(pcm: Int16Array): Int16Array;
  /** Gives the memory back. Idempotent. */
  close(): void;
};

export type StreamResampling = {
  /** From and to 8 to 48 kHz. Errors: E_MEDIA. */
  open(fromHz: number, toHz: number): StreamResampler;
};

const SAME: StreamResampler = { convert: (pcm) => pcm.slice(), close: () => undefined };

let loading: Promise<StreamResampling> | undefined;

/** Loads the library once; from then on streams are opened without waiting. */
export function loadStreamResampling(): Promise<StreamResampling> {
  loading ??= load();
  return loading;
}

async function load(): Promise<StreamResampling> {
  const speex = await loadSpeex();
  // Converting is synchronous, so that all streams share one place for what goes in and comes out.
  const scratch = speex._malloc(8 + (IN_SAMPLES + OUT_SAMPLES) * 2);
  return {
    open: (fromHz, toHz) => {
      if (fromHz === toHz) return SAME;
      const state = speex._speex_resampler_init(1, fromHz, toHz, QUALITY, scratch);
      if (state === 0 || toHz > fromHz * LARGEST_RATIO) {
        throw new AppError('E_MEDIA', `no converter from ${fromHz} to ${toHz} Hz`);
      }
      let isOpen = true;
      return {
        convert: (pcm) => {
          if (!isOpen) throw new AppError('E_INTERNAL', 'a closed converter was used');
          return convertAll(speex, state, scratch, pcm, toHz / fromHz);
        },
        close: () => {
          if (isOpen) speex._speex_resampler_destroy(state);
          isOpen = false;
        },
      };
    },
  };
}

function convertAll(
  speex: SpeexModule,
  state: number,
  scratch: number,
  pcm: Int16Array,
  ratio: number,
): Int16Array {
  const out = new Int16Array(Math.ceil(pcm.length * ratio) + 16);
  const input = scratch + 8;
  const output = input + IN_SAMPLES * 2;
  let filled = 0;
  for (let at = 0; at < pcm.length;) {
    const block = pcm.subarray(at, at + IN_SAMPLES);
    speex.HEAP16.set(block, input >> 1);
    speex.HEAP32[scratch >> 2] = block.length;
    speex.HEAP32[(scratch >> 2) + 1] = OUT_SAMPLES;
    speex._speex_resampler_process_int(state, 0, input, scratch, output, scratch + 4);
    const taken = speex.HEAP32[scratch >> 2] ?? 0;
    const made = speex.HEAP32[(scratch >> 2) + 1] ?? 0;
    out.set(speex.HEAP16.subarray(output >> 1, (output >> 1) + made), filled);
    filled += made;
    if (taken === 0) break;
    at += taken;
  }
  return out.subarray(0, filled);
}
