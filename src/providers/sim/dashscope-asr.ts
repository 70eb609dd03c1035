/** A recogniser's task of the simulated DashScope (providers.md 2.1). */
import { samplesOf } from '../rates.ts';
import type { Json, SimDashscopeTask, SimTaskLink } from './dashscope.ts';
import { SimHearing } from './vendor-hearing.ts';
import type { VendorFault } from './vendor-server.ts';

const IDLE_MS = 60_000;
const HEARTBEAT_MS = 1_000;
const MIDWAY_MS = 200;
const [MIN_FRAME_MS, MAX_FRAME_MS] = [50, 200];
const MAX_SPEED = 2;
const BURST_MS = 3_000;
const MODELS = [
  ...['fun-asr-realtime', 'paraformer-realtime-v2', 'paraformer-realtime-8k-v2'],
  ...['paraformer-realtime-v1', 'paraformer-realtime-8k-v1', 'qwen-audio-3.0-asr-flash-streaming'],
];
const FLAGS = [
  ...['heartbeat', 'semantic_punctuation_enabled', 'punctuation_prediction_enabled'],
  ...['inverse_text_normalization_enabled', 'disfluency_removal_enabled'],
];

export class SimDashscopeAsr implements SimDashscopeTask {
  readonly #link: SimTaskLink;
  readonly #fault: VendorFault | null;
  readonly #rateHz: number;
  readonly #keepsAlive: boolean;
  readonly #hearing: SimHearing;
  readonly #sinceMs: number;
  #state: 'starting' | 'running' | 'over' = 'starting';
  #audioMs = 0;
  #beatMs = 0;
  #beginMs: number | null = null;
  #sentence = 1;
  #wasShort = false;
  #isPlayed = false;
  #isDelayed: boolean;

  constructor(link: SimTaskLink, payload: Json, fault: VendorFault | null) {
    this.#link = link;
    this.#fault = fault;
    const parameters = (payload['parameters'] ?? {}) as Json;
    this.#rateHz = Number(parameters['sample_rate']);
    this.#keepsAlive = parameters['heartbeat'] === true;
    this.#isDelayed = fault?.kind === 'slow';
    this.#sinceMs = link.peer.clock.now();
    const silenceMs = Number(parameters['max_sentence_silence'] ?? 800);
    this.#hearing = new SimHearing({
      ...{ words: link.words, rateHz: this.#rateHz, silenceMs },
      onBegin: (beginMs) => {
        this.#beginMs = beginMs;
        this.#result('', beginMs, null, { sentence_begin: true });
      },
      onPartial: (text) => this.#result(text, this.#beginMs ?? 0, null),
      onSentence: (text, beginMs, endMs) => {
        this.#beginMs = null;
        this.#result(text, beginMs, endMs, { sentence_end: true });
        this.#sentence += 1;
      },
    });
    const problem = problemOf(payload, parameters);
    if (problem !== null) {
      this.#state = 'over';
      link.refuse('InvalidParameter', problem);
    } else if (fault?.kind !== 'hang') link.peer.then(() => this.#start(), 1);
  }

  action(name: string): boolean {
    if (name !== 'finish-task' || this.#state !== 'running') return false;
    this.#state = 'over';
    this.#link.peer.timer('idle', 0, null);
    this.#hearing.end();
    this.#link.peer.then(() => this.#link.done());
    return true;
  }

  binary(data: Buffer): void {
    const { peer } = this.#link;
    if (this.#state !== 'running') {
      this.#link.refuse('InvalidParameter', 'audio before task-started, or behind finish-task');
      return;
    }
    const frameMs = data.length / 2 / (this.#rateHz / 1000);
    if (data.length % 2 !== 0) peer.violation('half a sample');
    if (frameMs > MAX_FRAME_MS) peer.violation(`a frame of ${frameMs} ms`);
    if (this.#wasShort) peer.violation('a short frame that was not the last');
    this.#wasShort = frameMs < MIN_FRAME_MS;
    this.#audioMs += frameMs;
    const elapsedMs = peer.clock.now() - this.#sinceMs;
    if (this.#audioMs > elapsedMs * MAX_SPEED + BURST_MS) peer.violation('audio too fast');
    const pcm = samplesOf(data);
    // Silence keeps the task alive only where it was asked to.
    if (this.#keepsAlive || pcm.some((sample) => Math.abs(sample) > 300)) this.#rest();
    this.#hearing.push(pcm);
    this.#heartbeat();
    this.#midway();
  }

  #start(): void {
    this.#state = 'running';
    this.#link.event('task-started');
    this.#rest();
    if (this.#fault?.kind === 'own' && this.#fault.name === 'cut_at_start') {
      this.#link.peer.breaks({ kind: 'cut' }, () => undefined);
    }
  }

  #rest(): void {
    this.#link.peer.timer('idle', IDLE_MS, () => this.#link.expire());
  }

  #heartbeat(): void {
    const isDue = this.#audioMs - this.#beatMs >= HEARTBEAT_MS;
    if (!this.#keepsAlive || this.#beginMs !== null || !isDue) return;
    this.#beatMs = this.#audioMs;
    this.#result('heartbeat', 0, null, { heartbeat: true });
  }

  #result(text: string, beginMs: number, endMs: number | null, more: object = {}): void {
    const marks = { heartbeat: false, sentence_begin: false, sentence_end: false, ...more };
    const sentence = {
      ...{ sentence_id: this.#sentence, begin_time: beginMs, end_time: endMs, text, words: [] },
      ...marks,
    };
    const usage = endMs === null ? null : { duration: Math.ceil(this.#audioMs / 1000) };
    const tell = (): void => this.#link.event('result-generated', { output: { sentence }, usage });
    const ms = this.#isDelayed && this.#fault?.kind === 'slow' ? this.#fault.ms : 1;
    this.#isDelayed = false;
    this.#link.peer.then(tell, ms);
    // The end of a sentence is told by either of two marks.
    if (this.#fault?.kind === 'own' && this.#fault.name === 'end_time_only' && endMs !== null) {
      delete (sentence as { sentence_end?: boolean }).sentence_end;
    }
  }

  #midway(): void {
    const fault = this.#fault;
    if (fault === null || this.#isPlayed || this.#beginMs === null) return;
    if (this.#audioMs - this.#beginMs < MIDWAY_MS) return;
    this.#isPlayed = true;
    const { peer } = this.#link;
    if (fault.kind === 'recycle') {
      this.#state = 'over';
      this.#link.done();
      return;
    }
    if (peer.breaks(fault, () => this.#link.fail('InternalError', 'Internal server error!')))
      return;
    if (fault.kind !== 'own') return;
    if (fault.name === 'idle') this.#link.fail('ClientError', 'Response timeout!');
    if (fault.name === 'no_valid_audio') {
      this.#link.fail('NO_VALID_AUDIO_ERROR', 'No valid audio');
    } else if (fault.name === 'odd_fields') {
      this.#link.event('result-generated', { output: { sentence: { text: 5, end_time: 'x' } } });
      this.#link.event('result-generated', { output: null });
      this.#link.event('something-new', { list: [] });
    }
  }
}

function problemOf(payload: Json, parameters: Json): string | null {
  const model = String(payload['model']);
  const { format, sample_rate: rateHz, max_sentence_silence: silenceMs = 800 } = parameters;
  if (!MODELS.includes(model)) return `model ${model}`;
  if (typeof payload['input'] !== 'object') return 'input is missing';
  if (format !== 'pcm') return `format ${String(format)}`;
  const rates = model.startsWith('qwen-audio')
    ? [8_000, 16_000]
    : [model.includes('-8k-') ? 8_000 : 16_000];
  if (!rates.includes(Number(rateHz))) return `sample_rate ${String(rateHz)} for ${model}`;
  const isSilence = typeof silenceMs === 'number' && silenceMs >= 200 && silenceMs <= 6_000;
  if (!isSilence) return 'max_sentence_silence';
  const wrong = FLAGS.find((name) => !['undefined', 'boolean'].includes(typeof parameters[name]));
  return wrong ?? null;
}
