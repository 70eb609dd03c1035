/** CosyVoice and its kin over the inference socket (providers.md 2.2): a task for a piece, the socket for many. */
import { randomUUID } from 'node:crypto';
import type { TtsProvider, TtsRequest } from '../contract.ts';
import { speakPieces } from '../piece-tts.ts';
import { SAMPLE_RATE_HZ } from '../rates.ts';
import { SpareSockets } from '../spare-sockets.ts';
import { numberOption, textOption, type VendorSettings, type VendorTools } from '../vendor.ts';
import { VoiceSocket, type VoiceLine, type VoiceProtocol } from '../voice-socket.ts';
import { gateOf, message, readEvent, type Gate } from './inference.ts';

const VENDOR = 'dashscope';
/** The vendor waits about 60 s between two tasks. */
const MAX_REST_MS = 40_000;
/** Of one message; Chinese characters count as two at the vendor's limit of 2,000. */
const MAX_CHARS = 900;
const RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

/** Errors: E_CONFIG. */
export function createDashscopeTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const gate = gateOf(settings);
  const wishHz = numberOption(settings, 'sample_rate', SAMPLE_RATE_HZ, [8_000, 48_000]);
  const rateHz = RATES.find((rate) => rate >= wishHz) ?? SAMPLE_RATE_HZ;
  const taskOf = taskReader(settings, rateHz);
  const open = async (signal: AbortSignal): Promise<Kept> => {
    const protocol = new Protocol(gate);
    const channel = {
      ...{ url: gate.url, headers: gate.headers ?? {} },
      ...(gate.refused === undefined ? {} : { refused: gate.refused }),
    };
    const socket: VoiceSocket = await VoiceSocket.open(
      {
        ...{ vendor: VENDOR, clock: tools.clock, channel, protocol, lasts: true },
        onDone: () => spares.giveBack(kept),
      },
      signal,
    );
    const kept: Kept = {
      ...{ socket, protocol },
      get isOpen() {
        return socket.isOpen;
      },
      close: () => socket.discard(),
    };
    return kept;
  };
  const spares = new SpareSockets<Kept>({
    // The one that is given back, and the one that was made ready meanwhile.
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS, keepAtMost: 2 },
    open,
  });
  return {
    vendor: VENDOR,
    speak: speakPieces({
      ...{ vendor: VENDOR, tools, rateHz, maxChars: MAX_CHARS },
      open: async (request, signal) => {
        const { socket, protocol } = await spares.take(signal);
        protocol.task = taskOf(request);
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

function taskReader(settings: VendorSettings, rateHz: number) {
  const model = settings.model ?? textOption(settings, 'model', 'cosyvoice-v2');
  const voice = settings.voice ?? textOption(settings, 'voice', 'longyumi_v2');
  const instruction = textOption(settings, 'instruction', '');
  const pitch = numberOption(settings, 'pitch', 1, [0.5, 2]);
  return (request: TtsRequest) => ({
    ...{ task_group: 'audio', task: 'tts', function: 'SpeechSynthesizer', model },
    parameters: {
      ...{
        text_type: 'PlainText',
        voice: request.voice ?? voice,
        format: 'pcm',
        sample_rate: rateHz,
      },
      volume: Math.round(Math.min(2, Math.max(0, settings.volume ?? 1)) * 50),
      rate: Math.min(2, Math.max(0.5, settings.speed ?? 1)),
      pitch,
      ...(instruction === '' ? {} : { instruction }),
    },
    input: {},
  });
}

class Protocol implements VoiceProtocol {
  readonly #gate: Gate;
  task: object = {};
  #taskId = '';
  /** Waits for the task's start. */
  #text: string | null = null;

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  /** A task is begun with each piece: the connection is all there is to wait for. */
  opened(line: VoiceLine): void {
    line.ready();
  }

  text(text: string, line: VoiceLine): void {
    const { name, taskId } = readEvent(text, this.#gate.setting);
    if (taskId !== this.#taskId) return; // of the task before
    if (name === 'task-started' && this.#text !== null) {
      line.send(message('continue-task', this.#taskId, { input: { text: this.#text } }));
      line.send(message('finish-task', this.#taskId, { input: {} }));
      this.#text = null;
    } else if (name === 'task-finished') line.said();
  }

  /** Before the start it is the end of the task before. */
  binary(data: Buffer, line: VoiceLine): void {
    if (this.#text === null) line.sound(data);
  }

  say(text: string, line: VoiceLine): void {
    this.#taskId = randomUUID();
    this.#text = text;
    line.send(message('run-task', this.#taskId, this.task));
  }
}
