/** iFlytek's voices (providers.md 3.5): the whole text of a piece in one message, one connection for each. */
import type { TtsProvider, TtsRequest } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SAMPLE_RATE_HZ } from '../rates.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { brokenMessage, numberIn, partOf, readJson, textIn, type Json } from '../vendor-json.ts';
import {
  choiceOption,
  credential,
  flagOption,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { iflytekError, refusal } from './errors.ts';
import { signedUrl } from './signature.ts';

const VENDOR = 'iflytek';
/** The vendor takes 8,000 bytes before base64: a Chinese character is three. */
const MAX_CHARS = 2_000;
/** The vendor waits 10 s for the first message. */
const MAX_REST_MS = 7_000;

type Dialect = {
  readonly url: string;
  message(text: string, voice: string): object;
  read(message: Json): {
    readonly number: number;
    readonly said: string;
    readonly audio: string;
    readonly seq: number | null;
    readonly isLast: boolean;
  };
};

/** Errors: E_CONFIG. */
export function createIflytekTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const { setting } = settings;
  const key = {
    apiKey: credential(settings, 'api_key'),
    apiSecret: credential(settings, 'api_secret'),
  };
  const isOral =
    choiceOption(settings, 'voice_kind', ['standard', 'super_humanoid']) === 'super_humanoid';
  const wishHz = numberOption(settings, 'sample_rate', SAMPLE_RATE_HZ, [8_000, 24_000]);
  const rateHz = wishHz > 16_000 && isOral ? 24_000 : wishHz > 8_000 ? 16_000 : 8_000;
  const dialect = isOral ? oralDialect(settings, rateHz) : standardDialect(settings, rateHz);
  const standard = isOral ? 'x4_lingxiaoxuan_oral' : 'xiaoyan';
  const voice = settings.voice ?? textOption(settings, 'voice', standard);
  const open = async (signal: AbortSignal): Promise<Kept> => {
    const protocol = new Protocol(dialect, setting);
    const channel = {
      url: signedUrl(dialect.url, key, tools.clock.wallMs()),
      refused: (status: number, body: string, { date }: { readonly date?: string | undefined }) =>
        refusal({ status, body, date }, setting, tools.clock.wallMs()),
    };
    const made = { vendor: VENDOR, clock: tools.clock, channel, protocol, lasts: false };
    const socket = await VoiceSocket.open(made, signal);
    return {
      ...{ socket, protocol },
      get isOpen() {
        return socket.isOpen;
      },
      close: () => socket.close(),
    };
  };
  const spares = new SpareSockets<Kept>({
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS },
    open,
  });
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz, maxChars: MAX_CHARS },
      open: async ({ voice: wished }: TtsRequest, signal) => {
        const { socket, protocol } = await spares.take(signal);
        protocol.voice = wished ?? voice;
        return socket;
      },
    }),
    warm: () => spares.warm(),
    close: () => spares.close(),
  };
}

type Kept = {
  readonly socket: VoiceSocket;
  readonly protocol: Protocol;
  readonly isOpen: boolean;
  close(): void;
};

/** 0.5 to 2 times as fast (or as loud) is 0 to 100, 50 the voice's own. */
function dialOf(share: number | null): number {
  const value = share ?? 1;
  return Math.round(
    Math.min(100, Math.max(0, value <= 1 ? (value - 0.5) * 100 : 50 + (value - 1) * 50)),
  );
}

function standardDialect(settings: VendorSettings, rateHz: number): Dialect {
  const appId = credential(settings, 'app_id');
  const pitch = numberOption(settings, 'pitch', 50, [0, 100]);
  const loud = Math.round(Math.min(2, Math.max(0, settings.volume ?? 1)) * 50);
  return {
    url: urlOption(settings, 'url', 'wss://tts-api.xfyun.cn/v2/tts'),
    message: (text, vcn) => ({
      common: { app_id: appId },
      business: {
        ...{ aue: 'raw', auf: `audio/L16;rate=${rateHz}`, vcn, tte: 'UTF8', pitch },
        ...{ speed: dialOf(settings.speed), volume: loud },
      },
      data: { status: 2, text: Buffer.from(text, 'utf8').toString('base64') },
    }),
    read: (message) => {
      const data = partOf(message, 'data');
      return {
        number: numberIn(message, 'code') ?? 0,
        said: textIn(message, 'message'),
        audio: textIn(data, 'audio'),
        seq: null,
        isLast: data['status'] === 2,
      };
    },
  };
}

function oralDialect(settings: VendorSettings, rateHz: number): Dialect {
  const appId = credential(settings, 'app_id');
  const oral = {
    oral_level: choiceOption(settings, 'oral_level', ['mid', 'low', 'high']),
    ...{ spark_assist: 1, stop_split: 0 },
    // 1: not a word that is not in the text.
    remain: flagOption(settings, 'keep_words', true) ? 1 : 0,
  };
  const pitch = numberOption(settings, 'pitch', 50, [0, 100]);
  const loud = Math.round(Math.min(2, Math.max(0, settings.volume ?? 1)) * 50);
  const shape = { encoding: 'raw', sample_rate: rateHz, channels: 1, bit_depth: 16, frame_size: 0 };
  const plain = { encoding: 'utf8', compress: 'raw', format: 'plain' };
  return {
    // The path depends on the product that was granted.
    url: urlOption(settings, 'url', 'wss://cbm01.cn-huabei-1.xf-yun.com/v1/private/mcd9m97e6'),
    message: (text, vcn) => ({
      header: { app_id: appId, status: 2 },
      parameter: {
        // Only voices of this family take it.
        ...(/^x4_/.test(vcn) ? { oral } : {}),
        tts: {
          ...{ vcn, speed: dialOf(settings.speed), volume: loud, pitch },
          ...{ bgs: 0, reg: 0, rdn: 0, rhy: 0, audio: shape },
        },
      },
      payload: {
        text: { ...plain, status: 2, seq: 0, text: Buffer.from(text, 'utf8').toString('base64') },
      },
    }),
    read: (message) => {
      const header = partOf(message, 'header');
      const audio = partOf(partOf(message, 'payload'), 'audio');
      return {
        number: numberIn(header, 'code') ?? 0,
        said: textIn(header, 'message'),
        audio: textIn(audio, 'audio'),
        seq: numberIn(audio, 'seq'),
        isLast: header['status'] === 2 || audio['status'] === 2,
      };
    },
  };
}

/** Sound that came before its turn, at most. */
const MAX_EARLY = 64;

class Protocol implements VoiceProtocol {
  readonly #dialect: Dialect;
  readonly #setting: string;
  /** Sound by its number: the vendor may mix up the order. */
  readonly #early = new Map<number, Buffer>();
  #next: number | null = null;
  #lastSeq: number | null = null;
  voice = '';

  constructor(dialect: Dialect, setting: string) {
    this.#dialect = dialect;
    this.#setting = setting;
  }

  opened(line: VoiceLine): void {
    line.ready();
  }

  say(text: string, line: VoiceLine): void {
    line.send(JSON.stringify(this.#dialect.message(text, this.voice)));
  }

  text(text: string, line: VoiceLine): void {
    const { number, said, audio, seq, isLast } = this.#dialect.read(readJson(VENDOR, text));
    if (number !== 0) throw iflytekError(number, said, this.#setting);
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(audio))
      throw brokenMessage(VENDOR, 'sound that is not base64');
    const bytes = Buffer.from(audio, 'base64');
    if (seq === null) {
      line.sound(bytes);
      if (isLast) line.said();
      return;
    }
    if (isLast) this.#lastSeq = seq;
    this.#inOrder(seq, bytes, line);
  }

  #inOrder(seq: number, bytes: Buffer, line: VoiceLine): void {
    if (this.#next !== null && seq < this.#next) return; // told twice
    this.#early.set(seq, bytes);
    if (this.#early.size > MAX_EARLY) throw brokenMessage(VENDOR, 'sound with a gap');
    // Numbers begin with 0, or with 1 as some products have it: then the second message tells.
    if (this.#next === null && seq > 0 && this.#early.size < 2 && this.#lastSeq === null) return;
    this.#next ??= Math.min(1, ...this.#early.keys());
    for (
      let due = this.#early.get(this.#next);
      due !== undefined;
      due = this.#early.get(this.#next)
    ) {
      this.#early.delete(this.#next);
      line.sound(due);
      if (this.#next === this.#lastSeq) line.said();
      this.#next += 1;
    }
  }
}
