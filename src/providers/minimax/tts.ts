/** MiniMax's voice: over its WebSockets, where one task lasts for many pieces, or by HTTP (providers.md section 6). */
import type { TtsProvider, TtsRequest } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { brokenMessage, partOf, readJson, textIn, type Json } from '../vendor-json.ts';
import {
  choiceOption,
  credential,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { errorIn, refusal } from './errors.ts';
import { HeardSound } from './heard.ts';
import { httpSession } from './http.ts';
import { minimaxVoice, VENDOR, withGroup, type MinimaxVoice } from './settings.ts';

const HOST = 'api.minimaxi.com';
/** The vendor closes after 120 s of rest. */
const MAX_REST_MS = 100_000;
const MAX_CHARS = 1_000;
/** Tasks that rest: what one call says with, and a spare; of a second call. */
const MAX_KEPT = 4;

/** Errors: E_CONFIG. */
export function createMinimaxTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const protocol = choiceOption(settings, 'protocol', ['websocket', 'bidirectional', 'http']);
  const voice = minimaxVoice(settings);
  if (protocol === 'http') return overHttp(settings, tools, voice);
  return overSocket(settings, tools, voice, protocol === 'bidirectional');
}

function overHttp(settings: VendorSettings, tools: VendorTools, voice: MinimaxVoice): TtsProvider {
  const url = urlOption(settings, 'url', `https://${HOST}/v1/t2a_v2`, ['https', 'http']);
  const service = {
    ...{ url: withGroup(settings, url), apiKey: credential(settings, 'api_key') },
    ...{ setting: settings.setting, clock: tools.clock },
  };
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz: voice.rateHz, maxChars: MAX_CHARS },
      open: (request) => Promise.resolve(httpSession(service, voice.settingsFor(request))),
    }),
  };
}

function overSocket(
  settings: VendorSettings,
  tools: VendorTools,
  voice: MinimaxVoice,
  isTwoWay: boolean,
): TtsProvider {
  const { setting } = settings;
  const path = isTwoWay ? 't2a_v2_bidi' : 't2a_v2';
  const url = urlOption(settings, 'url', `wss://${HOST}/ws/v1/${path}`);
  const channel = {
    url: withGroup(settings, url),
    headers: { authorization: `Bearer ${credential(settings, 'api_key')}` },
    refused: (status: number) => refusal(status, setting),
  };
  const open = (request: TtsRequest | null, signal: AbortSignal): Promise<VoiceSocket> => {
    const start = { event: 'task_start', ...voice.settingsFor(request) };
    return VoiceSocket.open(
      {
        ...{ vendor: VENDOR, clock: tools.clock, channel, lasts: true },
        protocol: isTwoWay ? new TwoWay(start, setting) : new OneWay(start, setting),
        // A task has one voice: only that of the account is worth keeping.
        ...(request === null ? { onDone: (socket) => spares.giveBack(keeper(socket)) } : {}),
      },
      signal,
    );
  };
  const spares = new SpareSockets<Kept>({
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS, keepAtMost: MAX_KEPT },
    open: async (signal) => keeper(await open(null, signal)),
  });
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz: voice.rateHz, maxChars: MAX_CHARS },
      open: async (request, signal) => {
        const isOwn = request.voice === undefined || request.voice === voice.voiceId;
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

/** `/ws/v1/t2a_v2`: each text is said as it is given. It cannot be cancelled: the connection is closed instead. */
class OneWay implements VoiceProtocol {
  readonly #start: object;
  readonly #setting: string;
  protected readonly heard = new HeardSound();

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
    const event = textIn(message, 'event');
    if (event === 'connected_success') line.send(JSON.stringify(this.#start));
    else if (event === 'task_started') line.ready();
    else if (event === 'task_continued') this.continued(message, line);
    else if (event === 'task_failed') throw brokenMessage(VENDOR, 'the task failed');
    else if (event === 'task_finished') {
      throw brokenMessage(VENDOR, 'the vendor ended the task by itself');
    } else this.other(event, line);
  }

  say(text: string, line: VoiceLine): void {
    this.heard.reset();
    line.send(JSON.stringify({ event: 'task_continue', text }));
  }

  leave(line: VoiceLine): void {
    line.send('{"event":"task_finish"}');
  }

  protected continued(message: Json, line: VoiceLine): void {
    if (this.sound(message, line)) line.said();
  }

  /** Events of later versions pass. */
  protected other(_event: string, _line: VoiceLine): void {
    // Nothing to do.
  }

  /** Gives out what is new; whether it was the last of its text. */
  protected sound(message: Json, line: VoiceLine): boolean {
    const data = partOf(message, 'data');
    const isLast = message['is_final'] === true || data['status'] === 2;
    line.sound(this.heard.take(textIn(data, 'audio'), isLast));
    return isLast;
  }
}

/** `/ws/v1/t2a_v2_bidi`: the vendor cuts sentences; a text is over when what was flushed is, and can be cancelled. */
class TwoWay extends OneWay implements VoiceProtocol {
  override say(text: string, line: VoiceLine): void {
    super.say(text, line);
    line.send('{"event":"task_flush"}');
  }

  cancel(line: VoiceLine): void {
    line.send('{"event":"task_cancel"}');
  }

  protected override continued(message: Json, line: VoiceLine): void {
    if (this.sound(message, line)) this.heard.reset();
  }

  protected override other(event: string, line: VoiceLine): void {
    if (event === 'sentence_start') this.heard.reset();
    else if (event === 'task_flushed') line.said();
    else if (event === 'task_canceled') line.cancelled();
  }
}
