/** Qwen-TTS over the realtime socket (providers.md 2.3): 24 kHz, base64, one session and one connection for each piece. */
import type { TtsProvider } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { brokenMessage, partOf, readJson, textIn } from '../vendor-json.ts';
import { textOption, type VendorSettings, type VendorTools } from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { gateOf, vendorError } from './inference.ts';

const VENDOR = 'dashscope';
const RATE_HZ = 24_000;
const REALTIME_URL = 'wss://dashscope.aliyuncs.com/api-ws/v1/realtime';
/** The page names no limit of a message; this is well below that of CosyVoice. */
const MAX_CHARS = 900;
/** The page names no idle time of a session. */
const MAX_REST_MS = 20_000;

/** Errors: E_CONFIG. */
export function createQwenTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const gate = gateOf(settings, 'realtime_url', REALTIME_URL);
  const model = settings.model ?? textOption(settings, 'model', 'qwen3-tts-flash-realtime');
  const voice = settings.voice ?? textOption(settings, 'voice', 'Cherry');
  const languageType = textOption(settings, 'language_type', 'Auto');
  const open = (named: string, signal: AbortSignal): Promise<VoiceSocket> => {
    const session = {
      ...{ mode: 'server_commit', voice: named, response_format: 'pcm', sample_rate: RATE_HZ },
      language_type: languageType,
    };
    const channel = {
      url: `${gate.url}?model=${encodeURIComponent(model)}`,
      headers: gate.headers ?? {},
      ...(gate.refused === undefined ? {} : { refused: gate.refused }),
    };
    const protocol = new Protocol(session, gate.setting);
    const made = { vendor: VENDOR, clock: tools.clock, channel, protocol, lasts: false };
    return VoiceSocket.open(made, signal);
  };
  const spares = new SpareSockets<VoiceSocket>({
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS },
    open: (signal) => open(voice, signal),
  });
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz: RATE_HZ, maxChars: MAX_CHARS },
      // A session has one voice from its start.
      open: ({ voice: wished = voice }, signal) =>
        wished === voice ? spares.take(signal) : open(wished, signal),
    }),
    warm: () => spares.warm(),
    close: () => spares.close(),
  };
}

class Protocol implements VoiceProtocol {
  readonly #session: object;
  readonly #setting: string;
  #count = 0;

  constructor(session: object, setting: string) {
    this.#session = session;
    this.#setting = setting;
  }

  /** The vendor speaks first. */
  opened(): void {
    this.#count = 0;
  }

  text(text: string, line: VoiceLine): void {
    const event = readJson(VENDOR, text);
    const type = textIn(event, 'type');
    if (type === 'session.created') this.#say(line, 'session.update', { session: this.#session });
    else if (type === 'session.updated') line.ready();
    else if (type === 'response.audio.delta') line.sound(soundIn(textIn(event, 'delta')));
    // The vendor cuts a text into responses as it likes: only the session's end is the end.
    else if (type === 'session.finished') line.said();
    else if (type === 'error') {
      const error = partOf(event, 'error');
      throw vendorError(textIn(error, 'code'), textIn(error, 'message'), this.#setting);
    }
  }

  binary(): void {
    throw brokenMessage(VENDOR, 'binary data where text belongs');
  }

  say(text: string, line: VoiceLine): void {
    this.#say(line, 'input_text_buffer.append', { text });
    this.#say(line, 'session.finish', {});
  }

  #say(line: VoiceLine, type: string, more: object): void {
    this.#count += 1;
    line.send(JSON.stringify({ event_id: `event_${this.#count}`, type, ...more }));
  }
}

function soundIn(base64: string): Buffer {
  if (/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) return Buffer.from(base64, 'base64');
  throw brokenMessage(VENDOR, 'sound that is not base64');
}
