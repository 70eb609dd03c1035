/**
 * Whose RTCP a call listens to, and where its own goes. RTCP is taken from the address the audio comes from (the
 * signalled one before any has come) and the port that goes with it. Behind a NAT that port is anybody's guess: there the
 * first packet of the audio's own sender tells it.
 */
import type { NegotiatedAudio } from '../types.ts';

/** 'probe': from the right host, on a port that a NAT may have made; its sender decides. */
export type RtcpVerdict = 'accept' | 'probe' | 'foreign';

export type RtcpRoute = { readonly isMuxed: boolean; readonly port: number | null };

export class RtcpSource {
  #signalledAddress = '';
  #signalledPort = 0;
  #isMuxed = false;
  #rtcpPort: number | null = null;
  #address = '';
  #port = 0;
  /** Learnt behind a NAT; 0: not yet. */
  #learntPort = 0;

  /** As with the audio's source, a new address opens the question again. */
  negotiate(audio: NegotiatedAudio): void {
    const { remoteAddress, remotePort } = audio;
    this.#isMuxed = audio.rtcpMux === true;
    this.#rtcpPort = audio.remoteRtcpPort ?? null;
    if (remoteAddress === this.#signalledAddress && remotePort === this.#signalledPort) return;
    this.#signalledAddress = remoteAddress;
    this.#signalledPort = remotePort;
    this.latched(remoteAddress, remotePort);
  }

  /** The audio comes from here. */
  latched(address: string, port: number): void {
    this.#address = address;
    this.#port = port;
    this.#learntPort = 0;
  }

  /** Where RTCP is to go. */
  get route(): RtcpRoute {
    if (this.#isMuxed) return { isMuxed: true, port: null };
    if (this.#learntPort > 0) return { isMuxed: false, port: this.#learntPort };
    return { isMuxed: false, port: this.#isElsewhere ? null : this.#rtcpPort };
  }

  judge(address: string, port: number): RtcpVerdict {
    if (address !== this.#address || port === 0) return 'foreign';
    if (port === this.#expectedPort) return 'accept';
    return this.#isElsewhere && !this.#isMuxed && this.#learntPort === 0 ? 'probe' : 'foreign';
  }

  /** A probe proved to be the audio's sender. */
  learn(port: number): void {
    this.#learntPort = port;
  }

  get #expectedPort(): number {
    if (this.#isMuxed) return this.#port;
    if (this.#learntPort > 0) return this.#learntPort;
    if (this.#isElsewhere || this.#rtcpPort === null) return this.#port + 1;
    return this.#rtcpPort;
  }

  /** The audio comes from another place than was signalled: a NAT. */
  get #isElsewhere(): boolean {
    return this.#address !== this.#signalledAddress || this.#port !== this.#signalledPort;
  }
}
