/** Somebody who hears a call and says nothing: both sides mixed, and the frames. */
import { toAppError } from '#lib/errors.ts';
import type { MediaTap } from '#media/types.ts';
import type { ClientSide } from './call-attach.ts';
import type { Attachment } from './call-attach-types.ts';
import type { CallFrame, FrameListener } from './call-frames.ts';
import type { LiveCallView } from './call-service-types.ts';

const MAX_SAMPLE = 32_767;
const MIN_SAMPLE = -32_768;

export class CallListener implements Attachment {
  readonly role = 'listen';
  readonly #side: ClientSide;
  readonly #onGone: () => void;
  #tap: MediaTap | null = null;
  #caller = new Int16Array(0);
  #isTapped = false;
  #canAnswer = false;
  #listener: FrameListener = () => undefined;
  readonly #unsubscribe: () => void;
  #isGone = false;

  constructor(side: ClientSide, onGone: () => void) {
    this.#side = side;
    this.#onGone = onGone;
    this.#unsubscribe = side.story.feed.subscribe(
      (frame) => this.#take(frame),
      () => this.#canAnswer,
    );
    this.#listen();
  }

  get call(): LiveCallView {
    return this.#side.story.snapshot();
  }

  push(): number {
    return 0;
  }

  read(into: Int16Array): number {
    if (this.#isGone) return 0;
    this.#listen();
    if (this.#tap === null) return 0;
    if (this.#caller.length !== into.length) this.#caller = new Int16Array(into.length);
    const caller = this.#caller;
    const count = this.#tap.read(caller, into);
    for (let i = 0; i < count; i++) {
      const sum = (caller[i] as number) + (into[i] as number);
      into[i] = Math.max(MIN_SAMPLE, Math.min(MAX_SAMPLE, sum));
    }
    return count;
  }

  onFrame(listener: FrameListener, canAnswer = true): void {
    if (this.#isGone) return;
    this.#listener = listener;
    this.#canAnswer = canAnswer;
  }

  text(): void {}
  dtmf(): void {}
  interrupt(): void {}
  hangup(): void {}
  played(): void {}

  /** Also on a telephone call: the functions of its agent are answered by whoever has joined it. */
  functionResult(id: string, result: unknown): boolean {
    if (this.#isGone) return false;
    return this.#side.conversation()?.functionResult(id, result) ?? false;
  }

  detach(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#unsubscribe();
    this.#listener = () => undefined;
    this.#tap?.close();
    this.#onGone();
  }

  #take(frame: CallFrame): void {
    if (frame.type === 'status') this.#listen();
    // Nobody interrupts a listener: what it has of it was said.
    if (frame.type !== 'clear') this.#listener(frame);
  }

  /** From the answer on, to the word: before it the media may still move to another address. */
  #listen(): void {
    const { story } = this.#side;
    if (this.#isTapped || !story.isAnswered || story.isOver) return;
    const session = this.#side.media();
    if (session === null) return;
    this.#isTapped = true;
    try {
      this.#tap = session.tap();
    } catch (error) {
      const { code, message } = toAppError(error);
      this.#listener({ type: 'fault', code, message, fatal: false });
    }
  }
}
