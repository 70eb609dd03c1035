/** What all services of the simulated MiniMax share: settings, a connection, and what a voice may be (providers.md section 6). */
import type { WebSocket } from 'ws';
import type { Clock } from '#lib/clock.ts';
import type { VendorFault } from './vendor-server.ts';

export type SimMinimaxOptions = {
  readonly clock: Clock;
  readonly apiKey: string;
  /** Default 120 s. */
  readonly idleMs?: number;
};

export type SimMinimaxLink = {
  readonly clock: Clock;
  readonly options: SimMinimaxOptions;
  readonly socket: WebSocket;
  readonly isTwoWay: boolean;
  readonly isKnown: boolean;
  readonly fault: VendorFault | null;
  violation(text: string): void;
  note(message: Readonly<Record<string, unknown>>): void;
};

const MODELS = /^speech-(?:2\.8-(?:hd|turbo)|2\.6-(?:hd|turbo)|0[12]-(?:hd|turbo))$/;
const RATES = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100];

type Part = Readonly<Record<string, unknown>>;

/** What is wrong with a voice's settings, or null. */
export function problemOfVoice(message: Part): string | null {
  const voice = (message['voice_setting'] ?? {}) as Part;
  const audio = (message['audio_setting'] ?? {}) as Part;
  const within = (value: unknown, min: number, max: number): boolean =>
    value === undefined || (typeof value === 'number' && value >= min && value <= max);
  const { voice_id: id, speed, vol, pitch } = voice;
  const fits: readonly (readonly [string, boolean])[] = [
    ['model', MODELS.test(String(message['model']))],
    ['voice_id', typeof id === 'string' && id !== '' && id !== 'nobody'],
    ['speed', within(speed, 0.5, 2)],
    ['vol', within(vol, 0.01, 10)],
    ['pitch', within(pitch, -12, 12) && (pitch === undefined || Number.isInteger(pitch))],
    ['sample_rate', RATES.includes(Number(audio['sample_rate']))],
    ['format', ['pcm', 'mp3', 'flac'].includes(String(audio['format']))],
    ['channel', [undefined, 1, 2].includes(audio['channel'] as number | undefined)],
  ];
  return fits.find(([, isFit]) => !isFit)?.[0] ?? null;
}

/** Any number of providers.md 6.4 as an own fault's name; null: another fault. */
export function codeOfFault(fault: VendorFault | null): number | null {
  if (fault?.kind === 'fail_before_start') return 1024;
  if (fault?.kind === 'own' && /^\d{4}$/.test(fault.name)) return Number(fault.name);
  return null;
}
