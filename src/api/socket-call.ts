/** A client on a call: its audio and its frames, in the words of its socket. The call itself is unharmed by its faults. */
import type { Clock } from '#lib/clock.ts';
import type { AudioPump, Pumped } from '#sessions/audio-pump.ts';
import type { Attachment } from '#sessions/call-attach-types.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { Problem } from './problem.ts';
import { Downlink, Uplink, type Resampling } from './socket-audio.ts';
import type { ClientCommand, Rates, Skin } from './socket-frames.ts';
import type { SocketSession } from './socket-session.ts';

const OVERRUN_EVERY_MS = 1_000;

export type CallSocketParts = {
  readonly session: SocketSession;
  readonly attachment: Attachment;
  readonly skin: Skin;
  readonly rates: Rates;
  readonly resampling: Resampling;
  /** Every 20 ms. */
  readonly pump: AudioPump;
  readonly clock: Clock;
};

export class CallSocket implements Pumped {
  readonly #parts: CallSocketParts;
  readonly #send: (bytes: Uint8Array) => void;
  #rates: Rates;
  #uplink: Uplink;
  #downlink: Downlink;
  #isConfigured = false;
  #hasSpoken = false;
  #status = '';
  #overrunAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  /** Says `ready` at once; from then on the session's frames are to be given to `text` and `binary`. */
  constructor(parts: CallSocketParts) {
    const { session, attachment, rates, resampling } = parts;
    this.#parts = parts;
    this.#rates = rates;
    this.#send = (bytes) => void session.sendAudio(bytes);
    this.#uplink = new Uplink(resampling, rates.uplinkHz);
    this.#downlink = new Downlink(resampling, rates.downlinkHz);
    this.#ready();
    this.#tell({ type: 'status', status: attachment.call.status });
    attachment.onFrame((frame) => this.#tell(frame));
    parts.pump.add(this);
  }

  // ---- Up ----

  /** False: no such `type` here. */
  text(type: string, frame: object): boolean {
    const { session, skin } = this.#parts;
    try {
      const command = skin.read(type, frame);
      if (command === null) return false;
      this.#obey(command);
    } catch (error) {
      // A fault of ours closes the socket; what the client did wrong it is told.
      if (!(error instanceof Problem)) throw error;
      session.refuse(error);
    }
    return true;
  }

  binary(data: Uint8Array): void {
    const { session, attachment, skin, clock } = this.#parts;
    if (attachment.role === 'listen') return;
    const pcm = this.#uplink.read(data);
    if (pcm === null) return session.error('BAD_FRAME');
    this.#hasSpoken = true;
    if (attachment.push(pcm) === 0) return;
    const nowMs = clock.now();
    if (nowMs - this.#overrunAtMs < OVERRUN_EVERY_MS) return;
    this.#overrunAtMs = nowMs;
    session.send(skin.warning('INPUT_OVERRUN', session.textOf('INPUT_OVERRUN')));
  }

  #obey(command: ClientCommand): void {
    const { session, attachment } = this.#parts;
    const isListening = attachment.role === 'listen';
    switch (command.type) {
      case 'ping':
        return session.send({ type: 'pong' });
      case 'webrtc':
        return session.error('WEBRTC_DISABLED');
      case 'config':
        return this.#configure(command);
      case 'mark':
        return attachment.played(command.name);
      case 'hangup':
        // A listener only leaves.
        if (isListening) return session.close(1000, 'left');
        return attachment.hangup(command.reason);
      case 'text':
      case 'dtmf':
      case 'interrupt':
      case 'result':
        if (isListening) throw new Problem('FORBIDDEN');
        return this.#act(command);
    }
  }

  #act(command: Extract<ClientCommand, { type: 'text' | 'dtmf' | 'interrupt' | 'result' }>): void {
    const { attachment } = this.#parts;
    if (command.type === 'text') return attachment.text(command.text);
    if (command.type === 'dtmf') return attachment.dtmf(command.digits);
    if (command.type === 'interrupt') return attachment.interrupt();
    if (!attachment.functionResult(command.id, command.result)) throw new Problem('NOT_FOUND');
  }

  /**
   * Once, and before the client's own audio. The call may be speaking already: what follows the new `ready` has the new
   * rate. Errors: INVALID_STATE.
   */
  #configure({ uplinkHz, downlinkHz }: Rates): void {
    if (this.#isConfigured || this.#hasSpoken) throw new Problem('INVALID_STATE');
    const { resampling } = this.#parts;
    this.#isConfigured = true;
    this.#downlink.flush(this.#send);
    this.#uplink.close();
    this.#downlink.close();
    this.#rates = { uplinkHz, downlinkHz };
    this.#uplink = new Uplink(resampling, uplinkHz);
    this.#downlink = new Downlink(resampling, downlinkHz);
    this.#ready();
  }

  // ---- Down ----

  pump(): void {
    const { attachment, session } = this.#parts;
    try {
      this.#downlink.pump((into) => attachment.read(into), this.#send);
    } catch (error) {
      session.fault(error);
    }
  }

  #ready(): void {
    const { session, attachment, skin } = this.#parts;
    session.send(skin.ready(attachment.call.id, this.#rates));
  }

  #tell(frame: CallFrame): void {
    const { session, skin } = this.#parts;
    const told = skin.tell(frame);
    // A mark belongs behind its audio, and nothing of what is void may follow `clear`.
    if (frame.type === 'mark') this.#downlink.flush(this.#send);
    if (frame.type === 'clear') this.#downlink.clear();
    if (frame.type === 'ended') this.pump();
    if (told !== null && this.#isNews(frame, told)) session.send(told);
    if (frame.type === 'ended') session.close(1000, 'call over');
  }

  /** Two of our statuses may be one word of the client's. */
  #isNews(frame: CallFrame, told: object): boolean {
    if (frame.type !== 'status') return true;
    const status = JSON.stringify(told);
    if (status === this.#status) return false;
    this.#status = status;
    return true;
  }

  /** The socket has ended: the caller side may come back for a while, a listener is just gone. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { attachment, pump } = this.#parts;
    pump.remove(this);
    this.#uplink.close();
    this.#downlink.close();
    attachment.detach();
  }
}
