/** The built-in caller: places one call and speaks, listens and measures on the wire. Shares nothing with the server. */
import { systemClock, type Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { G711Name } from './g711.ts';
import { openRtp, type ReceivedPacket, type RtpStream } from './rtp-stream.ts';
import { readSdp, writeSdp } from './sdp.ts';
import { SipCall } from './sip-call.ts';
import { parseTarget } from './sip-message.ts';
import { openFlow, type SipFlow } from './sip-transport.ts';
import { VoiceMeter } from './voice-meter.ts';

const DEFAULT_ANSWER_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
/** Longer than a pause between two sentences. */
const DEFAULT_QUIET_MS = 1200;

export type PhoneOptions = {
  /** `sip:user@host:port;transport=udp`. */
  readonly target: string;
  /** Address to call from; null lets the routing table choose. */
  readonly localAddress?: string | null;
  readonly codecs?: readonly G711Name[];
  readonly callerName?: string;
  readonly answerTimeoutMs?: number;
  readonly clock?: Clock;
};

export class PhoneCall {
  readonly sip: SipCall;
  readonly meter = new VoiceMeter();
  readonly codec: G711Name;
  readonly #rtp: RtpStream;
  readonly #flow: SipFlow;
  readonly #clock: Clock;

  constructor(parts: {
    sip: SipCall;
    rtp: RtpStream;
    flow: SipFlow;
    codec: G711Name;
    clock: Clock;
  }) {
    this.sip = parts.sip;
    this.codec = parts.codec;
    this.#rtp = parts.rtp;
    this.#flow = parts.flow;
    this.#clock = parts.clock;
    this.#rtp.onPacket((packet, pcm) => this.meter.write(packet.atMs, pcm));
  }

  get rtpPort(): number {
    return this.#rtp.localPort;
  }

  get localAddress(): string {
    return this.#flow.localAddress;
  }

  get received(): readonly ReceivedPacket[] {
    return this.#rtp.received;
  }

  get sent(): RtpStream['sent'] {
    return this.#rtp.sent;
  }

  /** Speaks; resolves when the last packet has left, with the times of the first and the last. Errors: E_ABORTED. */
  say(pcm: Int16Array): Promise<{ readonly firstMs: number; readonly lastMs: number }> {
    return this.#rtp.play(pcm);
  }

  /** Arrival of the agent's next first speech packet after `sinceMs`. Errors: E_TIMEOUT, E_ABORTED (call over). */
  hearSpeech(sinceMs: number, timeoutMs: number): Promise<number> {
    return this.#until(() => this.meter.firstAfter(sinceMs), timeoutMs, 'no speech from the agent');
  }

  /** Resolves when the agent has spoken without a pause for `ms`. Errors: E_TIMEOUT, E_ABORTED. */
  async hearSustained(ms: number, timeoutMs: number): Promise<void> {
    const sustained = (): true | undefined =>
      this.meter.runMs(this.#clock.now()) >= ms ? true : undefined;
    await this.#until(sustained, timeoutMs, 'no steady speech from the agent');
  }

  /** Resolves when the agent has spoken and been quiet since for `quietMs`. Errors: E_TIMEOUT, E_ABORTED. */
  async hearSilence(timeoutMs: number, quietMs = DEFAULT_QUIET_MS): Promise<void> {
    const quiet = (): true | undefined => {
      const sinceMs = this.meter.quietMs(this.#clock.now());
      return sinceMs !== undefined && sinceMs >= quietMs ? true : undefined;
    };
    await this.#until(quiet, timeoutMs, 'the agent does not stop speaking');
  }

  /** Hangs up (or notes that the other side did) and gives everything back. Idempotent. */
  async hangUp(): Promise<void> {
    await this.sip.bye();
    this.#rtp.close();
    this.#flow.close();
  }

  async #until<T>(read: () => T | undefined, timeoutMs: number, what: string): Promise<T> {
    const endMs = this.#clock.now() + timeoutMs;
    for (;;) {
      const value = read();
      if (value !== undefined) return value;
      if (this.sip.isOver) throw new AppError('E_ABORTED', 'the server hung up');
      if (this.#clock.now() >= endMs)
        throw new AppError('E_TIMEOUT', `${what} within ${timeoutMs} ms`);
      await delay(POLL_MS, undefined, this.#clock);
    }
  }
}

/**
 * Places a call and resolves once it is answered and RTP flows. The caller owns it: end it with `hangUp`.
 * Errors: E_CONFIG (target), E_TIMEOUT, E_SIP_REJECTED, E_SIP_ENGINE, E_SDP, E_MEDIA.
 */
export async function placeCall(options: PhoneOptions): Promise<PhoneCall> {
  const target = parseTarget(options.target);
  if (target === undefined) throw new AppError('E_CONFIG', `not a SIP address: ${options.target}`);
  const clock = options.clock ?? systemClock;
  const codecs = options.codecs ?? (['PCMA', 'PCMU'] as const);
  const flow = await openFlow(target, options.localAddress ?? null);
  let rtp: RtpStream | undefined;
  try {
    const stream = (rtp = await openRtp(flow.localAddress, clock));
    const local = { address: flow.localAddress, port: stream.localPort, codecs };
    let version = 1;
    const sip = new SipCall({
      flow,
      target,
      callerName: options.callerName ?? 'caller',
      clock,
      onOffer: (offer) => {
        if (offer === '') return writeSdp({ ...local, version: ++version });
        const remote = readSdp(offer);
        stream.start(remote);
        const direction = MIRROR[remote.direction];
        return writeSdp({ ...local, codecs: [remote.codec], version: ++version, direction });
      },
    });
    const answer = await sip.invite(
      writeSdp({ ...local, version }),
      options.answerTimeoutMs ?? DEFAULT_ANSWER_TIMEOUT_MS,
    );
    const remote = readSdp(answer);
    const call = new PhoneCall({ sip, rtp: stream, flow, codec: remote.codec, clock });
    stream.start(remote);
    return call;
  } catch (error) {
    rtp?.close();
    flow.close();
    throw error;
  }
}

/** Our direction for theirs (RFC 3264 6.1). */
const MIRROR = {
  sendrecv: 'sendrecv',
  sendonly: 'recvonly',
  recvonly: 'sendonly',
  inactive: 'inactive',
} as const;
