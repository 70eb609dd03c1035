/** Offer and answer of one audio stream (RFC 3264, RFC 8866): reads what comes, writes ours, keeps the version. */
import { randomInt } from 'node:crypto';
import type { MediaDescription } from 'sdp-transform';
import type { OpusWishes } from '#lib/audio-codec.ts';
import type { MediaSource } from '#lib/media-source.ts';
import type { SrtpKey, SrtpKeys, SrtpMode } from '#lib/srtp-params.ts';
import { newKey, OFFERED_SUITES, type CryptoLine } from './sdp-crypto.ts';
import { PayloadTypes, type FormatName } from './sdp-formats.ts';
import { packetMs, pickAnswer, pickOffer, type Picked } from './sdp-pick.ts';
import { readSdp, type Direction, type ReadMedia, type SdpCodec } from './sdp-read.ts';
import { audioLine, rejected, writeSdp, type Line } from './sdp-write.ts';

export type { Direction, SdpCodec } from './sdp-read.ts';

/** What offer and answer agreed on; the same shape as the media plane's NegotiatedAudio. */
export type SdpAudio = {
  readonly codec: SdpCodec;
  readonly payloadType: number;
  readonly receivePayloadType: number;
  readonly alternatives?: readonly { readonly codec: SdpCodec; readonly payloadType: number }[];
  readonly dtmfPayloadType: number | null;
  /** Of telephone-event in the direction to them. */
  readonly dtmfSendPayloadType?: number | null;
  /** Port 0 or address 0.0.0.0 means: do not send. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly send: boolean;
  readonly receive: boolean;
  readonly ptimeMs?: number;
  readonly dtmfClockHz?: number;
  readonly comfortNoisePayloadType?: number | null;
  readonly opus?: OpusWishes;
  readonly srtp?: SrtpKeys | null;
  readonly rtcpMux?: boolean;
  readonly remoteRtcpPort?: number;
  /** As `SdpLocal` has it; absent: `auto`. */
  readonly mediaSource?: MediaSource;
};

export type SdpLocal = {
  readonly address: string;
  readonly port: number;
  /** Our preference, best first. */
  readonly codecs: readonly SdpCodec[];
  /** Absent: `off`. */
  readonly srtp?: SrtpMode;
  /** Whether our offers hold `a=rtcp-mux`; where they offer it, it is agreed to anyway. */
  readonly rtcpMux?: boolean;
  /** Stands in no SDP, and holds for every description of the call. Absent: `auto`. */
  readonly mediaSource?: MediaSource;
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

/** `sessionId` of the o= line is for tests. */
export function createSdpSession(
  local: SdpLocal,
  sessionId: number = randomInt(2 ** 31, 2 ** 47),
): SdpSession {
  return new Negotiation(local, sessionId);
}

/** What holds until the next offer and answer; none of it changes without need. */
type Agreed = {
  readonly codec: SdpCodec;
  readonly hasComfortNoise: boolean;
  readonly rtcpMux: boolean;
  /** Our key and its tag; null: plain RTP. */
  readonly own: CryptoLine | null;
};

class Negotiation implements SdpSession {
  readonly #local: SdpLocal;
  readonly #sessionId: number;
  readonly #types = new PayloadTypes();
  /** m-lines in their order, once agreed upon: they never go away again (RFC 3264 8). */
  #lines: readonly Line[] = [];
  #audioIndex = 0;
  #version = 0;
  #lastBody = '';
  #offered: Direction = 'sendrecv';
  /** The keys in our latest offer. */
  #offeredKeys: readonly CryptoLine[] = [];
  #agreed: Agreed | null = null;

  constructor(local: SdpLocal, sessionId: number) {
    this.#local = local;
    this.#sessionId = sessionId;
  }

  offer(direction: Direction = 'sendrecv'): string {
    const { port, srtp = 'off' } = this.#local;
    const agreed = this.#agreed;
    this.#offered = direction;
    this.#offeredKeys = this.#keysToOffer(srtp);
    const offersMux = agreed?.rtcpMux ?? this.#local.rtcpMux ?? false;
    return this.#describe(
      audioLine({
        ...{ port, direction, cryptos: this.#offeredKeys, protocol: this.#protocol },
        formats: this.#formats(this.#namesToOffer()),
        rtcpMux: offersMux ? 'offered' : 'off',
      }),
    );
  }

  /** Of the audio line, as it stands or is offered first. */
  get #protocol(): string {
    const first = this.#local.srtp === 'required' ? 'RTP/SAVP' : 'RTP/AVP';
    return this.#lines[this.#audioIndex]?.protocol ?? first;
  }

  /** The codec in use stays first, so that a re-offer does not switch it. */
  #namesToOffer(): FormatName[] {
    const agreed = this.#agreed;
    const codecs = [...this.#local.codecs];
    codecs.sort((a, b) => Number(b === agreed?.codec) - Number(a === agreed?.codec));
    const names: FormatName[] = codecs;
    if (agreed?.hasComfortNoise === true) names.push('CN');
    // RFC 4733 2.1: events run on the clock of the codec they go with.
    if (codecs.some((codec) => codec !== 'opus')) names.push('telephone-event/8000');
    if (codecs.includes('opus')) names.push('telephone-event/48000');
    return names;
  }

  /**
   * `preferred` is RFC 8643: keys beside plain RTP, and who does not know them answers in plain; one INVITE, no retry.
   * Once agreed, the same key again: a new one would cut into the audio for nothing.
   */
  #keysToOffer(mode: SrtpMode): readonly CryptoLine[] {
    if (this.#agreed !== null) return this.#agreed.own === null ? [] : [this.#agreed.own];
    if (mode === 'off') return [];
    if (this.#offeredKeys.length > 0) return this.#offeredKeys;
    return OFFERED_SUITES.map((suite, index) => ({ tag: index + 1, key: newKey(suite) }));
  }

  answer(
    text: string,
    direction: Direction = 'sendrecv',
  ): { readonly sdp: string; readonly audio: SdpAudio } | null {
    const offer = readSdp(text);
    const agreed = this.#agreed;
    const picked = pickOffer(offer, this.#local, {
      codec: agreed?.codec ?? null,
      suite: agreed?.own?.key.suite ?? null,
      index: agreed === null ? null : this.#audioIndex,
    });
    if (picked === null) return null;
    const { media, codec, eventsClockHz, comfortNoise, crypto } = picked;
    this.#types.adopt(media);
    this.#lines = offer.lines;
    this.#audioIndex = media.index;
    const own = crypto === null ? null : { tag: crypto.tag, key: this.#ownKey(crypto.key) };
    const rtcpMux = canShare(media);
    const ours = meet(mirror(effectiveDirection(media)), direction);
    const names: FormatName[] = [codec];
    if (comfortNoise !== null) names.push('CN');
    if (eventsClockHz !== null) names.push(eventsName(eventsClockHz));
    const line = audioLine({
      ...{ port: this.#local.port, protocol: media.protocol, direction: ours },
      ...{ formats: this.#formats(names), cryptos: own === null ? [] : [own] },
      rtcpMux: rtcpMux ? 'agreed' : 'off',
    });
    this.#agree(picked, own, rtcpMux);
    return { sdp: this.#describe(line), audio: this.#audioOf(picked, ours) };
  }

  /** Ours goes on while the suite is the same (RFC 4568 7.1.4 leaves it to us). Who marks packets with an MKI gets one. */
  #ownKey({ suite, mki }: SrtpKey): SrtpKey {
    const before = this.#agreed?.own?.key;
    const { key, salt } = before?.suite === suite ? before : newKey(suite);
    return { suite, key, salt, ...(mki === undefined ? {} : { mki }) };
  }

  accept(text: string): SdpAudio | null {
    const answer = readSdp(text);
    const media = answer.media.find((one) => one.index === this.#audioIndex);
    if (media === undefined) return null;
    const offered = { protocol: this.#protocol, keys: this.#offeredKeys };
    const picked = pickAnswer(media, this.#local, offered);
    if (picked === null) return null;
    const { crypto } = picked;
    const own = this.#offeredKeys.find(({ tag }) => tag === crypto?.tag) ?? null;
    const offersMux = this.#agreed?.rtcpMux ?? this.#local.rtcpMux ?? false;
    // Comfort noise that we did not offer is none that they may send us.
    const hadNoise = this.#agreed?.hasComfortNoise === true;
    const agreed = { ...picked, comfortNoise: hadNoise ? picked.comfortNoise : null };
    this.#agree(agreed, own, offersMux && canShare(media));
    if (this.#lines.length === 0) this.#lines = answer.lines.slice(0, 1);
    const ours = meet(mirror(effectiveDirection(media)), this.#offered);
    // Whoever answers with several codecs may send any of them, at any time (RFC 3264 6.1).
    const alternatives = [...media.payloadTypes.keys()]
      .filter((codec) => codec !== picked.codec && this.#local.codecs.includes(codec))
      .map((codec) => ({ codec, payloadType: this.#types.of(codec) }));
    const audio = this.#audioOf(agreed, ours);
    return alternatives.length === 0 ? audio : { ...audio, alternatives };
  }

  #agree(picked: Picked, own: CryptoLine | null, rtcpMux: boolean): void {
    const { codec, comfortNoise } = picked;
    this.#agreed = { codec, own, rtcpMux, hasComfortNoise: comfortNoise !== null };
  }

  #formats(names: readonly FormatName[]) {
    return names.map((name) => ({ name, payloadType: this.#types.of(name) }));
  }

  /** Each side receives with the numbers it offered or answered itself (RFC 3264 5.1, 6.1). */
  #audioOf(picked: Picked, ours: Direction): SdpAudio {
    const { media, codec, eventsClockHz, comfortNoise, crypto } = picked;
    const own = this.#agreed?.own ?? null;
    const rtcpMux = this.#agreed?.rtcpMux === true;
    const { address, port, rtcpPort } = media;
    const { mediaSource = 'auto' } = this.#local;
    const hasOwnRtcp = rtcpPort !== null && !rtcpMux && rtcpPort !== port + 1;
    return {
      codec,
      payloadType: picked.payloadType,
      receivePayloadType: this.#types.of(codec),
      dtmfPayloadType: eventsClockHz === null ? null : this.#types.of(eventsName(eventsClockHz)),
      dtmfSendPayloadType:
        eventsClockHz === null ? null : (media.events.get(eventsClockHz) ?? null),
      remoteAddress: address,
      remotePort: port,
      send: sends(ours) && address !== '0.0.0.0',
      receive: receives(ours),
      ptimeMs: packetMs(codec, media.packets),
      dtmfClockHz: eventsClockHz ?? 8000,
      comfortNoisePayloadType: comfortNoise,
      ...(codec === 'opus' ? { opus: media.opus } : {}),
      srtp: own === null || crypto === null ? null : { send: own.key, receive: crypto.key },
      rtcpMux,
      ...(hasOwnRtcp ? { remoteRtcpPort: rtcpPort } : {}),
      ...(mediaSource === 'auto' ? {} : { mediaSource }),
    };
  }

  /** RFC 3264 8: the version in o= rises by one when, and only when, the description changes. */
  #describe(audio: MediaDescription): string {
    const media =
      this.#lines.length === 0
        ? [audio]
        : this.#lines.map((line, index) => (index === this.#audioIndex ? audio : rejected(line)));
    const { address } = this.#local;
    const body = writeSdp(address, this.#sessionId, 0, media);
    if (body !== this.#lastBody) this.#version += 1;
    this.#lastBody = body;
    return writeSdp(address, this.#sessionId, this.#version, media);
  }
}

/** RFC 5761 4: with the marker bit these payload types could not be told from RTCP. */
function canShare({ takesRtcpMux, types }: ReadMedia): boolean {
  return takesRtcpMux && !types.some((type) => type >= 64 && type <= 95);
}

function eventsName(clockHz: number): 'telephone-event/8000' | 'telephone-event/48000' {
  return clockHz === 48_000 ? 'telephone-event/48000' : 'telephone-event/8000';
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
