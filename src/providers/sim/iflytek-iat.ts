/** Dictation of the simulated iFlytek, plain and large model (providers.md 3.2, 3.3): one utterance a connection. */
import { samplesOf } from '../rates.ts';
import type { SimIflytekKit } from './iflytek.ts';
import { jsonOf, type SimPeer, type SimService } from './speech-peer.ts';
import { SimHearing } from './vendor-hearing.ts';
import type { VendorFault } from './vendor-server.ts';

const READ_MS = 10_000;
const SESSION_MS = 60_000;
const FRAME_MS = 40;
const MIDWAY_MS = 200;

type Json = Readonly<Record<string, unknown>>;
type Problem = { readonly code: number; readonly text: string };
type Frame = {
  readonly status: unknown;
  readonly audio: string;
  readonly rateHz: number;
  readonly eosMs: number;
  readonly problem: Problem | null;
};

const problem = (code: number, text: string): Problem => ({ code, text });
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const part = (from: unknown, name: string): Json => {
  const value = (from as Json | undefined)?.[name];
  return typeof value === 'object' && value !== null ? (value as Json) : {};
};

export class SimIat implements SimService {
  readonly #peer: SimPeer;
  readonly #kit: SimIflytekKit;
  readonly #kind: 'plain' | 'spark';
  #fault: VendorFault | null = null;
  #hearing: SimHearing | null = null;
  #rateHz = 0;
  #frames = 0;
  #wasShort = false;
  /** By the client, and by ourselves. */
  #isEnded = false;
  #isFinished = false;
  #isPlayed = false;
  #beginMs: number | null = null;
  #sn = 0;
  #told = '';
  #isDelayed = false;

  constructor(peer: SimPeer, kit: SimIflytekKit, kind: 'plain' | 'spark') {
    this.#peer = peer;
    this.#kit = kit;
    this.#kind = kind;
    this.#rest();
    peer.timer('session', SESSION_MS, () => this.#fail(problem(10114, 'session timeout')));
  }

  binary(): void {
    this.#refuse(problem(10160, 'binary data'));
  }

  text(text: string): void {
    this.#rest();
    const message = jsonOf(text);
    if (message === null) return this.#refuse(problem(10160, 'no JSON'));
    this.#kit.messages.push(message);
    if (this.#isEnded) return this.#refuse(problem(10163, 'a frame behind the last one'));
    // Frames that were on their way when the vendor thought that this was it.
    if (this.#isFinished) return;
    const isFirst = this.#frames === 0;
    const frame =
      this.#kind === 'plain'
        ? plainFrame(message, isFirst, this.#kit.account.appId)
        : sparkFrame(message, this.#frames, this.#kit.account.appId);
    this.#frames += 1;
    if (frame.problem !== null) return this.#refuse(frame.problem);
    if (isFirst && !this.#begin(frame)) return;
    this.#hear(frame, isFirst);
    if (frame.status === 2) this.#end();
  }

  /** False: the fault is all there will be. */
  #begin(frame: Frame): boolean {
    this.#rateHz = frame.rateHz;
    this.#fault = this.#kit.takeFault();
    const { kind } = this.#fault ?? {};
    this.#isDelayed = kind === 'slow';
    if (kind === 'fail_before_start') this.#fail(problem(10700, 'engine error'));
    else if (this.#fault?.kind === 'own' && /^\d+$/.test(this.#fault.name)) {
      this.#fail(problem(Number(this.#fault.name), 'as the test has it'));
    }
    this.#hearing = new SimHearing({
      ...{ words: this.#kit.words, rateHz: frame.rateHz, silenceMs: frame.eosMs },
      onBegin: (beginMs) => (this.#beginMs = beginMs),
      onPartial: (text) => this.#partial(text),
      onSentence: (text) => this.#finish(text),
    });
    return !this.#peer.isOver;
  }

  #hear(frame: Frame, isFirst: boolean): void {
    const bytes = Buffer.from(frame.audio, 'base64');
    const full = (this.#rateHz / 1000) * FRAME_MS * 2;
    const isEmpty = bytes.length === 0 && (isFirst || frame.status === 2);
    if (bytes.toString('base64') !== frame.audio) {
      return this.#refuse(problem(10161, 'no base64'));
    }
    if (bytes.length > full || bytes.length % 2 !== 0) {
      this.#peer.violation(`a frame of ${bytes.length} bytes`);
    }
    if (this.#wasShort && !isEmpty) this.#peer.violation('a short frame that was not the last');
    this.#wasShort = bytes.length < full && !isEmpty;
    if (frame.rateHz !== 0 && frame.rateHz !== this.#rateHz)
      this.#peer.violation('the rate was changed');
    this.#hearing?.push(samplesOf(bytes));
    this.#midway();
  }

  #end(): void {
    this.#isEnded = true;
    if (this.#fault?.kind === 'hang') return;
    this.#hearing?.end();
    if (!this.#isFinished) this.#finish('');
  }

  #rest(): void {
    this.#peer.timer('read', READ_MS, () => {
      this.#kit.expired.push(this.#kind);
      this.#fail(problem(10200, 'read timeout'));
    });
  }

  /** A wrong guess first, which the next result replaces. */
  #partial(text: string): void {
    this.#result({ pgs: 'apd' }, 'hm hm', false, false);
    this.#result({ pgs: 'rpl', rg: [1, this.#sn] }, text, false, false);
    this.#told = text;
  }

  #finish(text: string): void {
    if (this.#fault?.kind === 'hang') return;
    this.#isFinished = true;
    const head = text.startsWith(this.#told) ? this.#told : '';
    // All that was said so far anew, and the rest behind it.
    if (this.#sn > 0) {
      this.#result({ pgs: 'rpl', rg: [1, this.#sn] }, head, false, false);
    }
    this.#result({ pgs: 'apd' }, text.slice(head.length), true, true);
    const bye = (): void => {
      if (this.#fault?.kind === 'late') this.#result({ pgs: 'apd' }, 'too late', true, true);
      this.#peer.then(() => this.#peer.end(), 5);
    };
    this.#peer.then(bye, 1);
  }

  #result(how: object, text: string, isLast: boolean, isOver: boolean): void {
    this.#sn += 1;
    const ws = wordsOf(text).map((w) => ({ bg: 0, cw: [{ w, sc: 0 }] }));
    const result = { sn: this.#sn, ls: isLast, ...how, bg: 0, ed: 0, ws };
    const message =
      this.#kind === 'plain' ? plainReply(result, isOver) : sparkReply(result, isOver);
    if (this.#isDelayed && this.#fault?.kind === 'slow') {
      this.#isDelayed = false;
      this.#peer.then(() => this.#peer.send(message), this.#fault.ms);
    } else this.#peer.then(() => this.#peer.send(message), 1);
  }

  #midway(): void {
    const fault = this.#fault;
    if (fault === null || this.#isPlayed || this.#beginMs === null || this.#peer.isOver) return;
    if ((this.#hearing?.audioMs ?? 0) - this.#beginMs < MIDWAY_MS) return;
    this.#isPlayed = true;
    if (this.#peer.breaks(fault, () => this.#fail(problem(10700, 'engine error')))) return;
    if (fault.kind !== 'own') return;
    if (fault.name === 'odd_fields') {
      const odd = { sn: 0, ws: [null, { cw: [] }, { cw: [{ w: 5 }] }], pgs: 'rpl', rg: ['x'] };
      this.#peer.send(this.#kind === 'plain' ? plainReply(odd, false) : sparkReply(odd, false));
      this.#peer.send(this.#kind === 'plain' ? { code: 0 } : { header: { code: 0 } });
    } else if (fault.name === 'early_end') {
      // The vendor's own detector thinks that this was it.
      this.#finish('Well now');
    }
  }

  #fail({ code, text }: Problem): void {
    const sid = 'iat000sim';
    this.#peer.send(
      this.#kind === 'plain'
        ? { code, message: text, sid }
        : { header: { code, message: text, sid, status: 2 } },
    );
    this.#peer.end();
  }

  #refuse(what: Problem): void {
    this.#peer.violation(`${what.code} ${what.text}`);
    this.#fail(what);
  }
}

function plainFrame(message: Json, isFirst: boolean, appId: string): Frame {
  const [data, business] = [part(message, 'data'), part(message, 'business')];
  const { status, format, encoding } = data;
  const audio = textOf(data['audio']);
  const rateHz =
    format === undefined ? 0 : Number(/^audio\/L16;rate=(8000|16000)$/.exec(textOf(format))?.[1]);
  const frame = {
    status,
    audio,
    rateHz,
    eosMs: Number(business['vad_eos'] ?? 2000),
  };
  const wrong = ((): Problem | null => {
    if (isFirst !== (status === 0)) return problem(10163, `status ${String(status)}`);
    if (status !== 0 && status !== 1 && status !== 2) return problem(10163, 'status');
    if (!isFirst && ('common' in message || 'business' in message)) {
      return problem(10163, 'parameters again');
    }
    const isBare = status === 2 && audio === '' && format === undefined;
    if (!isBare && (Number.isNaN(rateHz) || rateHz === 0 || encoding !== 'raw')) {
      return problem(10163, `format ${String(format)} ${String(encoding)}`);
    }
    if (!isFirst) return null;
    if (part(message, 'common')['app_id'] !== appId) return problem(10313, 'app_id');
    const { language, domain, accent } = business;
    const isKnown = language === 'zh_cn' || language === 'en_us';
    return isKnown && domain === 'iat' && accent === 'mandarin' && business['dwa'] === 'wpgs'
      ? null
      : problem(10139, 'business');
  })();
  // The last frame names no rate.
  return { ...frame, rateHz: rateHz === 0 ? 0 : rateHz, problem: wrong };
}

function sparkFrame(message: Json, before: number, appId: string): Frame {
  const isFirst = before === 0;
  const [header, iat] = [part(message, 'header'), part(part(message, 'parameter'), 'iat')];
  const audio = part(part(message, 'payload'), 'audio');
  const { status } = header;
  const frame = {
    ...{ status, audio: textOf(audio['audio']), rateHz: Number(audio['sample_rate']) },
    eosMs: Number(iat['eos'] ?? 2000),
  };
  const wrong = ((): Problem | null => {
    if (header['app_id'] !== appId) return problem(10313, 'app_id');
    if (isFirst !== (status === 0) || audio['status'] !== status) return problem(10163, 'status');
    if (status !== 0 && status !== 1 && status !== 2) return problem(10163, 'status');
    if (audio['seq'] !== before + 1) return problem(10163, `seq ${String(audio['seq'])}`);
    const isFormat =
      audio['encoding'] === 'raw' && audio['channels'] === 1 && audio['bit_depth'] === 16;
    if (!isFormat || ![8_000, 16_000].includes(frame.rateHz)) return problem(10163, 'format');
    if (!isFirst) return 'parameter' in message ? problem(10163, 'parameters again') : null;
    const { encoding, compress, format } = part(iat, 'result');
    const isResult = encoding === 'utf8' && compress === 'raw' && format === 'json';
    const isKnown = iat['language'] === 'zh_cn' && iat['accent'] === 'mandarin';
    return isResult && isKnown && iat['domain'] === 'slm' ? null : problem(10139, 'iat');
  })();
  return { ...frame, problem: wrong };
}

function plainReply(result: object, isOver: boolean): object {
  return {
    ...{ code: 0, message: 'success', sid: 'iat000sim' },
    data: { status: isOver ? 2 : 1, result },
  };
}

function sparkReply(result: object, isOver: boolean): object {
  const text = Buffer.from(JSON.stringify(result), 'utf8').toString('base64');
  const status = isOver ? 2 : 1;
  return {
    header: { code: 0, message: 'success', sid: 'iat000sim', status },
    payload: {
      result: { compress: 'raw', encoding: 'utf8', format: 'json', status, seq: 1, text },
    },
  };
}

/** Words with the spaces before them; each character of Chinese is one. */
export function wordsOf(text: string): string[] {
  return text.match(/\p{Script=Han}|\s*[^\s\p{Script=Han}]+/gu) ?? [];
}
