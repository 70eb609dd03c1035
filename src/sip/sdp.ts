/** Offer and answer of one audio stream (RFC 3264, RFC 8866): reads what comes, writes ours, keeps the version. */
import { randomInt } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { write, type MediaDescription, type SessionDescription } from 'sdp-transform';
import {
  readSdp,
  type Direction,
  type ReadMedia,
  type ReadSdp,
  type SdpCodec,
} from './sdp-read.ts';

export type { Direction, SdpCodec } from './sdp-read.ts';

/** What offer and answer agreed on; the same shape as the media plane's NegotiatedAudio. */
export type SdpAudio = {
  readonly codec: SdpCodec;
  readonly payloadType: number;
  readonly receivePayloadType: number;
  readonly dtmfPayloadType: number | null;
  /** Of telephone-event in the direction to them. */
  readonly dtmfSendPayloadType?: number | null;
  /** Port 0 or address 0.0.0.0 means: do not send. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly send: boolean;
  readonly receive: boolean;
};

export type SdpLocal = {
  readonly address: string;
  readonly port: number;
  /** Our preference, best first. */
  readonly codecs: readonly SdpCodec[];
};

/** One call's side of the negotiation. Calls may come in any order; each one describes the session from then on. */
export type SdpSession = {
  /** Our offer: the first one, or for a re-INVITE. */
  offer(direction?: Direction): string;
  /** Answers an offer; null means no common codec or no audio: 488. Errors: E_SDP when it is no SDP. */
  answer(
    offer: string,
    direction?: Direction,
  ): { readonly sdp: string; readonly audio: SdpAudio } | null;
  /** The far end's answer to our latest offer; null when it refused the audio. Errors: E_SDP. */
  accept(answer: string): SdpAudio | null;
};

const PTIME_MS = 20;
const STATIC_TYPES: Readonly<Record<SdpCodec, number>> = {
  PCMU: 0,
  PCMA: 8,
  G722: 9,
  opus: 96,
  L16: 97,
};
const OFFERED_DTMF_TYPE = 101;

type Line = { readonly type: string; readonly protocol: string; readonly formats: string };

/** `sessionId` of the o= line is for tests. */
export function createSdpSession(
  local: SdpLocal,
  sessionId: number = randomInt(2 ** 31, 2 ** 47),
): SdpSession {
  return new Negotiation(local, sessionId);
}

class Negotiation implements SdpSession {
  readonly #local: SdpLocal;
  readonly #sessionId: number;
  /** m-lines in their order, once agreed upon: they never go away again (RFC 3264 8). */
  #lines: readonly Line[] = [];
  #audioIndex = 0;
  #version = 0;
  #lastBody = '';
  #offered: Direction = 'sendrecv';
  #agreed: { codec: SdpCodec; payloadType: number; dtmf: number | null } | null = null;

  constructor(local: SdpLocal, sessionId: number) {
    this.#local = local;
    this.#sessionId = sessionId;
  }

  offer(direction: Direction = 'sendrecv'): string {
    this.#offered = direction;
    const agreed = this.#agreed;
    const codecs = this.#local.codecs.map((codec) => ({
      codec,
      payloadType: agreed?.codec === codec ? agreed.payloadType : STATIC_TYPES[codec],
    }));
    // The codec in use stays first, so that a re-offer does not switch it.
    codecs.sort((a, b) => Number(b.codec === agreed?.codec) - Number(a.codec === agreed?.codec));
    const dtmf = agreed?.dtmf ?? OFFERED_DTMF_TYPE;
    const protocol = this.#lines[this.#audioIndex]?.protocol ?? 'RTP/AVP';
    return this.#describe(audioLine(this.#local, { codecs, dtmf, direction, protocol }));
  }

  answer(
    text: string,
    direction: Direction = 'sendrecv',
  ): { readonly sdp: string; readonly audio: SdpAudio } | null {
    const offer = readSdp(text);
    const picked = pickAudio(offer, this.#local);
    if (picked === null) return null;
    const { media, codec, payloadType } = picked;
    const dtmf = media.dtmfPayloadType;
    this.#lines = offer.lines;
    this.#audioIndex = media.index;
    this.#agreed = { codec, payloadType, dtmf };
    const ours = meet(mirror(effectiveDirection(media)), direction);
    const codecs = [{ codec, payloadType }];
    const { protocol } = media;
    const line = audioLine(this.#local, { codecs, dtmf, direction: ours, protocol });
    const types = { audio: payloadType, dtmf };
    return { sdp: this.#describe(line), audio: audioOf(picked, types, ours) };
  }

  accept(text: string): SdpAudio | null {
    const answer = readSdp(text);
    const media = answer.media.find((one) => one.index === this.#audioIndex);
    const picked = media === undefined ? null : pickFrom(media, this.#local);
    if (picked === null) return null;
    const { codec } = picked;
    const agreed = this.#agreed;
    // Each side receives what it offered or answered itself (RFC 3264 5.1, 6.1).
    const receive = agreed?.codec === codec ? agreed.payloadType : STATIC_TYPES[codec];
    const withDtmf = picked.media.dtmfPayloadType !== null;
    const dtmf = withDtmf ? (agreed?.dtmf ?? OFFERED_DTMF_TYPE) : null;
    this.#agreed = { codec, payloadType: receive, dtmf };
    if (this.#lines.length === 0) this.#lines = answer.lines.slice(0, 1);
    const ours = meet(mirror(effectiveDirection(picked.media)), this.#offered);
    return audioOf(picked, { audio: receive, dtmf }, ours);
  }

  /** RFC 3264 8: the version in o= rises by one when, and only when, the description changes. */
  #describe(audio: MediaDescription): string {
    const media =
      this.#lines.length === 0
        ? [audio]
        : this.#lines.map((line, index) => (index === this.#audioIndex ? audio : rejected(line)));
    const body = writeSdp(this.#local, this.#sessionId, 0, media);
    if (body !== this.#lastBody) this.#version += 1;
    this.#lastBody = body;
    return writeSdp(this.#local, this.#sessionId, this.#version, media);
  }
}

type Picked = {
  readonly media: ReadMedia;
  readonly codec: SdpCodec;
  readonly payloadType: number;
};

/** The first usable audio line; of its codecs the one we like best. */
function pickAudio(sdp: ReadSdp, local: SdpLocal): Picked | null {
  for (const media of sdp.media) {
    const picked = pickFrom(media, local);
    if (picked !== null) return picked;
  }
  return null;
}

function pickFrom(media: ReadMedia, local: SdpLocal): Picked | null {
  if (media.port === 0 || !/^RTP\/AVPF?$/i.test(media.protocol)) return null;
  // A socket of one family cannot send to the other; 0.0.0.0 means nowhere in both.
  const nowhere = media.address === '0.0.0.0';
  if (!nowhere && isIPv6(media.address) !== isIPv6(local.address)) return null;
  for (const codec of local.codecs) {
    const payloadType = media.payloadTypes.get(codec);
    if (payloadType !== undefined) return { media, codec, payloadType };
  }
  return null;
}

/** RFC 3264 8.4: c=0.0.0.0 is the old way to hold, and the far end then wants no media. */
function effectiveDirection(media: ReadMedia): Direction {
  if (media.address !== '0.0.0.0') return media.direction;
  return meet(media.direction, 'sendonly');
}

/** RFC 3264 6.1: their sending is our receiving. */
function mirror(direction: Direction): Direction {
  if (direction === 'sendonly') return 'recvonly';
  return direction === 'recvonly' ? 'sendonly' : direction;
}

/** What both allow. */
function meet(a: Direction, b: Direction): Direction {
  const send = sends(a) && sends(b);
  const receive = receives(a) && receives(b);
  if (send) return receive ? 'sendrecv' : 'sendonly';
  return receive ? 'recvonly' : 'inactive';
}

function sends(direction: Direction): boolean {
  return direction === 'sendrecv' || direction === 'sendonly';
}

function receives(direction: Direction): boolean {
  return direction === 'sendrecv' || direction === 'recvonly';
}

function audioOf(
  picked: Picked,
  receiveTypes: { readonly audio: number; readonly dtmf: number | null },
  ours: Direction,
): SdpAudio {
  const { media, codec, payloadType } = picked;
  return {
    codec,
    payloadType,
    receivePayloadType: receiveTypes.audio,
    dtmfPayloadType: receiveTypes.dtmf,
    dtmfSendPayloadType: media.dtmfPayloadType,
    remoteAddress: media.address,
    remotePort: media.port,
    send: sends(ours) && media.address !== '0.0.0.0',
    receive: receives(ours),
  };
}

function rejected(line: Line): MediaDescription {
  return {
    type: line.type,
    port: 0,
    protocol: line.protocol,
    payloads: line.formats,
    rtp: [],
    fmtp: [],
  };
}

function audioLine(
  local: SdpLocal,
  wanted: {
    readonly codecs: readonly { readonly codec: SdpCodec; readonly payloadType: number }[];
    readonly dtmf: number | null;
    readonly direction: Direction;
    readonly protocol: string;
  },
): MediaDescription {
  const types = wanted.codecs.map((one) => one.payloadType);
  const rtp = wanted.codecs.map((one) => ({
    payload: one.payloadType,
    codec: one.codec as string,
    rate: 8000,
  }));
  const dtmf = wanted.dtmf === null ? [] : [wanted.dtmf];
  return {
    type: 'audio',
    port: local.port,
    protocol: wanted.protocol,
    payloads: [...types, ...dtmf].join(' '),
    rtp: [...rtp, ...dtmf.map((payload) => ({ payload, codec: 'telephone-event', rate: 8000 }))],
    fmtp: dtmf.map((payload) => ({ payload, config: '0-16' })),
    rtcp: { port: local.port + 1 },
    ptime: PTIME_MS,
    direction: wanted.direction,
  };
}

function writeSdp(
  local: SdpLocal,
  sessionId: number,
  version: number,
  media: MediaDescription[],
): string {
  const ipVer = isIPv6(local.address) ? 6 : 4;
  const session: SessionDescription = {
    version: 0,
    origin: {
      username: '-',
      sessionId,
      sessionVersion: version,
      netType: 'IN',
      ipVer,
      address: local.address,
    },
    name: 'callyard',
    connection: { version: ipVer, ip: local.address },
    timing: { start: 0, stop: 0 },
    media,
  };
  return write(session);
}
