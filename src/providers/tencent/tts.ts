/** Tencent's flowing voice (providers.md 4.2): one signed connection for a piece, the next one open already. */
import { randomUUID } from 'node:crypto';
import { AppError } from '#lib/errors.ts';
import { SubtitleMarks, type Subtitle } from '../aliyun/subtitles.ts';
import type { TtsProvider, WordMark } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SAMPLE_RATE_HZ } from '../rates.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { brokenMessage, numberIn, partOf, readJson, type Json } from '../vendor-json.ts';
import {
  credential,
  flagOption,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { assertWell, refusal, VENDOR } from './errors.ts';
import { signatureOf, signedQuery, textToSign, type Parameters } from './signature.ts';

const ADDRESS = 'tts.cloud.tencent.com/stream_wsv2';
const VALID_S = 86_400;
/** The vendor waits ten minutes for text; a spare need not. */
const MAX_REST_MS = 5 * 60_000;
/** Of one piece; the vendor takes 10,000 in a session. */
const MAX_CHARS = 500;

type Voice = {
  readonly tools: VendorTools;
  readonly setting: string;
  readonly url: string;
  /** Host and path as the vendor knows itself, whatever way leads there. */
  readonly signedAddress: string;
  readonly secretKey: string;
  readonly rateHz: 8_000 | 16_000 | 24_000;
  readonly parameters: Parameters;
};

/** Errors: E_CONFIG. */
export function createTencentTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const wishHz = numberOption(settings, 'sample_rate', SAMPLE_RATE_HZ, [8_000, 24_000]);
  const rateHz = wishHz > 16_000 ? 24_000 : wishHz > 8_000 ? 16_000 : 8_000;
  const voiceOf = (name: string | undefined): Voice => ({
    ...{ tools, setting: settings.setting, rateHz },
    url: urlOption(settings, 'url', `wss://${ADDRESS}`),
    signedAddress: textOption(settings, 'signed_address', ADDRESS),
    secretKey: credential(settings, 'secret_key'),
    parameters: parametersOf(
      settings,
      rateHz,
      name ?? settings.voice ?? textOption(settings, 'voice', '101001'),
    ),
  });
  const own = voiceOf(undefined);
  // Voice and speed are in the address: a spare is for the one voice only.
  const spares = new SpareSockets<VoiceSocket>({
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS },
    // They count among the account's connections, too: a small account may want none.
    keep: numberOption(settings, 'spare_connections', 1, [0, 4]),
    open: (signal) => open(own, signal),
  });
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz, maxChars: MAX_CHARS },
      open: ({ voice }, signal) => {
        const isOwn = voice === undefined || voice === String(own.parameters['VoiceType']);
        return isOwn ? spares.take(signal) : open(voiceOf(voice), signal);
      },
    }),
    warm: () => spares.warm(),
    close: () => spares.close(),
  };
}

function open(voice: Voice, signal: AbortSignal): Promise<VoiceSocket> {
  const { tools, setting, parameters, url, signedAddress, secretKey } = voice;
  const id = randomUUID();
  const nowS = Math.floor(tools.clock.wallMs() / 1000);
  const all = { ...parameters, SessionId: id, Timestamp: nowS, Expired: nowS + VALID_S };
  const signature = signatureOf(textToSign(signedAddress, all, 'GET'), secretKey);
  const channel = {
    url: `${url}?${signedQuery(all, 'Signature', signature)}`,
    refused: (status: number) => refusal(status, setting),
  };
  const made = { vendor: VENDOR, clock: tools.clock, channel, lasts: false };
  return VoiceSocket.open({ ...made, protocol: new Protocol(setting, id) }, signal);
}

function parametersOf(settings: VendorSettings, rateHz: number, voice: string): Parameters {
  if (!/^\d{1,10}$/.test(voice)) {
    throw new AppError(
      'E_CONFIG',
      `${settings.setting}: a voice is a number (VoiceType), not "${voice}"`,
    );
  }
  const appId = credential(settings, 'app_id');
  if (!/^\d+$/.test(appId)) {
    throw new AppError('E_CONFIG', `${settings.setting}: credentials.app_id is not a number`);
  }
  const emotion = textOption(settings, 'emotion_category', '');
  return {
    ...{
      Action: 'TextToStreamAudioWSv2',
      AppId: Number(appId),
      SecretId: credential(settings, 'secret_id'),
    },
    ...{ ModelType: 1, VoiceType: Number(voice), Codec: 'pcm', SampleRate: rateHz },
    Speed: speedOf(settings.speed ?? 1),
    Volume: Math.round((Math.min(2, Math.max(0, settings.volume ?? 1)) - 1) * 10),
    EnableSubtitle: flagOption(settings, 'enable_subtitle', true) ? 'True' : 'False',
    ...(emotion === '' ? {} : { EmotionCategory: emotion }),
    ...(emotion === ''
      ? {}
      : { EmotionIntensity: numberOption(settings, 'emotion_intensity', 100, [50, 200]) }),
  };
}

/** 0.6 to 1.5 times as fast is -2 to 2 and 2.5 times 6, linear between (providers.md 4.2). */
export function speedOf(speed: number): number {
  const wanted =
    speed < 1 ? (speed - 1) / 0.2 : speed <= 1.5 ? (speed - 1) / 0.25 : 2 + (speed - 1.5) * 4;
  return Number(Math.min(6, Math.max(-2, wanted)).toFixed(2));
}

/** One connection: ready, a text, its sound, the end. */
class Protocol implements VoiceProtocol {
  readonly #setting: string;
  readonly #sessionId: string;
  #subtitles: SubtitleMarks | null = null;
  #marks: WordMark[] = [];
  /** A text was given, and its end has not come. */
  #isSaying = false;

  constructor(setting: string, sessionId: string) {
    this.#setting = setting;
    this.#sessionId = sessionId;
  }

  opened(): void {
    // The vendor says when it is ready.
  }

  text(text: string, line: VoiceLine): void {
    const message = readJson(VENDOR, text);
    assertWell(message, this.#setting);
    if (numberIn(message, 'ready') === 1) line.ready();
    const { subtitles } = partOf(message, 'result');
    if (Array.isArray(subtitles) && this.#subtitles !== null) {
      this.#marks = [...this.#marks, ...this.#subtitles.take(readSubtitles(subtitles))];
      line.marks(this.#marks);
    }
    if (numberIn(message, 'final') !== 1) return;
    if (!this.#isSaying) throw brokenMessage(VENDOR, 'the vendor ended the session by itself');
    this.#isSaying = false;
    line.said();
  }

  binary(data: Buffer, line: VoiceLine): void {
    line.sound(data);
  }

  say(text: string, line: VoiceLine): void {
    this.#subtitles = new SubtitleMarks(text);
    this.#isSaying = true;
    line.send(this.#action('ACTION_SYNTHESIS', text));
    // Without it the vendor waits for the rest of a sentence that has no full stop.
    line.send(this.#action('ACTION_COMPLETE', ''));
  }

  leave(line: VoiceLine): void {
    if (this.#isSaying) line.send(this.#action('ACTION_RESET', ''));
  }

  #action(action: string, data: string): string {
    const ids = { session_id: this.#sessionId, message_id: randomUUID() };
    return JSON.stringify({ ...ids, action, data });
  }
}

/** The vendor's words and their times; what has another form is left out. */
function readSubtitles(list: readonly unknown[]): Subtitle[] {
  return list.flatMap((each) => {
    const { Text: text, BeginTime: beginMs, EndTime: endMs } = (each ?? {}) as Json;
    if (typeof text !== 'string' || text.trim() === '') return [];
    if (typeof beginMs !== 'number' || typeof endMs !== 'number' || endMs < beginMs) return [];
    return [{ text, beginMs, endMs }];
  });
}
