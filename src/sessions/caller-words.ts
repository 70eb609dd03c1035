/** What the caller says, from the detector's word to the transcript; and what of it nobody has answered yet. */
import type { SttEvent, TurnInput, UtteranceAudio } from '#providers/contract.ts';
import { joinPieces } from '#providers/speakable.ts';
import { Hearing, type HeardUtterance } from './hearing.ts';
import type { CallStory } from './story.ts';

/** Breaths drawn in one message. */
const MAX_PARTS = 64;

export class CallerWords {
  readonly #story: CallStory;
  readonly #hearing = new Hearing();
  #beganMs = 0;
  /** Read, and in the transcript once the turn is over. */
  #turn: HeardUtterance[] = [];

  constructor(story: CallStory) {
    this.#story = story;
  }

  get averageConfidence(): number | null {
    return this.#hearing.averageConfidence;
  }

  /** The detector heard speech begin. */
  began(startMs: number): void {
    this.#beganMs = Math.round(startMs);
  }

  /** What the recogniser takes it for so far: clients are told, nobody keeps it. */
  partial(text: string, atMs: number): void {
    const times = { startMs: this.#beganMs, endMs: Math.max(this.#beganMs, Math.round(atMs)) };
    if (text !== '') this.#story.heardSoFar(text, times);
  }

  /** Written instead of spoken. */
  written(text: string, atMs: number): void {
    this.endTurn();
    const times = { startMs: Math.round(atMs), endMs: Math.round(atMs) };
    const heard = { ...times, text, confidence: null, audio: () => null };
    this.#tellSpeech(heard, null);
    this.#turn.push(heard);
    this.endTurn();
    this.#hearing.keep(heard);
  }

  /** The detector heard an utterance end; `audio` is called only if someone wants the sound. */
  stopped(startMs: number, endMs: number, audio: () => UtteranceAudio): void {
    this.#hearing.stopped(startMs, endMs, audio);
  }

  /**
   * The recogniser's word. `isNoise`: not worth telling; `isOver`: said while the agent spoke, so it is a message of its
   * own, while what is said in one turn is one. False when it comes too late for its utterance.
   */
  read(
    final: Extract<SttEvent, { type: 'final' }>,
    { isNoise, isOver }: { readonly isNoise: boolean; readonly isOver: boolean },
  ): boolean {
    const heard = this.#hearing.read(final);
    if (heard === null) return false;
    if (isNoise) return true;
    this.#tellSpeech(heard, final.language);
    this.#turn.push(heard);
    if (isOver || this.#turn.length >= MAX_PARTS) this.endTurn();
    this.#hearing.keep(heard);
    return true;
  }

  /** What was said since the last message is one: however often he drew breath. */
  endTurn(): void {
    const parts = this.#turn;
    const [first] = parts;
    if (first === undefined) return;
    this.#turn = [];
    const sure = parts.flatMap(({ confidence }) => (confidence === null ? [] : confidence));
    const sum = sure.reduce((total, each) => total + each, 0);
    const times = { start_ms: first.startMs, end_ms: parts.at(-1)?.endMs ?? first.endMs };
    const confidence = sure.length === 0 ? {} : { confidence: sum / sure.length };
    const content = wordsOf(parts);
    this.#story.message({ role: 'user', content, ...times, ...confidence }, first.startMs);
  }

  /**
   * What the next turn's input would be if `partial` were all that is still to be read, and what the transcript would
   * have of it besides what it has.
   */
  ahead(partial: string): { readonly input: string; readonly message: string } {
    const join = (words: string): string => joinPieces([words, partial].filter(Boolean));
    return { input: join(this.#hearing.unanswered), message: join(wordsOf(this.#turn)) };
  }

  /** Everything said since the last reply, as one input. */
  takeInput(): TurnInput {
    return this.#hearing.takeInput();
  }

  /** Nothing of the answer to that input was heard. */
  giveBackInput(): void {
    this.#hearing.giveBack();
  }

  /** Speech that no recogniser has read is in the transcript all the same, without words. */
  giveUp(): void {
    for (const unread of this.#hearing.giveUp()) {
      this.#tellSpeech(unread, null);
      this.#turn.push(unread);
    }
    this.endTurn();
  }

  #tellSpeech({ startMs, endMs, text, confidence }: HeardUtterance, language: string | null): void {
    const times = { start_ms: startMs, end_ms: endMs };
    this.#story.fact('user-speech', { text, is_final: true, ...times, confidence, language });
  }
}

function wordsOf(parts: readonly HeardUtterance[]): string {
  return joinPieces(parts.map(({ text }) => text).filter((text) => text !== ''));
}
