/** Sends a call's RTCP every five seconds, with the figures of its sender and receiver. */
import type { Clock } from '#lib/clock.ts';
import { RTCP_INTERVAL_MS, RtcpReporter } from './rtcp.ts';
import type { RtpSender } from './rtp-sender.ts';
import type { RtpSequence } from './rtp-sequence.ts';
import type { RtpTransport } from './rtp-socket.ts';

export type RtcpTimerParts = {
  readonly clock: Clock;
  readonly transport: RtpTransport;
  readonly sender: RtpSender;
  readonly sequence: RtpSequence;
  readonly cname: string;
};

export class RtcpTimer {
  readonly #parts: RtcpTimerParts;
  readonly #reporter: RtcpReporter;
  #nextMs = 0;

  constructor(parts: RtcpTimerParts) {
    this.#parts = parts;
    this.#reporter = new RtcpReporter(parts.cname);
  }

  /** The first report is due five seconds from now. */
  start(nowMs: number): void {
    this.#nextMs = nowMs + RTCP_INTERVAL_MS;
  }

  /** Call it every frame. A call that must not send is silent here too. */
  tick(nowMs: number, canSend: boolean): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + RTCP_INTERVAL_MS;
    if (canSend) this.send(false);
  }

  /** A report now; with `isBye` the last one. */
  send(isBye: boolean): void {
    const { clock, transport, sender, sequence } = this.#parts;
    const remote = {
      ssrc: sequence.ssrc,
      lost: sequence.lost,
      expected: sequence.expected,
      highestSequence: sequence.highest,
      jitterUnits: sequence.jitterUnits,
    };
    const figures = {
      ssrc: sender.ssrc,
      wallMs: clock.wallMs(),
      rtpTimestamp: sender.timestamp,
      packetsSent: sender.packetsSent,
      octetsSent: sender.octetsSent,
      remote: sequence.highest < 0 ? null : remote,
    };
    transport.sendRtcp(this.#reporter.report(figures, isBye));
  }
}
