/** Reads a session description into what the negotiation needs, and refuses what is none (E_SDP). */
import { isIP, SocketAddress } from 'node:net';
import { parse } from 'sdp-transform';
import type { CodecName } from '#lib/audio-codec.ts';
import { AppError } from '#lib/errors.ts';
import { readCryptos, type CryptoLine } from './sdp-crypto.ts';
import { readFormats, type ReadFormats } from './sdp-formats.ts';

export type SdpCodec = CodecName;
export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

/** One audio line. */
export type ReadMedia = ReadFormats & {
  /** Position among all m-lines. */
  readonly index: number;
  readonly port: number;
  readonly protocol: string;
  readonly address: string;
  readonly direction: Direction;
  readonly packets: PacketWishes;
  /** Where they want RTCP, as `a=rtcp` says (RFC 3605); null: it says nothing. */
  readonly rtcpPort: number | null;
  readonly takesRtcpMux: boolean;
  /** Usable keys, best first; `hasCrypto` also when there are none but lines that want to be some. */
  readonly cryptos: readonly CryptoLine[];
  readonly hasCrypto: boolean;
};

/** Length of packets they want to receive, ms; null: not said (RFC 8866 6.4, RFC 7587 6.1). */
export type PacketWishes = {
  readonly ptime: number | null;
  readonly maxptime: number | null;
  readonly minptime: number | null;
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
/** Errors: E_SDP for anything that is not a session description with readable m-lines. */
export function readSdp(text: string): ReadSdp {
  if (text.length > MAX_CHARACTERS) throw bad('is longer than 16 KiB');
  if (!/^v=0\s*$/m.test(text.slice(0, 64)) || !/^\s*v=/.test(text))
    throw bad('does not start with v=0');
  // The parser leaves an m-line it cannot read without type; the answer still needs one line for each.
  const sections = sectionsOf(text);
  if (sections.length === 0) throw bad('has no m= line');
  if (sections.length > MAX_LINES) throw bad(`has more than ${MAX_LINES} m= lines`);
  const lines = sections.map(([line = '']) => readLine(line.slice(2)));
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
      ...readAttributes(sections[index] ?? []),
    });
  }
  return { lines, media };
}

/**
 * Each m-line and the lines that belong to it, without space at their ends. By hand: a pattern that looks for the end of
 * a line behind any amount of space takes a second for 16 KiB of it.
 */
function sectionsOf(text: string): string[][] {
  const sections: string[][] = [];
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (line.startsWith('m=')) sections.push([line.trimEnd()]);
    else sections.at(-1)?.push(line.trimEnd());
  }
  return sections;
}

function readLine(text: string): { type: string; port: number; protocol: string; formats: string } {
  // RFC 8866 9: a count of ports (`49170/2`) may follow the port; one stream is all we take.
  const match = /^(\S+) +(\d{1,9})(?:\/\d+)? +(\S+)(?: +(.*))?$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) throw bad(`has the m= line "${text.slice(0, 40)}"`);
  return { type: match[1] ?? '', port, protocol: match[3] ?? '', formats: match[4] ?? '' };
}

/**
 * A unicast address, as the system writes it: sources of packets are compared with it. A name would need a DNS lookup
 * that the far end controls; nobody sends one in practice.
 */
function readAddress(connection: unknown): string {
  const address = typeof connection === 'string' ? connection : '';
  const family = isIP(address);
  if (family === 0)
    throw bad(address === '' ? 'has no c= line' : `has the address "${address.slice(0, 64)}"`);
  const first = Number(address.split('.', 1)[0]);
  const multicast = family === 4 ? first >= 224 : /^ff/i.test(address);
  if (multicast) throw bad(`has the multicast or broadcast address ${address}`);
  return family === 6 ? new SocketAddress({ address, family: 'ipv6' }).address : address;
}

/** What the parser of descriptions drops, or reads less strictly than keys allow. */
function readAttributes(
  section: readonly string[],
): Pick<ReadMedia, 'packets' | 'rtcpPort' | 'takesRtcpMux' | 'cryptos' | 'hasCrypto'> {
  const values = (name: string): string[] => {
    const start = `a=${name}:`;
    return section.filter((line) => line.startsWith(start)).map((line) => line.slice(start.length));
  };
  const number = (name: string): number | null => positive(values(name)[0]);
  const rtcpPort = Number(/^\d{1,5}(?= |$)/.exec(values('rtcp')[0] ?? '')?.[0] ?? 0);
  const cryptos = values('crypto');
  const opusMinptime = /[ ;]minptime=(\d{1,3})(?![.\d])/i.exec(values('fmtp').join('\n'))?.[1];
  return {
    packets: {
      ptime: number('ptime'),
      maxptime: number('maxptime'),
      minptime: number('minptime') ?? positive(opusMinptime),
    },
    rtcpPort: rtcpPort >= 1 && rtcpPort <= 65_535 ? rtcpPort : null,
    takesRtcpMux: section.includes('a=rtcp-mux'),
    cryptos: readCryptos(cryptos),
    hasCrypto: cryptos.length > 0,
  };
}

function positive(text: string | undefined): number | null {
  const value = /^\d{1,4}(\.\d{1,3})?$/.test(text ?? '') ? Number(text) : 0;
  return value > 0 ? value : null;
}

function bad(what: string): AppError {
  return new AppError('E_SDP', `the session description ${what}`);
}
