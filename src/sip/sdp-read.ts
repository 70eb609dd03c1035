/** Reads a session description into what the negotiation needs, and refuses what is none (E_SDP). */
import { isIP } from 'node:net';
import { parse, type MediaDescription } from 'sdp-transform';
import type { CodecName } from '#lib/audio-codec.ts';
import { AppError } from '#lib/errors.ts';

export type SdpCodec = CodecName;
export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

/** One audio line. */
export type ReadMedia = {
  /** Position among all m-lines. */
  readonly index: number;
  readonly port: number;
  readonly protocol: string;
  readonly address: string;
  readonly direction: Direction;
  /** Payload type of each codec of ours that the line lists. */
  readonly payloadTypes: ReadonlyMap<SdpCodec, number>;
  readonly dtmfPayloadType: number | null;
};

export type ReadSdp = {
  /** All m-lines in order, audio or not. */
  readonly lines: readonly {
    readonly type: string;
    readonly protocol: string;
    readonly formats: string;
  }[];
  readonly media: readonly ReadMedia[];
};

const MAX_CHARACTERS = 16_384;
const MAX_LINES = 16;
/** RFC 3551 table 4: these need no rtpmap. */
const STATIC_CODECS: ReadonlyMap<number, SdpCodec> = new Map([
  [0, 'PCMU'],
  [8, 'PCMA'],
]);

/** Errors: E_SDP for anything that is not a session description with readable m-lines. */
export function readSdp(text: string): ReadSdp {
  if (text.length > MAX_CHARACTERS) throw bad('is longer than 16 KiB');
  if (!/^v=0\s*$/m.test(text.slice(0, 64)) || !/^\s*v=/.test(text))
    throw bad('does not start with v=0');
  // The parser leaves an m-line it cannot read without type; the answer still needs one line for each.
  const lines = [...text.matchAll(/^m=(.*?)\s*$/gm)].map((match) => readLine(match[1] ?? ''));
  if (lines.length === 0) throw bad('has no m= line');
  if (lines.length > MAX_LINES) throw bad(`has more than ${MAX_LINES} m= lines`);
  const session = parse(text);
  const media: ReadMedia[] = [];
  for (const [index, line] of lines.entries()) {
    const parsed = session.media[index];
    if (line.type !== 'audio' || parsed === undefined) continue;
    const connection = parsed.connection?.ip ?? session.connection?.ip ?? null;
    media.push({
      index,
      port: line.port,
      protocol: line.protocol,
      address: line.port === 0 ? '0.0.0.0' : readAddress(connection),
      direction: parsed.direction ?? session.direction ?? 'sendrecv',
      ...readFormats(line.formats, parsed),
    });
  }
  return { lines, media };
}

function readLine(text: string): { type: string; port: number; protocol: string; formats: string } {
  // RFC 8866 9: a count of ports (`49170/2`) may follow the port; one stream is all we take.
  const match = /^(\S+) +(\d{1,9})(?:\/\d+)? +(\S+)(?: +(.*))?$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) throw bad(`has the m= line "${text.slice(0, 40)}"`);
  return { type: match[1] ?? '', port, protocol: match[3] ?? '', formats: match[4] ?? '' };
}

/** A unicast address. A name would need a DNS lookup that the far end controls; nobody sends one in practice. */
function readAddress(connection: unknown): string {
  const address = typeof connection === 'string' ? connection : '';
  const family = isIP(address);
  if (family === 0)
    throw bad(address === '' ? 'has no c= line' : `has the address "${address.slice(0, 64)}"`);
  const first = Number(address.split('.', 1)[0]);
  const multicast = family === 4 ? first >= 224 : /^ff/i.test(address);
  if (multicast) throw bad(`has the multicast or broadcast address ${address}`);
  return address;
}

function readFormats(
  formats: string,
  media: MediaDescription,
): Pick<ReadMedia, 'payloadTypes' | 'dtmfPayloadType'> {
  const payloadTypes = new Map<SdpCodec, number>();
  let dtmfPayloadType: number | null = null;
  for (const format of formats.split(/\s+/)) {
    const payloadType = Number(format);
    if (!/^\d{1,3}$/.test(format) || payloadType > 127) continue;
    const map = media.rtp.find((one) => one.payload === payloadType);
    if (map === undefined) {
      const codec = STATIC_CODECS.get(payloadType);
      if (codec !== undefined && !payloadTypes.has(codec)) payloadTypes.set(codec, payloadType);
      continue;
    }
    const name = String(map.codec).toUpperCase();
    const mono = map.encoding === undefined || Number(map.encoding) === 1;
    if ((map.rate ?? 8000) !== 8000 || !mono) continue;
    if (name === 'TELEPHONE-EVENT') dtmfPayloadType ??= payloadType;
    else if ((name === 'PCMA' || name === 'PCMU') && !payloadTypes.has(name)) {
      payloadTypes.set(name, payloadType);
    }
  }
  return { payloadTypes, dtmfPayloadType };
}

function bad(what: string): AppError {
  return new AppError('E_SDP', `the session description ${what}`);
}
