/**
 * The Silero model (versions 5 and 6, 8 kHz) in ONNX Runtime: chunks of many calls in one run, the state of each call kept
 * between. ONNX Runtime is not a part of Callyard: it is found where the operator installed it.
 */
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { AppError } from '#lib/errors.ts';
import { CHUNK, SILERO_SLOTS, type SileroSlots } from './silero-slots.ts';

/** What the model looks at of the chunk before. */
const CONTEXT = 32;
const INPUT = CONTEXT + CHUNK;
/** The state of a call: two layers of this. */
const LAYER = 128;
const MAX_BATCH = 32;
const RATE_HZ = 8000n;

type Tensor = { readonly data: unknown };
/** The part of onnxruntime-node that is used. */
export type OnnxRuntime = {
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => Tensor;
  readonly InferenceSession: {
    create(path: string, options: object): Promise<OnnxSession>;
  };
};
export type OnnxSession = {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>>;
};

/** `runtime`: a package name, or the path of its folder. Errors: E_CONFIG that says what to install. */
export function loadOnnxRuntime(runtime: string): OnnxRuntime {
  const require = createRequire(import.meta.url);
  try {
    return require(runtime) as OnnxRuntime;
  } catch (cause) {
    const from = isAbsolute(runtime) ? ` at ${runtime}` : '';
    throw new AppError(
      'E_CONFIG',
      `CALLYARD_VAD=silero needs ONNX Runtime${from}: npm install --no-save onnxruntime-node@1.30.0, ` +
        'or set CALLYARD_ONNXRUNTIME to its folder',
      { cause },
    );
  }
}

/** Errors: E_CONFIG when the file is no Silero model. */
export async function openSileroModel(onnx: OnnxRuntime, path: string): Promise<SileroModel> {
  let session: OnnxSession;
  try {
    session = await onnx.InferenceSession.create(path, {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
    });
  } catch (cause) {
    throw new AppError('E_CONFIG', `CALLYARD_SILERO_MODEL: ${path} cannot be read as a model`, {
      cause,
    });
  }
  const names = [...session.inputNames].sort().join(' ');
  if (names !== 'input sr state') {
    throw new AppError(
      'E_CONFIG',
      `CALLYARD_SILERO_MODEL: ${path} takes ${names}; Silero VAD 5 or 6 takes input, sr, state`,
    );
  }
  return new SileroModel(onnx, session);
}

export class SileroModel {
  readonly #onnx: OnnxRuntime;
  readonly #session: OnnxSession;
  readonly #rate: Tensor;
  /** By slot: the call it is of, its state (two layers) and the end of the chunk before. */
  readonly #calls = new Int32Array(SILERO_SLOTS);
  readonly #states = new Float32Array(SILERO_SLOTS * 2 * LAYER);
  readonly #contexts = new Float32Array(SILERO_SLOTS * CONTEXT);
  readonly #batch = new Int32Array(MAX_BATCH);
  readonly #batchCalls = new Int32Array(MAX_BATCH);
  #next = 0;

  constructor(onnx: OnnxRuntime, session: OnnxSession) {
    this.#onnx = onnx;
    this.#session = session;
    this.#rate = new onnx.Tensor('int64', BigInt64Array.of(RATE_HZ), []);
  }

  /** Judges the oldest chunk of up to 32 calls; how many. Rejects with what the runtime says. */
  async judge(slots: SileroSlots): Promise<number> {
    const count = this.#gather(slots);
    if (count === 0) return 0;
    const input = new Float32Array(count * INPUT);
    const state = new Float32Array(count * 2 * LAYER);
    for (let i = 0; i < count; i++) this.#load(slots, i, count, input, state);
    const { Tensor } = this.#onnx;
    const results = await this.#session.run({
      input: new Tensor('float32', input, [count, INPUT]),
      state: new Tensor('float32', state, [2, count, LAYER]),
      sr: this.#rate,
    });
    const speech = results['output']?.data;
    const next = results['stateN']?.data;
    if (!(speech instanceof Float32Array && next instanceof Float32Array))
      throw new AppError('E_MEDIA', 'the Silero model answers something else');
    for (let i = 0; i < count; i++) this.#store(slots, i, count, next, speech[i] ?? 0);
    return count;
  }

  /** Slots with work, each in its turn. */
  #gather(slots: SileroSlots): number {
    let count = 0;
    const first = this.#next;
    for (let i = 0; i < SILERO_SLOTS && count < MAX_BATCH; i++) {
      const slot = (first + i) % SILERO_SLOTS;
      if (!slots.hasWork(slot)) continue;
      this.#batch[count] = slot;
      this.#batchCalls[count++] = slots.callOf(slot);
      this.#next = (slot + 1) % SILERO_SLOTS;
    }
    return count;
  }

  #load(
    slots: SileroSlots,
    i: number,
    count: number,
    input: Float32Array,
    state: Float32Array,
  ): void {
    const slot = this.#batch[i] as number;
    const call = this.#batchCalls[i] as number;
    if (this.#calls[slot] !== call) {
      this.#calls[slot] = call;
      this.#states.fill(0, slot * 2 * LAYER, (slot + 1) * 2 * LAYER);
      this.#contexts.fill(0, slot * CONTEXT, (slot + 1) * CONTEXT);
    }
    const from = i * INPUT;
    for (let k = 0; k < CONTEXT; k++)
      input[from + k] = this.#contexts[slot * CONTEXT + k] as number;
    slots.read(slot, input, from + CONTEXT);
    for (let k = 0; k < CONTEXT; k++)
      this.#contexts[slot * CONTEXT + k] = input[from + CHUNK + k] as number;
    for (let layer = 0; layer < 2; layer++)
      for (let k = 0; k < LAYER; k++)
        state[(layer * count + i) * LAYER + k] = this.#states[
          (slot * 2 + layer) * LAYER + k
        ] as number;
  }

  #store(slots: SileroSlots, i: number, count: number, next: Float32Array, speech: number): void {
    const slot = this.#batch[i] as number;
    for (let layer = 0; layer < 2; layer++)
      for (let k = 0; k < LAYER; k++)
        this.#states[(slot * 2 + layer) * LAYER + k] = next[
          (layer * count + i) * LAYER + k
        ] as number;
    slots.finish(slot, this.#batchCalls[i] as number, speech);
  }
}
