/** When RTCP is due (RFC 3550 6.2, 6.3): about every five seconds, the first earlier, never in step with others. */

export type RtcpIntervalInput = {
  /** Our mean compound packet, with the headers below it. */
  readonly packetBytes: number;
  /** Of the session, RTCP's twentieth not taken off, bits a second. */
  readonly sessionBps: number;
  readonly isFirst: boolean;
  /** 0..1. */
  readonly random: number;
};

const MIN_INTERVAL_MS = 5000;
/** Both ends of a call, each a sender: the share of each is the same whoever speaks. */
const MEMBERS = 2;
const RTCP_SHARE = 0.05;
/** Randomising and reconsidering shorten the mean: e - 3/2 makes up for it (6.3.1). */
const COMPENSATION = Math.E - 1.5;

/** Milliseconds to the next report: 0.5 to 1.5 times the interval of 6.3.1. */
export function rtcpIntervalMs(input: RtcpIntervalInput): number {
  const least = input.isFirst ? MIN_INTERVAL_MS / 2 : MIN_INTERVAL_MS;
  const bytesPerS = (input.sessionBps * RTCP_SHARE) / 8;
  const fair = (1000 * MEMBERS * input.packetBytes) / bytesPerS;
  return (Math.max(least, fair) * (0.5 + input.random)) / COMPENSATION;
}
