/** Realtime transcription of the simulated iFlytek, standard and large (providers.md 3.4): a call on one connection. */
import { samplesOf } from '../rates.ts';
import type { SimIflytekKit } from './iflytek.ts';
import { wordsOf } from './iflytek-iat.ts';
import { jsonOf, type SimPeer, type SimService } from './speech-peer.ts';
import { SimHearing } from './vendor-hearing.ts';
import type { VendorFault } from './vendor-server.ts';

const IDLE_MS = 15_000;
const FRAME_BYTES = 1_280;
const RATE_HZ = 16_000;
const SILENCE_MS = 400;
const MIDWAY_MS = 200;
/** 40 ms each 40 ms; a client that has to catch up is let pass, a flood is not. */
const MAX_SPEED = 2;
const BURST_MS = 3_000;

type Terms = {
  /** Code of what is wrong with the address. */
  readonly problem: string | null;
  /** Of the large one; null: the standard one. */
  readonly sessionId: string | null;
};

export class SimRtasr implements SimService {
  readonly #peer: SimPeer;
  readonly #kit: SimIflytekKit;
  readonly #sessionId: string | null;
  readonly #fault: VendorFault | null;
  readonly #hearing: SimHearing;
  readonly #sinceMs: number;
  #isStarted = false;
  #segment = 0;
  #audioMs = 0;
  #beginMs: number | null = null;
  #isPlayed = false;
  #isDelayed: boolean;
  #wasShort = false;

  constructor(peer: SimPeer, kit: SimIflytekKit, { problem, sessionId }: Terms) {
    this.#peer = peer;
    this.#kit = kit;
    this.#sessionId = sessionId;
    this.#sinceMs = peer.clock.now();
    this.#hearing = new SimHearing({
      ...{ words: kit.words, rateHz: RATE_HZ, silenceMs: SILENCE_MS },
      onBegin: (beginMs) => (this.#beginMs = beginMs),
      onPartial: (text) => this.#result(text, '1', this.#beginMs ?? 0, this.#audioMs),
      onSentence: (text, beginMs, endMs) => this.#sentence(text, beginMs, endMs),
    });
    // One that has no right to be here plays nothing.
    this.#fault = problem === null ? kit.takeFault() : null;
    this.#isDelayed = this.#fault?.kind === 'slow';
    // Not at once: a client that does not wait for it is caught.
    peer.then(() => this.#start(problem), 1);
  }

  text(text: string): void {
    const message = jsonOf(text);
    if (message !== null) this.#kit.messages.push(message);
    const isEnd = message?.['end'] === true && message['sessionId'] === this.#sessionId;
    if (this.#sessionId !== null && isEnd && this.#isStarted) this.#end();
    else this.#refuse('10160', `a text: ${text.slice(0, 40)}`);
  }

  binary(data: Buffer): void {
    if (!this.#isStarted) return this.#refuse('10163', 'audio before started');
    this.#rest();
    if (this.#sessionId === null && data.length < 32 && jsonOf(data.toString())?.['end'] === true) {
      this.#end();
      return;
    }
    if (data.length > FRAME_BYTES || data.length % 2 !== 0) {
      this.#peer.violation(`a frame of ${data.length} bytes`);
    }
    if (this.#wasShort) this.#peer.violation('a short frame that was not the last');
    this.#wasShort = data.length < FRAME_BYTES;
    this.#audioMs += data.length / 32;
    const elapsedMs = this.#peer.clock.now() - this.#sinceMs;
    if (this.#audioMs > elapsedMs * MAX_SPEED + BURST_MS) this.#peer.violation('audio too fast');
    this.#hearing.push(samplesOf(data));
    this.#midway();
  }

  #start(problem: string | null): void {
    if (problem !== null) return this.#fail(problem, 'illegal access');
    const fault = this.#fault;
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'fail_before_start') return this.#fail('10700', 'engine error');
    if (fault?.kind === 'own' && /^\d+$/.test(fault.name)) {
      return this.#fail(fault.name, 'as the test has it');
    }
    this.#isStarted = true;
    this.#rest();
    this.#peer.send(
      this.#sessionId === null
        ? { action: 'started', code: '0', data: '', desc: 'success', sid: 'rta000sim' }
        : { msg_type: 'action', data: { action: 'started', sessionId: this.#sessionId } },
    );
    if (fault?.kind === 'own' && fault.name === 'cut_at_start') {
      this.#peer.breaks({ kind: 'cut' }, () => undefined);
    }
  }

  #rest(): void {
    this.#peer.timer('idle', IDLE_MS, () => {
      this.#kit.expired.push('rtasr');
      this.#fail('10165', 'no audio');
    });
  }

  #end(): void {
    this.#hearing.end();
    this.#peer.then(() => this.#peer.end());
  }

  #sentence(text: string, beginMs: number, endMs: number): void {
    this.#beginMs = null;
    this.#result(text, '0', beginMs, endMs);
    this.#segment += 1;
    // The sentence before comes once more, unfinished, behind its end.
    if (this.#fault?.kind === 'late') this.#result(text, '1', beginMs, endMs, this.#segment - 1);
  }

  #result(
    text: string,
    type: '0' | '1',
    beginMs: number,
    endMs: number,
    segment = this.#segment,
  ): void {
    const filler = { w: '嗯', wp: 's', rl: '0' };
    const ws = [
      { cw: [filler], wb: 0, we: 0 },
      ...wordsOf(text).flatMap((word) => {
        const [, plain = word, mark = ''] = /^(.*?)([。，！？.,!?]*)$/su.exec(word) ?? [];
        const cw = [
          { w: plain, wp: 'n', rl: '0' },
          { w: 'second choice', wp: 'n' },
        ];
        return [{ cw }, ...(mark === '' ? [] : [{ cw: [{ w: mark, wp: 'p' }] }])];
      }),
      { cw: [{ w: '', wp: 'g' }] },
    ];
    const st = { bg: String(beginMs), ed: String(endMs), type, rt: [{ ws }] };
    const data = { seg_id: segment, cn: { st }, ls: false };
    const message =
      this.#sessionId === null
        ? { action: 'result', code: '0', data: JSON.stringify(data), desc: 'success', sid: 'rta' }
        : { msg_type: 'result', res_type: 'asr', data };
    const ms = this.#isDelayed && this.#fault?.kind === 'slow' ? this.#fault.ms : 1;
    this.#isDelayed = false;
    this.#peer.then(() => this.#peer.send(message), ms);
  }

  #midway(): void {
    const fault = this.#fault;
    if (fault === null || this.#isPlayed || this.#beginMs === null) return;
    if (this.#audioMs - this.#beginMs < MIDWAY_MS) return;
    this.#isPlayed = true;
    if (this.#peer.breaks(fault, () => this.#fail('10700', 'engine error'))) return;
    if (fault.kind !== 'own') return;
    if (fault.name === 'idle') this.#fail('10165', 'no audio');
    else if (fault.name === 'odd_fields') {
      const data = { cn: { st: { type: 7, rt: [null, { ws: [null, { cw: 'x' }] }] } } };
      this.#peer.send({ action: 'result', code: '0', data: JSON.stringify(data) });
      this.#peer.send({ action: 'result', code: '0', data: '{}' });
      this.#peer.send({ action: 'news', code: '0' });
    }
  }

  #fail(code: string, desc: string): void {
    this.#peer.send(
      this.#sessionId === null
        ? { action: 'error', code, data: '', desc, sid: 'rta000sim' }
        : { msg_type: 'result', res_type: 'frc', data: { code, desc, normal: false } },
    );
    this.#peer.end();
  }

  #refuse(code: string, text: string): void {
    this.#peer.violation(`${code} ${text}`);
    this.#fail(code, text);
  }
}
