/** The voices of the simulated iFlytek (providers.md 3.5): TTS v2 and super-humanoid, one request a connection. */
import { bytesOf } from '../rates.ts';
import type { SimIflytekKit } from './iflytek.ts';
import { BREAK_AFTER_MS, jsonOf, type SimPeer, type SimService } from './speech-peer.ts';
import type { VendorFault } from './vendor-server.ts';
import { simSpeech } from './vendor-voice.ts';

const READ_MS = 10_000;
const SESSION_MS = 60_000;
const MAX_BYTES = 8_000;
const CHUNK_MS = 100;
/** Of a text that takes minutes. */
const LONG_CHUNK_MS = 2_000;

type Json = Readonly<Record<string, unknown>>;
type Request = {
  readonly status: unknown;
  readonly text: string;
  readonly rateHz: number;
  readonly problem: readonly [number, string] | null;
};

const part = (from: unknown, name: string): Json => {
  const value = (from as Json | undefined)?.[name];
  return typeof value === 'object' && value !== null ? (value as Json) : {};
};

export class SimIflytekVoice implements SimService {
  readonly #peer: SimPeer;
  readonly #kit: SimIflytekKit;
  readonly #kind: 'plain' | 'oral';
  #fault: VendorFault | null = null;
  #requests = 0;
  #text = '';
  #rateHz = 0;
  #isComplete = false;
  #audioMs = 0;
  #isPlayed = false;

  constructor(peer: SimPeer, kit: SimIflytekKit, kind: 'plain' | 'oral') {
    this.#peer = peer;
    this.#kit = kit;
    this.#kind = kind;
    this.#rest();
    peer.timer('session', SESSION_MS, () => this.#fail(10114, 'session timeout'));
  }

  binary(): void {
    this.#refuse(10160, 'binary data');
  }

  text(raw: string): void {
    const message = jsonOf(raw);
    if (message === null) return this.#refuse(10160, 'no JSON');
    this.#kit.messages.push(message);
    if (this.#isComplete) return this.#refuse(10163, 'a request behind the last one');
    const request =
      this.#kind === 'plain'
        ? plainRequest(message, this.#kit.account.appId)
        : oralRequest(message, this.#requests, this.#kit.account.appId);
    this.#requests += 1;
    if (request.problem !== null) return this.#refuse(...request.problem);
    const bytes = Buffer.from(request.text, 'base64');
    if (bytes.toString('base64') !== request.text) return this.#refuse(10161, 'no base64');
    this.#text += bytes.toString('utf8');
    if (bytes.length === 0) return this.#refuse(10107, 'no text');
    if (Buffer.byteLength(this.#text) >= MAX_BYTES) return this.#refuse(10109, 'text too long');
    if (this.#requests === 1) this.#rateHz = request.rateHz;
    this.#rest();
    if (request.status === 2) this.#complete();
  }

  #rest(): void {
    this.#peer.timer('read', READ_MS, () => {
      this.#kit.expired.push(this.#kind);
      this.#fail(10200, 'read timeout');
    });
  }

  #complete(): void {
    this.#isComplete = true;
    this.#peer.timer('read', 0, null);
    const fault = (this.#fault = this.#kit.takeFault());
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'fail_before_start') return this.#fail(10700, 'engine error');
    if (fault?.kind === 'own' && /^\d+$/.test(fault.name)) {
      return this.#fail(Number(fault.name), 'as the test has it');
    }
    const sound = simSpeech(this.#text, this.#rateHz);
    const chunkMs = sound.length > 30 * this.#rateHz ? LONG_CHUNK_MS : CHUNK_MS;
    const step = (this.#rateHz * chunkMs) / 1000;
    const chunks = Array.from({ length: Math.ceil(sound.length / step) }, (_, n) =>
      bytesOf(sound.subarray(n * step, (n + 1) * step)),
    );
    for (const { chunk, seq } of this.#inOrder(chunks)) {
      const ms = fault?.kind === 'slow' ? fault.ms : 2;
      this.#peer.then(() => this.#send(chunk, seq, seq === chunks.length - 1), ms);
    }
    this.#peer.then(() => {
      if (fault?.kind === 'own' && fault.name === 'no_end') return;
      if (fault?.kind === 'late') this.#send(Buffer.alloc(1600, 0x7f), chunks.length, true);
      this.#peer.end();
    });
  }

  #inOrder(chunks: readonly Uint8Array[]): { chunk: Uint8Array; seq: number }[] {
    const all = chunks.map((chunk, seq) => ({ chunk, seq }));
    const own = this.#fault?.kind === 'own' ? this.#fault.name : '';
    if (own === 'repeated') return all.flatMap((each) => [each, each]);
    if (own === 'no_end') return all.slice(0, -1);
    if (own === 'gap') return all.filter(({ seq }) => seq !== 2);
    if (own !== 'reordered') return all;
    // Two and two change places: 1 0 3 2 ...
    const swapped = [...all];
    for (let n = 0; n + 1 < all.length; n += 2) {
      [swapped[n], swapped[n + 1]] = [all[n + 1] as (typeof all)[0], all[n] as (typeof all)[0]];
    }
    return swapped;
  }

  #send(chunk: Uint8Array, seq: number, isLast: boolean): void {
    const own = this.#fault?.kind === 'own' ? this.#fault.name : '';
    const audio = own === 'no_base64' ? '!!!' : Buffer.from(chunk).toString('base64');
    const number = own === 'from_one' ? seq + 1 : seq;
    const status = isLast ? 2 : 1;
    const sid = 'tts000sim';
    if (this.#kind === 'plain') {
      const ced = String(Buffer.byteLength(this.#text));
      this.#peer.send({ code: 0, message: 'success', sid, data: { audio, status, ced } });
    } else {
      const shape = { encoding: 'raw', sample_rate: this.#rateHz, channels: 1, bit_depth: 16 };
      this.#peer.send({
        header: { code: 0, message: 'success', sid, status: isLast ? 2 : 1 },
        payload: { audio: { ...shape, seq: number, status: seq === 0 ? 0 : status, audio } },
      });
    }
    this.#audioMs += CHUNK_MS;
    if (this.#fault === null || this.#isPlayed || this.#audioMs < 2 * CHUNK_MS) return;
    this.#isPlayed = true;
    const fault = this.#fault;
    const act = (): void => void this.#peer.breaks(fault, () => this.#fail(10700, 'engine error'));
    this.#peer.interject(act, BREAK_AFTER_MS);
  }

  #fail(code: number, message: string): void {
    const sid = 'tts000sim';
    this.#peer.send(
      this.#kind === 'plain'
        ? { code, message, sid, data: null }
        : { header: { code, message, sid, status: 2 } },
    );
    this.#peer.end();
  }

  #refuse(code: number, text: string): void {
    this.#peer.violation(`${code} ${text}`);
    this.#fail(code, text);
  }
}

function isDial(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 100;
}

function plainRequest(message: Json, appId: string): Request {
  const [business, data] = [part(message, 'business'), part(message, 'data')];
  const { aue, auf, vcn, tte, speed, volume, pitch } = business;
  const rateHz = Number(/^audio\/L16;rate=(8000|16000)$/.exec(String(auf))?.[1]);
  const problem = ((): readonly [number, string] | null => {
    if (part(message, 'common')['app_id'] !== appId) return [10313, 'app_id'];
    if (data['status'] !== 2) return [10163, 'the whole text is one message'];
    if (aue !== 'raw' || Number.isNaN(rateHz)) return [10163, `format ${String(auf)}`];
    if (typeof vcn !== 'string' || vcn === '' || tte !== 'UTF8') return [10163, 'vcn or tte'];
    return [speed, volume, pitch].every(isDial) ? null : [10163, 'speed, volume or pitch'];
  })();
  return { status: data['status'], text: String(data['text']), rateHz, problem };
}

function oralRequest(message: Json, before: number, appId: string): Request {
  const [header, tts] = [part(message, 'header'), part(part(message, 'parameter'), 'tts')];
  const text = part(part(message, 'payload'), 'text');
  const audio = part(tts, 'audio');
  const { status } = header;
  const rateHz = Number(audio['sample_rate']);
  const problem = ((): readonly [number, string] | null => {
    if (header['app_id'] !== appId) return [10313, 'app_id'];
    const isFirst = before === 0;
    const isKnown = isFirst ? status === 0 || status === 2 : status === 1 || status === 2;
    if (!isKnown || text['status'] !== status) return [10163, `status ${String(status)}`];
    if (text['seq'] !== before) return [10163, `seq ${String(text['seq'])}`];
    const { encoding, compress, format } = text;
    if (encoding !== 'utf8' || compress !== 'raw' || format !== 'plain') return [10163, 'text'];
    if (!isFirst) return null;
    const isRaw = audio['encoding'] === 'raw' && audio['channels'] === 1;
    const isRate = [8_000, 16_000, 24_000].includes(rateHz);
    if (!isRaw || !isRate || audio['bit_depth'] !== 16) return [10163, 'audio'];
    if (typeof tts['vcn'] !== 'string' || tts['vcn'] === '') return [10163, 'vcn'];
    return [tts['speed'], tts['volume'], tts['pitch']].every(isDial) ? null : [10163, 'dials'];
  })();
  return { status, text: String(text['text']), rateHz, problem };
}
