/** MiniMax's voice over its WebSocket (providers.md 6.2): one task lasts for many pieces, each said as it is given. */
import type { TtsProvider, TtsRequest } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SAMPLE_RATE_HZ } from '../rates.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { brokenMessage, partOf, readJson, textIn, type Json } from '../vendor-json.ts';
import {
  credential,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { errorIn } from './errors.ts';

const VENDOR = 'minimax';
const RATES = [8_000, 16_000, 24_000, 32_000];
/** The vendor closes after 120 s of rest. */
const MAX_REST_MS = 100_000;
const MAX_CHARS = 1_000;

/** Errors: E_CONFIG. */
export function createMinimaxTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const url = urlOption(settings, 'url', 'wss://api.minimaxi.com/ws/v1/t2a_v2');
  const headers = { authorization: `Bearer ${credential(settings, 'api_key')}` };
  const wishHz = numberOption(settings, 'sample_rate', SAMPLE_RATE_HZ, [8_000, 32_000]);
  const rateHz = RATES.find((rate) => rate >= wishHz) ?? SAMPLE_RATE_HZ;
  const startOf = startReader(settings, rateHz);
  const open = (request: TtsRequest | null, signal: AbortSignal): Promise<VoiceSocket> =>
    VoiceSocket.open(
      {
        ...{ vendor: VENDOR, clock: tools.clock, channel: { url, headers }, lasts: true },
        protocol: new Protocol(startOf(request), settings.setting),
        // A task has one voice: only that of the account is worth keeping.
        ...(request === null ? { onDone: (socket) => spares.giveBack(keeper(socket)) } : {}),
      },
      signal,
    );
  const spares = new SpareSockets<Kept>({
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS },
    open: async (signal) => keeper(await open(null, signal)),
  });
  const own = startOf(null).voice_setting.voice_id;
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz, maxChars: MAX_CHARS },
      open: async (request, signal) => {
        const isOwn = request.voice === undefined || request.voice === own;
        return isOwn ? (await spares.take(signal)).socket : open(request, signal);
      },
    }),
    warm: () => spares.warm(),
    close: () => spares.close(),
  };
}

type Kept = { readonly socket: VoiceSocket; readonly isOpen: boolean; close(): void };

function keeper(socket: VoiceSocket): Kept {
  return {
    socket,
    get isOpen() {
      return socket.isOpen;
    },
    close: () => socket.discard(),
  };
}

function startReader(settings: VendorSettings, rateHz: number) {
  const model = settings.model ?? textOption(settings, 'model', 'speech-2.8-turbo');
  const voice = settings.voice ?? textOption(settings, 'voice', 'female-shaonv');
  const boost = textOption(settings, 'language_boost', '');
  const emotion = textOption(settings, 'emotion', '');
  return (request: TtsRequest | null) => ({
    event: 'task_start',
    model,
    voice_setting: {
      voice_id: request?.voice ?? voice,
      speed: Math.min(2, Math.max(0.5, settings.speed ?? 1)),
      vol: Math.min(10, Math.max(0.1, settings.volume ?? 1)),
      pitch: numberOption(settings, 'pitch', 0, [-12, 12]),
      ...(emotion === '' ? {} : { emotion }),
    },
    audio_setting: { sample_rate: rateHz, format: 'pcm', channel: 1 },
    ...(boost === '' ? {} : { language_boost: boost }),
  });
}

class Protocol implements VoiceProtocol {
  readonly #start: object;
  readonly #setting: string;

  constructor(start: object, setting: string) {
    this.#start = start;
    this.#setting = setting;
  }

  opened(): void {
    // The vendor speaks first.
  }

  text(text: string, line: VoiceLine): void {
    const message = readJson(VENDOR, text);
    const error = errorIn(message, this.#setting);
    if (error !== null) throw error;
    switch (textIn(message, 'event')) {
      case 'connected_success':
        return line.send(JSON.stringify(this.#start));
      case 'task_started':
        return line.ready();
      case 'task_continued':
        return continued(message, line);
      case 'task_failed':
        throw brokenMessage(VENDOR, 'the task failed');
      case 'task_finished':
        throw brokenMessage(VENDOR, 'the vendor ended the task by itself');
      default:
      // Events of later versions.
    }
  }

  say(text: string, line: VoiceLine): void {
    line.send(JSON.stringify({ event: 'task_continue', text }));
  }

  leave(line: VoiceLine): void {
    line.send('{"event":"task_finish"}');
  }
}

/** The last message must not bring the whole sound again: where it does, it is what has been heard. */
function continued(message: Json, line: VoiceLine): void {
  const hex = textIn(partOf(message, 'data'), 'audio');
  if (!/^(?:[0-9a-f]{2})*$/i.test(hex))
    throw brokenMessage(VENDOR, 'sound that is not hexadecimal');
  const isLast = message['is_final'] === true;
  const isWhole = isLast && partOf(message, 'data')['status'] === 2;
  if (hex !== '' && !isWhole) line.sound(Buffer.from(hex, 'hex'));
  if (isLast) line.said();
}
