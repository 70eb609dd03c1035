/**
 * What a client attached to a call is told while it goes on: one vocabulary inside, which the sockets of contract 2.4
 * and 2.5 put into their own words. Frames are told to whoever listens now; what must not be lost is an event.
 */
import type { CallStatus, HangupReason, Outcome } from '#lib/call-events.ts';

export type CallFrame =
  | { readonly type: 'status'; readonly status: CallStatus }
  /** Recognised caller speech; `isFinal` false while the recogniser may still change its mind. Call time in ms. */
  | {
      readonly type: 'heard';
      readonly text: string;
      readonly isFinal: boolean;
      readonly startMs: number;
      readonly endMs: number;
    }
  /** What the agent is about to say, piece by piece; the last one of a turn is final and may be empty. */
  | {
      readonly type: 'reply';
      readonly text: string;
      readonly turn: number;
      readonly isFinal: boolean;
    }
  /** The audio before it makes up one piece. */
  | { readonly type: 'mark'; readonly name: string }
  | {
      readonly type: 'interrupted';
      readonly turn: number;
      readonly heardMs: number;
      readonly heardText: string;
    }
  /** Audio that has been sent and not played is void. */
  | { readonly type: 'clear' }
  /** The agent asks the client; answered by `functionResult` of the attachment within `timeoutMs`. */
  | {
      readonly type: 'function_call';
      readonly id: string;
      readonly name: string;
      readonly arguments: Readonly<Record<string, unknown>>;
      readonly timeoutMs: number;
    }
  | {
      readonly type: 'fault';
      readonly code: string;
      readonly message: string;
      readonly fatal: boolean;
    }
  /** The last one. */
  | {
      readonly type: 'ended';
      readonly hangupReason: HangupReason | null;
      readonly outcome: Outcome;
      /** Whole seconds since the answer. */
      readonly duration: number;
    };

export type FrameListener = (frame: CallFrame) => void;

/** The frames of one call. A listener must return at once; one that throws is left out from then on. */
export class CallFeed {
  readonly #listeners = new Map<FrameListener, () => boolean>();
  readonly #onFault: (error: unknown) => void;

  constructor(onFault: (error: unknown) => void = () => undefined) {
    this.#onFault = onFault;
  }

  /** Whether anybody is there who would answer a `function_call`. */
  get canAnswer(): boolean {
    return [...this.#listeners.values()].some((canAnswer) => canAnswer());
  }

  /** Whether anybody listens. */
  get isHeard(): boolean {
    return this.#listeners.size > 0;
  }

  /** Returns the way to stop. `canAnswer`: asked at each `function_call`. */
  subscribe(listener: FrameListener, canAnswer: () => boolean = () => true): () => void {
    this.#listeners.set(listener, canAnswer);
    return () => this.#listeners.delete(listener);
  }

  tell(frame: CallFrame): void {
    for (const listener of this.#listeners.keys()) {
      try {
        listener(frame);
      } catch (error) {
        // One client's fault must not cost the others a word, and the call nothing at all.
        this.#listeners.delete(listener);
        this.#onFault(error);
      }
    }
  }
}
