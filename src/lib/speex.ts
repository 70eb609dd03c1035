/** The Speex resampler (WASM, SIMD), loaded once. */

const RESAMPLER = '@echogarden/speex-resampler-wasm/simd';

/** What we use of the package, which has no types. */
export type SpeexModule = {
  readonly HEAP16: Int16Array;
  readonly HEAP32: Int32Array;
  _malloc(bytes: number): number;
  _free(pointer: number): void;
  _speex_resampler_init(
    channels: number,
    fromHz: number,
    toHz: number,
    quality: number,
    error: number,
  ): number;
  _speex_resampler_destroy(state: number): void;
  _speex_resampler_process_int(
    state: number,
    channel: number,
    input: number,
    inputLength: number,
    output: number,
    outputLength: number,
  ): number;
  _speex_resampler_skip_zeros(state: number): number;
  _speex_resampler_get_input_latency(state: number): number;
};

let loading: Promise<SpeexModule> | undefined;

export function loadSpeex(): Promise<SpeexModule> {
  loading ??= import(RESAMPLER).then((module: { readonly default: () => Promise<SpeexModule> }) =>
    module.default(),
  );
  return loading;
}
