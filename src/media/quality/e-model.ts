/**
 * The E-model (ITU-T G.107) as far as a packet network changes it: all other parameters at their defaults, delay by the
 * usual approximation for a connection without echo, impairment by codec and loss from G.113 Appendix I.
 */
import type { CodecName } from '#lib/audio-codec.ts';

/** What a codec costs, and how well it stands loss with concealment at the receiver. */
export type CodecImpairment = {
  /** Equipment impairment without loss. */
  readonly ie: number;
  /** Packet-loss robustness: the higher, the better. */
  readonly bpl: number;
  /** Delay of the algorithm beyond the packet itself, ms. */
  readonly lookaheadMs: number;
};

/** G.711 with a receiver that fills no holes (G.113 table I.4). */
export const BPL_NO_CONCEALMENT = 4.3;

/**
 * G.711: G.113 tables I.1 and I.4, with concealment in the manner of Appendix I; L16 is concealed in the same way. G.722
 * and Opus have no narrow-band values in G.113 and are heard at 8 kHz here, so these are our estimates: both transparent
 * at that width; a G.722 decoder is off for a while after a hole (as G.729, Bpl 19), Opus has its own concealment.
 */
export const CODEC_IMPAIRMENTS: Readonly<Record<CodecName, CodecImpairment>> = {
  PCMA: { ie: 0, bpl: 25.1, lookaheadMs: 0 },
  PCMU: { ie: 0, bpl: 25.1, lookaheadMs: 0 },
  L16: { ie: 0, bpl: 25.1, lookaheadMs: 0 },
  G722: { ie: 0, bpl: 19, lookaheadMs: 1.5 },
  opus: { ie: 0, bpl: 25.1, lookaheadMs: 6.5 },
};

export type EModelInput = {
  readonly codec: CodecImpairment;
  /** Of all packets, those lost or come too late. */
  readonly lossPct: number;
  /** Mean run of losses to what it were if they came at random; 1: at random. */
  readonly burstRatio: number;
  /** Mouth to ear, ms; 0 leaves delay out (listening quality). */
  readonly delayMs: number;
};

/** R without any impairment, by the defaults of G.107. */
const R_DEFAULT = 93.2;
/** Delay from which conversation suffers, ms. */
const DELAY_KNEE_MS = 177.3;
/** G.107 is not meant for runs longer than this against random loss. */
const MAX_BURST_RATIO = 8;

/** Rating factor R, 0..93.2. */
export function rFactor({ codec, lossPct, burstRatio, delayMs }: EModelInput): number {
  const loss = Math.min(100, Math.max(0, lossPct));
  const burst = Math.min(MAX_BURST_RATIO, Math.max(1, burstRatio));
  const delay = Math.max(0, delayMs);
  const late = 0.024 * delay + 0.11 * Math.max(0, delay - DELAY_KNEE_MS);
  const equipment = codec.ie + ((95 - codec.ie) * loss) / (loss / burst + codec.bpl);
  return Math.min(R_DEFAULT, Math.max(0, R_DEFAULT - late - equipment));
}

/** Mean opinion score of conversation, 1..4.5, for a rating (G.107 Annex B). */
export function mosOf(r: number): number {
  if (r <= 0) return 1;
  if (r >= 100) return 4.5;
  // The polynomial dips below 1 for the smallest ratings.
  return Math.max(1, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6);
}

/**
 * BurstR (G.107): `lost` of `expected` packets fell into `runs` runs. 1 for random loss, more in bursts; loss that is more
 * even than chance counts as random.
 */
export function burstRatioOf(lost: number, expected: number, runs: number): number {
  if (lost <= 0 || runs <= 0 || lost >= expected) return 1;
  return Math.max(1, (lost / runs) * (1 - lost / expected));
}
