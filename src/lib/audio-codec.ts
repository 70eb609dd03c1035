/** The codecs a call can speak, by the names that trunks, session descriptions and the media plane share. */

/** In the order of the catalogue; a trunk has an order of its own. */
export const CODEC_NAMES = ['PCMA', 'PCMU', 'G722', 'opus', 'L16'] as const;

export type CodecName = (typeof CODEC_NAMES)[number];

export type CodecFacts = {
  /** Payload type without an rtpmap (RFC 3551 table 4); null: always dynamic. */
  readonly staticPayloadType: number | null;
  /** Of RTP time stamps, and in the rtpmap. G.722 says 8000 although it samples at 16,000 (RFC 3551 4.5.2). */
  readonly clockHz: number;
  /** In the rtpmap: Opus always says 2, whatever is sent (RFC 7587 4.1). */
  readonly channels: number;
};

export const CODEC_FACTS: Readonly<Record<CodecName, CodecFacts>> = {
  PCMA: { staticPayloadType: 8, clockHz: 8000, channels: 1 },
  PCMU: { staticPayloadType: 0, clockHz: 8000, channels: 1 },
  G722: { staticPayloadType: 9, clockHz: 8000, channels: 1 },
  opus: { staticPayloadType: null, clockHz: 48_000, channels: 2 },
  L16: { staticPayloadType: null, clockHz: 8000, channels: 1 },
};

/** What the receiver of an Opus stream asks for (RFC 7587 6.1), as far as a sender can follow it. */
export type OpusWishes = {
  readonly useInbandFec: boolean;
  readonly useDtx: boolean;
  /** Bits a second; null: the sender's choice. */
  readonly maxAverageBitrate: number | null;
};

/** A list such as `PCMA, opus`, best first; names in any case. What is none of ours is in `unknown`. */
export function parseCodecs(text: string): {
  readonly codecs: readonly CodecName[];
  readonly unknown: readonly string[];
} {
  const codecs = new Set<CodecName>();
  const unknown: string[] = [];
  for (const name of text.split(/[\s,]+/)) {
    const codec = CODEC_NAMES.find((each) => each.toLowerCase() === name.toLowerCase());
    if (codec !== undefined) codecs.add(codec);
    else if (name !== '') unknown.push(name);
  }
  return { codecs: [...codecs], unknown };
}
