/** Clients on a running call: who may attach as what, and what each of them says, hears and is told (contract 2.5). */
import type { Id } from '#lib/ids.ts';
import { LossyRing } from '#media/lossy-ring.ts';
import { MAX_TAPS, SAMPLE_RATE_HZ, type MediaSession } from '#media/types.ts';
import type { Attachment, AttachResult, AttachRole } from './call-attach-types.ts';
import type { CallFrame, FrameListener } from './call-frames.ts';
import type { LiveCallView } from './call-service-types.ts';
import { CallListener } from './call-listener.ts';
import type { CallStory } from './story.ts';
import type { Talk } from './talk.ts';
import type { WebLeg } from './web-leg.ts';

/** What clients use of a running call. */
export type ClientSide = {
  readonly story: CallStory;
  /** Null for a call over SIP: its caller side is a phone. */
  readonly leg: WebLeg | null;
  /** Null before it is opened and once it is closed. */
  media(): MediaSession | null;
  /** Null before the answer. */
  conversation(): Pick<Talk, 'text' | 'onDtmf' | 'interrupt' | 'played' | 'functionResult'> | null;
};

/** Audio that comes before the media plane is ready. */
const EARLY_SAMPLES = 2 * SAMPLE_RATE_HZ;
const MAX_TEXT_CHARS = 8000;
const MAX_DIGITS = 64;
const DIGIT = /[0-9A-D*#]/g;
/** Nobody knows how long a client's key was down; this is what a telephone sends. */
const DIGIT_MS = 100;

/** The clients of one call. */
export class CallClients {
  readonly #side: ClientSide;
  #listeners = 0;

  constructor(side: ClientSide) {
    this.#side = side;
  }

  attach(role: AttachRole): AttachResult {
    return role === 'caller' ? this.#attachCaller() : this.#attachListener();
  }

  #attachCaller(): AttachResult {
    const { leg, story } = this.#side;
    if (leg === null) return { ok: false, refusal: 'WRONG_ROLE' };
    if (story.isOver) return { ok: false, refusal: 'OVER' };
    const refusal = leg.attach();
    if (refusal !== null) return { ok: false, refusal };
    return { ok: true, attachment: new CallerClient(this.#side, leg) };
  }

  #attachListener(): AttachResult {
    const { story } = this.#side;
    if (story.isOver) return { ok: false, refusal: 'OVER' };
    if (this.#listeners >= MAX_TAPS) return { ok: false, refusal: 'FULL' };
    this.#listeners++;
    const onGone = (): number => this.#listeners--;
    return { ok: true, attachment: new CallListener(this.#side, onGone) };
  }
}

/** The caller side of a web call. */
class CallerClient implements Attachment {
  readonly role = 'caller';
  readonly #side: ClientSide;
  readonly #leg: WebLeg;
  #early: LossyRing | null = null;
  #rings: MediaSession['web'] = null;
  /** Marks behind sound that the client has not been given yet. */
  #marks: { readonly frame: CallFrame; readonly position: number }[] = [];
  #listener: FrameListener = () => undefined;
  #unsubscribe: () => void = () => undefined;
  #isGone = false;

  constructor(side: ClientSide, leg: WebLeg) {
    this.#side = side;
    this.#leg = leg;
  }

  get call(): LiveCallView {
    return this.#side.story.snapshot();
  }

  push(pcm: Int16Array): number {
    if (this.#isGone) return 0;
    const web = this.#web();
    if (web !== null) return web.push(pcm);
    if (this.#side.story.isOver) return 0;
    this.#early ??= LossyRing.create(EARLY_SAMPLES);
    return this.#early.write(pcm);
  }

  read(into: Int16Array): number {
    if (this.#isGone) return 0;
    const web = this.#web();
    if (web === null) return 0;
    this.#tellMarks(web.consumed);
    return web.read(into);
  }

  onFrame(listener: FrameListener, canAnswer = true): void {
    if (this.#isGone) return;
    this.#listener = listener;
    this.#unsubscribe();
    const { feed } = this.#side.story;
    this.#unsubscribe = feed.subscribe(
      (frame) => this.#take(frame),
      () => canAnswer,
    );
  }

  text(text: string): void {
    const words = text.trim().slice(0, MAX_TEXT_CHARS);
    if (words !== '') this.#conversation()?.text(words);
  }

  dtmf(digits: string): void {
    const pressed = digits.toUpperCase().match(DIGIT) ?? [];
    for (const digit of pressed.slice(0, MAX_DIGITS))
      this.#conversation()?.onDtmf(digit, DIGIT_MS, 'web');
  }

  interrupt(): void {
    this.#conversation()?.interrupt();
  }

  hangup(): void {
    if (!this.#isGone) this.#leg.hangUp();
  }

  played(mark: string): void {
    this.#conversation()?.played(mark);
  }

  functionResult(id: string, result: unknown): boolean {
    return this.#conversation()?.functionResult(id, result) ?? false;
  }

  detach(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#unsubscribe();
    this.#listener = () => undefined;
    this.#marks = [];
    this.#leg.detach();
  }

  #conversation(): ReturnType<ClientSide['conversation']> {
    return this.#isGone ? null : this.#side.conversation();
  }

  /** The rings of the call, once what came before them has been put in. */
  #web(): MediaSession['web'] {
    // The end of the call closes the media before the last words have been read.
    this.#rings ??= this.#side.media()?.web ?? null;
    const web = this.#rings;
    if (web === null || this.#early === null) return web;
    const early = new Int16Array(this.#early.available);
    this.#early.read(early);
    this.#early = null;
    web.push(early);
    return web;
  }

  #take(frame: CallFrame): void {
    const web = this.#web();
    if (frame.type === 'mark' && web !== null) {
      this.#marks.push({ frame, position: web.sent });
      return;
    }
    if (frame.type === 'clear') {
      this.#marks = [];
      web?.clear();
    }
    this.#listener(frame);
  }

  #tellMarks(consumed: number): void {
    for (let mark = this.#marks[0]; mark !== undefined; mark = this.#marks[0]) {
      if (mark.position > consumed) return;
      this.#marks.shift();
      this.#listener(mark.frame);
    }
  }
}

/** Whether a client may see this call at all. */
export function isVisible(
  story: Pick<CallStory, 'accountId' | 'agentId'>,
  accountId: Id,
  allowedAgentIds: readonly Id[] | null,
): boolean {
  if (story.accountId !== accountId) return false;
  return allowedAgentIds === null || allowedAgentIds.includes(story.agentId);
}
