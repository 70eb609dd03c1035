/** The names of what can be wrong with a call's audio, and when it is: by what was counted, against stated limits. */

/** In order of importance: the first one that holds is the call's fault. */
export const QUALITY_FAULTS = [
  'srtp_mismatch',
  'one_way_audio',
  'silence',
  'loss',
  'jitter',
  'delay',
  'echo',
  'clipping',
  'low_level',
  'double_talk',
] as const;

export type QualityFault = (typeof QUALITY_FAULTS)[number];

/** Frames are of 20 ms. */
export type FaultFacts = {
  readonly packetsReceived: number;
  readonly packetsSent: number;
  /** Packets in a row that failed their authentication under SRTP, at most. */
  readonly forgedRun: number;
  /** Frames during which both sides were to hear each other. */
  readonly openFrames: number;
  /** The far end reports, again and again, that nothing of ours arrives. */
  readonly farHearsNothing: boolean;
  /** Packets of the caller; of them lost on the way, and come too late to be heard. */
  readonly expected: number;
  readonly lostPct: number;
  readonly discardedPct: number;
  /** Of ours, by the far end's reports; null: it sends none. */
  readonly farLossPct: number | null;
  readonly jitterMs: number;
  /** Mouth to ear; null: not measured. */
  readonly delayMs: number | null;
  readonly frames: number;
  readonly silentFrames: number;
  readonly clippedFrames: number;
  readonly loudFrames: number;
  /** By the detector: time the caller spoke. */
  readonly speechFrames: number;
  /** By level: frames that stand out, and theirs; null: none do. */
  readonly voiceFrames: number;
  readonly voiceDbov: number | null;
  readonly echoFrames: number;
  readonly agentFrames: number;
  readonly doubleFrames: number;
};

/** Two seconds of packets: a stranger's flood has the phone's own between its packets. */
const FORGED_PACKETS = 100;
/** Two seconds of an open line without a packet: a phone that has answered sends within a few hundred ms. */
const ONE_WAY_FRAMES = 100;
/** Five seconds in which not one frame had any sound at all. */
const SILENCE_FRAMES = 250;
/** Fewer packets than this are no share of anything. */
const MIN_EXPECTED = 100;
/** Costs 10 points of R with concealment: from "satisfied" to "some dissatisfied" (G.109). */
const LOSS_PCT = 3;
/** One packet in a hundred too late, or jitter that is heard (the carriers' rule of thumb). */
const DISCARDED_PCT = 1;
const JITTER_MS = 30;
/** Twice the 150 ms that G.114 finds good for all: talkers begin to collide. */
const DELAY_MS = 300;
/** A second of it, and a tenth of what the agent said: a likeness by chance is neither. */
const ECHO_FRAMES = 50;
const ECHO_SHARE = 0.1;
/** Half a second of flat tops, and a twentieth of what is loud: plosives touch the limit now and then. */
const CLIPPED_FRAMES = 25;
const CLIPPED_SHARE = 0.05;
/** 14 dB below the nominal level of speech (-26 dBov, P.56), over two seconds of it. */
const LOW_DBOV = -40;
const LOW_FRAMES = 100;
/** Three seconds and a quarter of the caller's speech: a barge-in ends within one. */
const DOUBLE_FRAMES = 150;
const DOUBLE_SHARE = 0.25;

const HOLDS: Readonly<Record<QualityFault, (facts: FaultFacts) => boolean>> = {
  srtp_mismatch: (f) => f.forgedRun >= FORGED_PACKETS,
  one_way_audio: (f) =>
    f.farHearsNothing ||
    (f.packetsReceived === 0 && f.openFrames >= ONE_WAY_FRAMES && f.packetsSent > 0),
  silence: (f) => f.frames >= SILENCE_FRAMES && f.silentFrames === f.frames,
  loss: (f) =>
    (f.expected >= MIN_EXPECTED && f.lostPct >= LOSS_PCT) || (f.farLossPct ?? 0) >= LOSS_PCT,
  jitter: (f) =>
    f.expected >= MIN_EXPECTED && (f.discardedPct >= DISCARDED_PCT || f.jitterMs > JITTER_MS),
  delay: (f) => (f.delayMs ?? 0) >= DELAY_MS,
  echo: (f) => f.echoFrames >= ECHO_FRAMES && f.echoFrames >= f.agentFrames * ECHO_SHARE,
  clipping: (f) =>
    f.clippedFrames >= CLIPPED_FRAMES && f.clippedFrames >= f.loudFrames * CLIPPED_SHARE,
  low_level: (f) => f.voiceDbov !== null && f.voiceFrames >= LOW_FRAMES && f.voiceDbov < LOW_DBOV,
  double_talk: (f) =>
    f.doubleFrames >= DOUBLE_FRAMES && f.doubleFrames >= f.speechFrames * DOUBLE_SHARE,
};

/** All that is wrong, the most important first. */
export function faultsOf(facts: FaultFacts): QualityFault[] {
  return QUALITY_FAULTS.filter((fault) => HOLDS[fault](facts));
}
