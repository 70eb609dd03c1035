/** What the wire says about one call of our server: when it was acknowledged and hung up, and what each side sent. */
import type { Datagram } from './pcap.ts';
import { rtpStreams, speechTimes, type RtpStreamReport } from './rtp-report.ts';

export type CallFacts = {
  readonly ackMs: number;
  readonly byeMs: number;
  readonly fromCaller: RtpStreamReport;
  readonly fromAgent: RtpStreamReport;
  /** ACK to the first agent packet that carries sound. */
  readonly greetedAfterMs: number;
};

/** The facts of the only call in the capture. Throws when a part of it is missing. */
export function callFacts(datagrams: readonly Datagram[], node: string): CallFacts {
  const streams = rtpStreams(datagrams);
  const fromAgent = streams.find((stream) => stream.source.startsWith(`${node}:`));
  const fromCaller = streams.find((stream) => stream.target.startsWith(`${node}:`));
  if (fromAgent === undefined || fromCaller === undefined) {
    throw new Error(
      `one-way or no audio: ${streams.map(({ source, target }) => `${source} -> ${target}`).join(', ')}`,
    );
  }
  // A refused first attempt (407) has an ACK of its own: only the one after the 200 counts.
  const answered = datagrams.findIndex(({ payload }) => isInviteAnswer(payload));
  const ackMs = requestTime(datagrams.slice(Math.max(0, answered)), 'ACK');
  return {
    ackMs,
    byeMs: requestTime(datagrams, 'BYE'),
    fromAgent,
    fromCaller,
    greetedAfterMs: (speechTimes(fromAgent)[0] ?? Number.POSITIVE_INFINITY) - ackMs,
  };
}

export function requestTime(datagrams: readonly Datagram[], method: string): number {
  const found = datagrams.find(({ payload }) =>
    payload.toString('latin1', 0, method.length + 5).startsWith(`${method} sip:`),
  );
  if (found === undefined) throw new Error(`no ${method} in the capture`);
  return found.atMs;
}

function isInviteAnswer(payload: Buffer): boolean {
  const text = payload.toString('latin1');
  return text.startsWith('SIP/2.0 200') && /\r\ncseq: *\d+ INVITE/i.test(text);
}
