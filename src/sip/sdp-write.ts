/** Our own descriptions: one audio line among those of the other side, and the session around them. */
import { isIPv6 } from 'node:net';
import { write, type MediaDescription, type SessionDescription } from 'sdp-transform';
import { writeCrypto, type CryptoLine } from './sdp-crypto.ts';
import { describeFormat, type FormatName } from './sdp-formats.ts';
import type { Direction } from './sdp-read.ts';

/** An m-line of the session, as it was agreed upon. */
export type Line = { readonly type: string; readonly protocol: string; readonly formats: string };

export type AudioLine = {
  readonly port: number;
  readonly protocol: string;
  readonly formats: readonly { readonly name: FormatName; readonly payloadType: number }[];
  readonly direction: Direction;
  readonly cryptos: readonly CryptoLine[];
  /** `offered`: with the port above as the other way out; `agreed`: RTCP has no port of its own. */
  readonly rtcpMux: 'off' | 'offered' | 'agreed';
};

/** What we wish to receive: short packets, for the sake of the answer's delay. */
const PTIME_MS = 20;

export function audioLine(line: AudioLine): MediaDescription {
  const described = line.formats.map(({ name, payloadType }) => describeFormat(name, payloadType));
  return {
    type: 'audio',
    port: line.port,
    protocol: line.protocol,
    payloads: line.formats.map(({ payloadType }) => payloadType).join(' '),
    rtp: described.flatMap(({ rtp }) => rtp),
    fmtp: described.flatMap(({ fmtp }) => fmtp),
    ...(line.rtcpMux === 'agreed' ? {} : { rtcp: { port: line.port + 1 } }),
    ...(line.rtcpMux === 'off' ? {} : { rtcpMux: 'rtcp-mux' as const }),
    ...(line.cryptos.length === 0 ? {} : { crypto: line.cryptos.map(writeCrypto) }),
    ptime: PTIME_MS,
    direction: line.direction,
  };
}

/** A line we take no part in keeps its place with port 0 (RFC 3264 6). */
export function rejected(line: Line): MediaDescription {
  return {
    type: line.type,
    port: 0,
    protocol: line.protocol,
    payloads: line.formats,
    rtp: [],
    fmtp: [],
  };
}

export function writeSdp(
  address: string,
  sessionId: number,
  version: number,
  media: MediaDescription[],
): string {
  const ipVer = isIPv6(address) ? 6 : 4;
  const session: SessionDescription = {
    version: 0,
    origin: {
      username: '-',
      sessionId,
      sessionVersion: version,
      netType: 'IN',
      ipVer,
      address,
    },
    name: 'callyard',
    connection: { version: ipVer, ip: address },
    timing: { start: 0, stop: 0 },
    media,
  };
  return write(session);
}
