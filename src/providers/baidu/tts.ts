/** Baidu's streaming voice (providers.md 5.2): one connection for a piece, the next one started already. */
import { AppError, type ErrorCode } from '#lib/errors.ts';
import type { TtsProvider, TtsRequest } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SAMPLE_RATE_HZ } from '../rates.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { brokenMessage, numberIn, readJson, textIn, type Json } from '../vendor-json.ts';
import {
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { createBaiduAccess, refusal, VENDOR } from './access.ts';

const URL_TTS = 'wss://aip.baidubce.com/ws/2.0/speech/publiccloudspeech/v1/tts';
const MAX_REST_MS = 40_000;
const MAX_CHARS = 1_000;
/** `aue`: 5 is PCM of 8 kHz, 4 of 16 or 24 kHz. */
const PCM_8K = 5;
const PCM = 4;

/** Errors: E_CONFIG. */
export function createBaiduTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const { setting } = settings;
  const url = urlOption(settings, 'url', URL_TTS);
  const access = createBaiduAccess(settings, tools);
  const voice = settings.voice ?? textOption(settings, 'voice', '0');
  const wishHz = numberOption(settings, 'sample_rate', SAMPLE_RATE_HZ, [8_000, 24_000]);
  const rateHz = wishHz > 16_000 ? 24_000 : wishHz > 8_000 ? 16_000 : 8_000;
  const start = startOf(settings, rateHz);
  const connect = (name: string, signal: AbortSignal): Promise<VoiceSocket> =>
    access.enter(({ query, headers }) => {
      const channel = {
        ...{ url: `${url}?${new URLSearchParams({ per: name, ...query }).toString()}`, headers },
        refused: (status: number, body: string) => refusal(status, body, setting),
      };
      const made = { vendor: VENDOR, clock: tools.clock, channel, lasts: false };
      return VoiceSocket.open({ ...made, protocol: new Protocol(start, setting) }, signal);
    }, signal);
  const spares = new SpareSockets<VoiceSocket>({
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS },
    open: (signal) => connect(voice, signal),
  });
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz, maxChars: MAX_CHARS },
      open: ({ voice: wished }: TtsRequest, signal) =>
        wished === undefined || wished === voice ? spares.take(signal) : connect(wished, signal),
    }),
    warm: () => spares.warm(),
    close: () => spares.close(),
  };
}

function startOf(settings: VendorSettings, rateHz: number): string {
  const scale = (share: number): number => Math.round(Math.min(15, Math.max(0, share * 5)));
  const payload = {
    ...{ spd: scale(settings.speed ?? 1), vol: scale(settings.volume ?? 1) },
    pit: numberOption(settings, 'pitch', 5, [0, 15]),
    aue: rateHz === 8_000 ? PCM_8K : PCM,
    audio_ctrl: JSON.stringify({ sampling_rate: rateHz }),
  };
  return JSON.stringify({ type: 'system.start', payload });
}

class Protocol implements VoiceProtocol {
  readonly #start: string;
  readonly #setting: string;
  #hasText = false;

  constructor(start: string, setting: string) {
    this.#start = start;
    this.#setting = setting;
  }

  opened(line: VoiceLine): void {
    line.send(this.#start);
  }

  text(text: string, line: VoiceLine): void {
    const message = readJson(VENDOR, text);
    const type = textIn(message, 'type');
    const number = numberOf(message);
    if (number !== 0) throw told(number, message, this.#setting);
    if (type === 'system.started') line.ready();
    else if (type === 'system.finished') {
      if (!this.#hasText) throw brokenMessage(VENDOR, 'the vendor ended the session by itself');
      line.said();
    } else if (type === 'system.error') throw brokenMessage(VENDOR, saidIn(message));
  }

  binary(data: Buffer, line: VoiceLine): void {
    line.sound(data);
  }

  say(text: string, line: VoiceLine): void {
    this.#hasText = true;
    line.send(JSON.stringify({ type: 'text', payload: { text } }));
    line.send('{"type":"system.finish"}');
  }
}

/** Of its services each has a name of its own for it. */
function numberOf(message: Json): number {
  const names = ['code', 'error_code', 'err_no'];
  return names.map((name) => numberIn(message, name) ?? 0).find((number) => number !== 0) ?? 0;
}

function saidIn(message: Json): string {
  const texts = ['message', 'error_msg', 'err_msg'].map((name) => textIn(message, name));
  return (texts.find(Boolean) ?? 'it gives no reason').slice(0, 160);
}

/** Those of the vendor's other speech services, where the page of this one has none (providers.md 5.2). */
const CODES: Readonly<Record<number, ErrorCode>> = {
  110: 'E_PROVIDER_AUTH',
  111: 'E_PROVIDER_AUTH',
  502: 'E_PROVIDER_AUTH',
  501: 'E_PROVIDER_PARAM',
  513: 'E_PROVIDER_PARAM',
  276_001: 'E_PROVIDER_QUOTA',
};

function told(number: number, message: Json, setting: string): AppError {
  const code = CODES[number] ?? 'E_PROVIDER_SERVER';
  const key = `${setting}: credentials api_key or secret_key are refused`;
  const said = code === 'E_PROVIDER_AUTH' ? key : saidIn(message);
  return new AppError(code, `baidu: ${number} (${said})`, {
    details: { vendor: VENDOR, vendorCode: String(number) },
  });
}
