/** The formats of an audio line: which payload type means what, as it is read and as we write it. */
import type { MediaDescription } from 'sdp-transform';
import { CODEC_FACTS, CODEC_NAMES, type CodecName, type OpusWishes } from '#lib/audio-codec.ts';

/** What an audio line lists, of what we know. */
export type ReadFormats = {
  /** Payload type of each codec of ours that the line lists. */
  readonly payloadTypes: ReadonlyMap<CodecName, number>;
  /** Payload type of telephone-event by its clock. */
  readonly events: ReadonlyMap<number, number>;
  /** Of CN/8000 (RFC 3389); null when not listed. */
  readonly comfortNoise: number | null;
  readonly opus: OpusWishes;
  /** Every payload type listed, also those that mean nothing to us. */
  readonly types: readonly number[];
  /** What they are, for people: `G729`, `AMR-WB`, `type 120`. */
  readonly names: readonly string[];
};

/** A format of ours in a description: a codec, comfort noise, or telephone-event at a clock. */
export type FormatName = CodecName | 'CN' | 'telephone-event/8000' | 'telephone-event/48000';

const COMFORT_NOISE = 13;
/** RFC 3551 table 4, as far as somebody may want to read why a call was refused. */
const STATIC_NAMES: Readonly<Record<number, string>> = {
  ...{ 0: 'PCMU', 3: 'GSM', 4: 'G723', 5: 'DVI4', 6: 'DVI4', 7: 'LPC', 8: 'PCMA', 9: 'G722' },
  ...{ 10: 'L16', 11: 'L16', 12: 'QCELP', 13: 'CN', 14: 'MPA', 15: 'G728', 18: 'G729' },
};
const MAX_NAMES = 12;
const MIN_OPUS_BITRATE = 6_000;
const MAX_OPUS_BITRATE = 510_000;

export function readFormats(formats: string, media: MediaDescription): ReadFormats {
  const payloadTypes = new Map<CodecName, number>();
  const events = new Map<number, number>();
  const names = new Set<string>();
  const types: number[] = [];
  let comfortNoise: number | null = null;
  for (const format of formats.split(/\s+/)) {
    const payloadType = Number(format);
    if (!/^\d{1,3}$/.test(format) || payloadType > 127) continue;
    types.push(payloadType);
    const map = media.rtp.find((one) => one.payload === payloadType);
    const name = map === undefined ? (STATIC_NAMES[payloadType] ?? '') : String(map.codec);
    if (names.size < MAX_NAMES) names.add(plainName(name) ?? `type ${payloadType}`);
    const codec = codecOf(name, payloadType, map);
    if (codec !== null) {
      if (!payloadTypes.has(codec)) payloadTypes.set(codec, payloadType);
      continue;
    }
    const clockHz = map?.rate ?? 8000;
    if (/^telephone-event$/i.test(name) && !events.has(clockHz)) events.set(clockHz, payloadType);
    if (/^CN$/i.test(name) && clockHz === 8000) comfortNoise ??= payloadType;
  }
  const opus = wishesOf(payloadTypes.get('opus'), media);
  return { payloadTypes, events, comfortNoise, opus, types, names: [...names] };
}

/** A codec of ours, if name, clock and channels are those of it; without an rtpmap the static types alone. */
function codecOf(
  name: string,
  payloadType: number,
  map: MediaDescription['rtp'][number] | undefined,
): CodecName | null {
  const codec = CODEC_NAMES.find((each) => each.toLowerCase() === name.toLowerCase());
  if (codec === undefined) return null;
  const { staticPayloadType, clockHz, channels } = CODEC_FACTS[codec];
  if (map === undefined) return staticPayloadType === payloadType ? codec : null;
  const isSame = (map.rate ?? 8000) === clockHz && Number(map.encoding ?? 1) === channels;
  return isSame ? codec : null;
}

/** What stands in somebody else's description is shown only if it is a plain word. */
function plainName(name: string): string | null {
  return /^[A-Za-z0-9._-]{1,24}$/.test(name) ? name : null;
}

/** RFC 7587 6.1: what the receiver of our Opus asks for. */
function wishesOf(payloadType: number | undefined, media: MediaDescription): OpusWishes {
  const config = media.fmtp.find((one) => one.payload === payloadType)?.config ?? '';
  const given = new Map<string, string>();
  for (const part of config.split(';')) {
    const [key = '', value = ''] = part.split('=', 2);
    given.set(key.trim().toLowerCase(), value.trim());
  }
  const bitrate = Number(given.get('maxaveragebitrate') ?? Number.NaN);
  const isRate = Number.isInteger(bitrate) && bitrate >= MIN_OPUS_BITRATE;
  return {
    useInbandFec: given.get('useinbandfec') === '1',
    useDtx: given.get('usedtx') === '1',
    maxAverageBitrate: isRate ? Math.min(bitrate, MAX_OPUS_BITRATE) : null,
  };
}

const DEFAULT_TYPES: Readonly<Record<FormatName, number>> = {
  ...{ PCMU: 0, PCMA: 8, G722: 9, CN: COMFORT_NOISE, opus: 96, L16: 97 },
  ...{ 'telephone-event/48000': 100, 'telephone-event/8000': 101 },
};
const FIRST_DYNAMIC = 96;
const LAST_DYNAMIC = 127;

/**
 * Our side's payload types. A dynamic number that has meant one format in a session never means another (RFC 3264
 * 8.3.2), and a format keeps its number.
 */
export class PayloadTypes {
  readonly #byName = new Map<FormatName, number>();
  readonly #byType = new Map<number, FormatName | 'other'>();

  /** Takes the numbers of an offer that we answer. */
  adopt(formats: ReadFormats): void {
    for (const payloadType of formats.types) {
      if (!this.#byType.has(payloadType)) this.#byType.set(payloadType, 'other');
    }
    for (const [codec, payloadType] of formats.payloadTypes) this.#use(codec, payloadType);
    for (const [clockHz, payloadType] of formats.events) {
      if (clockHz === 8000) this.#use('telephone-event/8000', payloadType);
      if (clockHz === 48_000) this.#use('telephone-event/48000', payloadType);
    }
    if (formats.comfortNoise !== null) this.#use('CN', formats.comfortNoise);
  }

  #use(name: FormatName, payloadType: number): void {
    this.#byName.set(name, payloadType);
    this.#byType.set(payloadType, name);
  }

  /** The number of a format, found when it has none. */
  of(name: FormatName): number {
    const known = this.#byName.get(name);
    if (known !== undefined && this.#byType.get(known) === name) return known;
    let payloadType = DEFAULT_TYPES[name];
    if (payloadType >= FIRST_DYNAMIC && this.#isTaken(payloadType, name)) {
      for (payloadType = LAST_DYNAMIC; this.#isTaken(payloadType, name); payloadType--);
    }
    this.#use(name, payloadType);
    return payloadType;
  }

  #isTaken(payloadType: number, name: FormatName): boolean {
    if (payloadType < FIRST_DYNAMIC) return false;
    const owner = this.#byType.get(payloadType);
    if (owner !== undefined) return owner !== name;
    // Another format's own number is left to it.
    return Object.entries(DEFAULT_TYPES).some(
      ([other, type]) => type === payloadType && other !== name,
    );
  }
}

/** rtpmap and fmtp of one format of ours. */
export function describeFormat(
  name: FormatName,
  payload: number,
): Pick<MediaDescription, 'rtp' | 'fmtp'> {
  if (name === 'CN') return { rtp: [{ payload, codec: 'CN', rate: 8000 }], fmtp: [] };
  if (name === 'telephone-event/8000' || name === 'telephone-event/48000') {
    const rate = name === 'telephone-event/8000' ? 8000 : 48_000;
    return {
      rtp: [{ payload, codec: 'telephone-event', rate }],
      fmtp: [{ payload, config: '0-16' }],
    };
  }
  const { clockHz, channels } = CODEC_FACTS[name];
  const encoding = channels === 1 ? {} : { encoding: channels };
  return {
    rtp: [{ payload, codec: name, rate: clockHz, ...encoding }],
    // Our decoder makes use of it (RFC 7587 6.1).
    fmtp: name === 'opus' ? [{ payload, config: 'useinbandfec=1' }] : [],
  };
}
