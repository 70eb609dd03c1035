/** What a leg may speak, by the trunk it runs over; and what an operator should know of how it came out. */
import type { CodecName } from '#lib/audio-codec.ts';
import { silentLog, type Log } from '#lib/log.ts';
import type { MediaSource } from '#lib/media-source.ts';
import type { SrtpMode } from '#lib/srtp-params.ts';
import type { TrunkSource } from '#lib/trunk.ts';
import type { NegotiatedAudio } from '#media/types.ts';
import { whyRefused } from '#sip/sdp-pick.ts';
import { readSdp } from '#sip/sdp-read.ts';

export type LegWishes = {
  /** Best first. */
  readonly codecs: readonly CodecName[];
  readonly srtp?: SrtpMode;
  readonly rtcpMux?: boolean;
  readonly mediaSource?: MediaSource;
};

/** Where a leg runs, for the log. */
export type LegPlace = {
  readonly trunkId: string | null;
  readonly transport: 'udp' | 'tcp' | 'tls' | 'ws' | 'wss';
};

const G711: LegWishes = { codecs: ['PCMA', 'PCMU'] };
const MAX_WARNED = 1000;
const HELP = 'docs/media.md';

export class LegMedia {
  readonly #log: Log;
  readonly #defaults: LegWishes;
  /** Trunks whose keys were sent in clear, and about which that has been said. */
  readonly #warned = new Set<string | null>();

  /** `defaults`: for calls that come from no trunk row. */
  constructor(log: Log = silentLog, defaults: LegWishes = G711) {
    this.#log = log;
    this.#defaults = defaults;
  }

  /** For a call that comes in. A row without a codec of ours speaks what the node speaks. */
  wishesOf(
    trunk: Pick<TrunkSource, 'codecs' | 'srtp' | 'rtcpMux' | 'mediaSource'> | null,
  ): LegWishes {
    if (trunk === null) return this.#defaults;
    const { codecs = [], srtp = 'off', rtcpMux = false, mediaSource = 'auto' } = trunk;
    const spoken = codecs.length > 0 ? codecs : this.#defaults.codecs;
    return { srtp, rtcpMux, mediaSource, codecs: spoken };
  }

  /** SRTP whose keys went over the wire for everybody to read protects from nobody there: said once for each trunk. */
  agreed(audio: NegotiatedAudio, { trunkId, transport }: LegPlace): void {
    const isSealed = transport === 'tls' || transport === 'wss';
    if (audio.srtp == null || isSealed || this.#warned.has(trunkId)) return;
    if (this.#warned.size >= MAX_WARNED) this.#warned.clear();
    this.#warned.add(trunkId);
    this.#log.warn('srtp.keysInClear', { trunkId, transport, help: HELP });
  }

  /** `preferred` lets the other side have plain RTP, also in mid-call; nobody should find that out by accident. */
  unsealed(place: LegPlace): void {
    this.#log.warn('srtp.dropped', { ...place, help: HELP });
  }

  /** An offer or answer of which nothing could be used: logged, and told in one line for people. */
  refused(sdp: string, local: LegWishes & { readonly address: string }, place: LegPlace): string {
    const reason = whyRefused(readSdp(sdp), local);
    this.#log.warn('call.mediaRefused', { ...place, reason, help: HELP });
    return reason;
  }
}
