/** The recogniser of the simulated NLS gateway: `SpeechTranscriber`, order and audio checked as providers.md 1.2 has them. */
import type { TimerHandle } from '#lib/clock.ts';
import { samplesOf } from '../rates.ts';
import type { SimLink, SimTask } from './aliyun-nls.ts';
import { SimHearing } from './vendor-hearing.ts';
import { goHalfOpen, type VendorFault } from './vendor-server.ts';

const MIN_FRAME_MS = 20;
const MAX_FRAME_MS = 200;
/** Real time; the vendor's own sample sends 1.6 times as fast. A burst at the start is let pass. */
const MAX_SPEED = 2;
const BURST_MS = 3_000;
/** How much of a sentence the vendor has heard when something goes wrong in the middle of it. */
const MIDWAY_MS = 200;

type Payload = Readonly<Record<string, unknown>>;

export class SimTranscriber implements SimTask {
  readonly waits = true;
  readonly #link: SimLink;
  readonly #fault: VendorFault | null;
  readonly #hearing: SimHearing | null;
  readonly #rateHz: number;
  readonly #hasPartials: boolean;
  readonly #sinceMs: number;
  #timer: TimerHandle | undefined;
  #state: 'starting' | 'running' | 'over' = 'starting';
  #audioMs = 0;
  #index = 0;
  #beginMs: number | null = null;
  #wasShort = false;
  #isDelayed: boolean;
  #isPlayed = false;

  constructor(link: SimLink, payload: Payload, fault: VendorFault | null) {
    this.#link = link;
    this.#fault = fault;
    this.#rateHz = Number(payload['sample_rate']);
    this.#hasPartials = payload['enable_intermediate_result'] === true;
    this.#isDelayed = fault?.kind === 'slow';
    this.#sinceMs = link.clock.now();
    const silenceMs = Number(payload['max_sentence_silence'] ?? 800);
    const problem = problemOf(payload, link.projectRateHz);
    this.#hearing = problem === null ? this.#makeHearing(silenceMs) : null;
    if (problem !== null) {
      this.#state = 'over';
      link.violation(problem);
      link.fail(40_000_003, `Gateway:PARAMETER_INVALID:${problem}`);
    } else if (fault?.kind !== 'hang') {
      // Not at once: a client that does not wait for it is caught.
      this.#timer = link.clock.setTimer(() => this.#started(), 1);
    }
  }

  directive(name: string, payload: Payload): boolean {
    if (this.#state !== 'running') return false;
    if (name === 'ControlTranscription') return true;
    if (name !== 'StopTranscription' || Object.keys(payload).length > 0) return false;
    this.#hearing?.end();
    this.#state = 'over';
    this.#soon(() => {
      this.#link.send('TranscriptionCompleted');
      this.#link.done();
    });
    return true;
  }

  binary(data: Buffer): void {
    if (this.#state !== 'running') {
      this.#link.violation('audio before TranscriptionStarted, or behind StopTranscription');
      this.#link.fail(40_000_002, 'Gateway:MESSAGE_INVALID:Binary data is not expected now');
      return;
    }
    const frameMs = data.length / 2 / (this.#rateHz / 1000);
    if (data.length % 2 !== 0) this.#link.violation('half a sample');
    if (frameMs > MAX_FRAME_MS) this.#link.violation(`a frame of ${frameMs} ms`);
    if (this.#wasShort) this.#link.violation('a frame of less than 20 ms that was not the last');
    this.#wasShort = frameMs < MIN_FRAME_MS;
    this.#audioMs += frameMs;
    const elapsedMs = this.#link.clock.now() - this.#sinceMs;
    if (this.#audioMs > elapsedMs * MAX_SPEED + BURST_MS) this.#link.violation('audio too fast');
    this.#hearing?.push(samplesOf(data));
    this.#midway();
  }

  close(): void {
    this.#state = 'over';
    this.#link.clock.clearTimer(this.#timer);
  }

  #started(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'running';
    this.#link.send('TranscriptionStarted', { session_id: 'sim-session' });
    const { kind } = this.#fault ?? {};
    if (this.#fault?.kind === 'own' && this.#fault.name === 'cut_at_start') {
      this.#link.socket.terminate();
    } else if (kind === 'late') {
      this.#link.send('SentenceEnd', { index: 9, time: 5, begin_time: 0, result: '' });
    }
  }

  #makeHearing(silenceMs: number): SimHearing {
    return new SimHearing({
      ...{ words: this.#link.words, rateHz: this.#rateHz, silenceMs },
      onBegin: (beginMs) => {
        this.#index += 1;
        this.#beginMs = beginMs;
        this.#tell('SentenceBegin', { index: this.#index, time: beginMs });
      },
      onPartial: (text) => {
        if (!this.#hasPartials) return;
        const at = { index: this.#index, time: Math.round(this.#audioMs) };
        this.#tell('TranscriptionResultChanged', { ...at, result: text, words: [] });
      },
      onSentence: (text, beginMs, endMs) => {
        this.#beginMs = null;
        const at = { index: this.#index, time: endMs, begin_time: beginMs };
        this.#tell('SentenceEnd', { ...at, result: text, confidence: 0.93, words: [] });
      },
    });
  }

  /** Results come at once, or the first one late and the others behind it. */
  #tell(name: string, payload: object): void {
    if (!this.#isDelayed || this.#fault?.kind !== 'slow') {
      this.#soon(() => this.#link.send(name, payload));
      return;
    }
    this.#isDelayed = false;
    const { ms } = this.#fault;
    this.#timer = this.#link.clock.setTimer(() => this.#link.send(name, payload), ms);
  }

  /** Behind what is being handled, so that a stop is answered after the results it brought about. */
  #soon(act: () => void): void {
    queueMicrotask(act);
  }

  /** Faults in the middle of a sentence, each once. */
  #midway(): void {
    const fault = this.#fault;
    if (fault === null || this.#isPlayed || this.#beginMs === null) return;
    if (this.#audioMs - this.#beginMs < MIDWAY_MS) return;
    this.#isPlayed = true;
    this.#play(fault);
  }

  #play(fault: VendorFault): void {
    const link = this.#link;
    switch (fault.kind) {
      case 'cut':
        return link.socket.terminate();
      case 'half_open':
        return goHalfOpen(link.socket);
      case 'fail_midway':
        return link.fail(50_000_000, 'Gateway:SERVER_ERROR:Internal');
      case 'recycle':
        link.send('TranscriptionCompleted');
        return link.socket.close(1000);
      case 'junk':
        return link.raw('<html>not now</html>', false);
      case 'swapped':
        return link.raw(Buffer.from('{"header":{"name":"SentenceEnd"}}'), true);
      case 'huge':
        return link.raw('x'.repeat(fault.bytes), false);
      case 'own':
        if (fault.name === 'idle') link.fail(40_000_004, 'Gateway:IDLE_TIMEOUT:idle');
        if (fault.name === 'odd_fields') {
          link.send('SentenceEnd', { index: 'x', result: 5, time: null, confidence: 'high' });
          link.send('SomethingNew', { list: [] });
        }
        return;
      case 'refuse':
      case 'fail_before_start':
      case 'hang':
      case 'slow':
      case 'late':
      case 'moderated':
      // They are played elsewhere, or not by this vendor.
    }
  }
}

/** What is wrong with the parameters, or null. */
function problemOf(payload: Payload, projectRateHz: number): string | null {
  const { format, sample_rate: rateHz, max_sentence_silence: silenceMs = 800 } = payload;
  if (format !== 'pcm') return `format ${String(format)}`;
  if (rateHz !== projectRateHz) {
    return `sample_rate ${String(rateHz)} for a project of ${projectRateHz} Hz`;
  }
  const isSilence = typeof silenceMs === 'number' && silenceMs >= 200 && silenceMs <= 2000;
  return isSilence ? null : `max_sentence_silence ${String(silenceMs)}`;
}
