/** Baidu's streaming voice (providers.md 5.2): one connection for a piece, the next one started already. */
import { AppError } from '#lib/errors.ts';
import type { TtsProvider, TtsRequest } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { brokenMessage, numberIn, readJson, textIn, type Json } from '../vendor-json.ts';
import {
  credential,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { createBaiduTokens } from './token.ts';

const VENDOR = 'baidu';
const URL_TTS = 'wss://aip.baidubce.com/ws/2.0/speech/publiccloudspeech/v1/tts';
const URL_TOKEN = 'https://aip.baidubce.com/oauth/2.0/token';
const MAX_REST_MS = 40_000;
const MAX_CHARS = 1_000;
/** `aue`: 5 is PCM of 8 kHz, 4 of 16 or 24 kHz. */
const PCM_8K = 5;
const PCM = 4;

/** Errors: E_CONFIG. */
export function createBaiduTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const { setting, credentials } = settings;
  const url = urlOption(settings, 'url', URL_TTS);
  const apiKey = credential(settings, 'api_key');
  // Newer keys are shown as they are; older ones come with a secret, for which there is a token.
  const secretKey = credentials['secret_key'] ?? '';
  const tokenUrl = urlOption(settings, 'token_url', URL_TOKEN, ['https', 'http']);
  const tokens =
    secretKey === ''
      ? null
      : createBaiduTokens({ url: tokenUrl, apiKey, secretKey, setting, clock: tools.clock });
  const voice = settings.voice ?? textOption(settings, 'voice', '0');
  const rateHz =
    numberOption(settings, 'sample_rate', 8_000, [8_000, 24_000]) > 8_000 ? 16_000 : 8_000;
  const start = startOf(settings, rateHz);
  const connect = async (
    name: string,
    signal: AbortSignal,
    refused?: string,
  ): Promise<VoiceSocket> => {
    const token = await tokens?.get(refused);
    const query = new URLSearchParams({
      per: name,
      ...(token === undefined ? {} : { access_token: token }),
    });
    const headers = token === undefined ? { authorization: `Bearer ${apiKey}` } : {};
    const channel = {
      ...{ url: `${url}?${query.toString()}`, headers },
      refused: (status: number, body: string) => refusal(status, body, setting),
    };
    const made = { vendor: VENDOR, clock: tools.clock, channel, lasts: false };
    try {
      return await VoiceSocket.open({ ...made, protocol: new Protocol(start, setting) }, signal);
    } catch (error) {
      const isOld = error instanceof AppError && error.code === 'E_PROVIDER_AUTH';
      if (!isOld || token === undefined || refused !== undefined) throw error;
      return connect(name, signal, token);
    }
  };
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
    const number = numberIn(message, 'code') ?? 0;
    if (number !== 0) throw told(number, message, this.#setting);
    if (type === 'system.started') line.ready();
    else if (type === 'system.finished' && this.#hasText) line.said();
    else if (type === 'system.error')
      throw brokenMessage(VENDOR, textIn(message, 'message').slice(0, 160));
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

function told(number: number, message: Json, setting: string): AppError {
  const isKey = number === 110 || number === 111 || number === 502;
  const isQuota = number === 276_001;
  const code = isKey ? 'E_PROVIDER_AUTH' : isQuota ? 'E_PROVIDER_QUOTA' : 'E_PROVIDER_SERVER';
  const said = isKey
    ? `${setting}: credentials.api_key is refused`
    : textIn(message, 'message').slice(0, 160);
  return new AppError(code, `baidu: ${number} (${said})`, {
    details: { vendor: VENDOR, vendorCode: String(number) },
  });
}

/** The reason of a refused handshake is in its body (providers.md 12.5). */
function refusal(status: number, body: string, setting: string): AppError {
  const details = { vendor: VENDOR, status, ...vendorCodeIn(body) };
  if (status === 401 || status === 403) {
    const what = `${setting}: credentials api_key or secret_key are refused (${status})`;
    return new AppError('E_PROVIDER_AUTH', `baidu: ${what}`, { details });
  }
  const code =
    status === 429 ? 'E_PROVIDER_QUOTA' : status < 500 ? 'E_PROVIDER_PARAM' : 'E_PROVIDER_SERVER';
  return new AppError(code, `baidu: the voice refused the connection with ${status}`, { details });
}

function vendorCodeIn(body: string): { vendorCode?: string } {
  const code = /"(?:code|error_code)"\s*:\s*"?(-?\d+)/.exec(body)?.[1];
  return code === undefined ? {} : { vendorCode: code };
}
