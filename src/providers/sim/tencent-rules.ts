/** What both services of the simulated Tencent share: settings, a connection, and the signature (providers.md 4.1, 4.2). */
import { createHmac } from 'node:crypto';
import type { WebSocket } from 'ws';
import type { Clock } from '#lib/clock.ts';
import type { VendorFault } from './vendor-server.ts';

export type SimTencentOptions = {
  readonly clock: Clock;
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
  /** Utterance id -> words, for the recogniser. */
  readonly words?: Readonly<Record<string, string>>;
  /** Default 15 s. */
  readonly asrIdleMs?: number;
  /** Default 10 min. */
  readonly ttsIdleMs?: number;
  /** At once. Default 200 recognisers and 20 voices. */
  readonly maxEars?: number;
  readonly maxVoices?: number;
};

/** What a connection may do and know. */
export type SimTencentLink = {
  readonly clock: Clock;
  readonly options: SimTencentOptions;
  readonly socket: WebSocket;
  /** As they came, decoded. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly fault: VendorFault | null;
  /** Whether `id` was used by no connection before. */
  isNew(id: string): boolean;
  violation(text: string): void;
  /** A text message of the client. */
  note(message: Readonly<Record<string, unknown>>): void;
};

const ASR_HOST = 'asr.cloud.tencent.com';
const TTS_HOST = 'tts.cloud.tencent.com';
const MAX_VALID_S = 90 * 86_400;

/** What is wrong with the signature or its time, or null. The text is signed without any encoding. */
export function problemOfSignature(link: SimTencentLink, asrAppId: string | null): string | null {
  const { parameters, options } = link;
  const isVoice = asrAppId === null;
  const name = isVoice ? 'Signature' : 'signature';
  const address = isVoice ? `GET${TTS_HOST}/stream_wsv2` : `${ASR_HOST}/asr/v2/${asrAppId}`;
  const pairs = [...parameters].filter(([key]) => key !== name);
  pairs.sort(([a], [b]) => (a < b ? -1 : 1));
  const text = `${address}?${pairs.map(([key, value]) => `${key}=${value}`).join('&')}`;
  const wanted = createHmac('sha1', options.secretKey).update(text).digest('base64');
  if (parameters.get(name) !== wanted) return 'the signature does not fit';
  const get = (key: string): string => parameters.get(isVoice ? key : key.toLowerCase()) ?? '';
  if (get('SecretId') !== options.secretId) return 'nobody has this secret id';
  const [from, to] = [Number(get('Timestamp')), Number(get('Expired'))];
  const nowS = link.clock.wallMs() / 1000;
  if (!(to > from && to - from <= MAX_VALID_S && to > nowS)) return 'the signature has expired';
  const appId = asrAppId ?? get('AppId');
  return appId === options.appId ? null : 'nobody has this app id';
}
