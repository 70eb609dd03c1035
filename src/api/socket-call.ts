/** A client on a call: its audio and its frames, in the words of its socket. The call itself is unharmed by its faults. */
import type { Clock } from '#lib/clock.ts';
import type { AudioPump, Pumped } from '#sessions/audio-pump.ts';
import type { Attachment } from '#sessions/call-attach-types.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { Problem } from './problem.ts';
import { RateLimiter } from './rate-limit.ts';
import { Downlink, Lead, Uplink, type Resampling } from './socket-audio.ts';
import type { ClientCommand, Rates, Skin } from './socket-frames.ts';
import type { SocketSession } from './socket-session.ts';

const OVERRUN_EVERY_MS = 1_000;
/** Words, keys and interruptions of one client: as many as requests of one (contract 1.6). */
const EVENT_RATE = { ratePerS: 50, burst: 100 };

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
  readonly #toClient: { readonly lead: Lead; readonly send: (bytes: Uint8Array) => void };
  readonly #read: (into: Int16Array) => number;
  #rates: Rates;
  #uplink: Uplink;
  #downlink: Downlink;
  #isConfigured = false;
  #hasSpoken = false;
  readonly #events: RateLimiter;
  #status = '';
  #overrunAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  /**
   * Says `ready` at once; from then on the session's frames are to be given to `text` and `binary`. The attachment is
   * its own from here on, whatever goes wrong.
   */
  static begin(parts: CallSocketParts): CallSocket {
    try {
      return new CallSocket(parts);
    } catch (error) {
      parts.attachment.detach();
      throw error;
    }
  }

  private constructor(parts: CallSocketParts) {
    const { session, attachment, rates, resampling } = parts;
    this.#parts = parts;
    this.#rates = rates;
    this.#events = new RateLimiter(EVENT_RATE, parts.clock, 1);
    this.#toClient = {
      lead: new Lead(parts.clock),
      send: (bytes) => void session.sendAudio(bytes),
    };
    this.#read = (into) => attachment.read(into);
    this.#uplink = new Uplink(resampling, rates.uplinkHz);
    this.#downlink = new Downlink(resampling, rates.downlinkHz, this.#toClient);
    this.#ready();
    this.#tell({ type: 'status', status: attachment.call.status });
    attachment.onFrame((frame) => this.#tell(frame), parts.skin.answersFunctions);
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
        if (isListening) throw new Problem('FORBIDDEN');
        return this.#act(command);
      case 'result':
        // Also of a listener: on a telephone call nobody else could answer.
        if (!attachment.functionResult(command.id, command.result)) throw new Problem('NOT_FOUND');
    }
  }

  /** Errors: RATE_LIMITED. */
  #act(command: Extract<ClientCommand, { type: 'text' | 'dtmf' | 'interrupt' }>): void {
    const { attachment } = this.#parts;
    this.#spend(command.type === 'dtmf' ? command.digits.length : 1);
    if (command.type === 'text') return attachment.text(command.text);
    if (command.type === 'dtmf') return attachment.dtmf(command.digits);
    attachment.interrupt();
  }

  /** Each of these is an event of the call, kept for good. */
  #spend(count: number): void {
    if (this.#events.peek('').remaining < count) throw new Problem('RATE_LIMITED');
    for (let spent = 0; spent < count; spent++) this.#events.take('');
  }

  /**
   * Once, and before the client's own audio. The call may be speaking already: what follows the new `ready` has the new
   * rate. Errors: INVALID_STATE.
   */
  #configure({ uplinkHz, downlinkHz }: Rates): void {
    if (this.#isConfigured || this.#hasSpoken) throw new Problem('INVALID_STATE');
    const { resampling } = this.#parts;
    this.#isConfigured = true;
    this.#downlink.flush();
    this.#uplink.close();
    this.#downlink.close();
    this.#rates = { uplinkHz, downlinkHz };
    this.#uplink = new Uplink(resampling, uplinkHz);
    this.#downlink = new Downlink(resampling, downlinkHz, this.#toClient);
    this.#ready();
  }

  // ---- Down ----

  pump(): void {
    try {
      this.#downlink.pump(this.#read);
    } catch (error) {
      this.#parts.session.fault(error);
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
    if (frame.type === 'mark')
      return this.#downlink.after(() => told !== null && session.send(told));
    if (frame.type === 'clear') this.#downlink.clear();
    if (frame.type === 'ended') this.#downlink.drain(this.#read);
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
