/** Types of the part of @echogarden/fvad-wasm that is used here; the package has none. */
declare module '@echogarden/fvad-wasm' {
  export type FvadModule = {
    readonly HEAP16: Int16Array;
    _malloc(bytes: number): number;
    _fvad_new(): number;
    _fvad_free(handle: number): void;
    _fvad_reset(handle: number): void;
    _fvad_set_mode(handle: number, mode: number): number;
    _fvad_set_sample_rate(handle: number, rateHz: number): number;
    /** 1 speech, 0 not, -1 bad frame length. */
    _fvad_process(handle: number, framePointer: number, samples: number): number;
  };
  const load: (options?: object) => Promise<FvadModule>;
  export default load;
}
