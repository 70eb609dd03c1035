/**
 * A reply that is begun while the caller's silence still lasts, by what he has said so far. When his turn ends with the
 * same words, it goes on where it is; else it is given up, and nobody knows of it but the bill. Nothing in it takes
 * effect before: tools are for whoever adopts it to carry out.
 */
import { AppError, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type {
  ChatMessage,
  LlmProvider,
  LlmUsage,
  ReplyPart,
  ReplyRequest,
} from '#providers/contract.ts';
import { roughTokens } from './rough-tokens.ts';
import { bareWords } from './turn-words-backchannels.ts';

/** What is asked, and of whom. */
export type DraftRequest = {
  readonly llm: Pick<LlmProvider, 'reply'>;
  readonly request: ReplyRequest;
};

export type EagerOptions = {
  /**
   * The request that a reply would begin with if `partial` were all that is still to be read; null: nothing is begun
   * ahead.
   */
  readonly ask: (partial: string) => Promise<DraftRequest | null>;
  /** What of the caller's words is not read for good. */
  readonly partial: () => string;
  readonly onUsage: (inputTokens: number, outputTokens: number) => void;
  readonly log: Log;
};

/** Of one turn; whoever goes on and on is waited for. */
const MAX_TRIES = 3;
const MAX_SPEECH_MS = 10_000;
/** What is kept of a reply that nobody has adopted yet; then the model has to wait. */
const MAX_PARTS = 256;
const MAX_CHARS = 4000;

export class EagerReplies {
  readonly #options: EagerOptions;
  #draft: Draft | null = null;
  /** Words that a draft is being asked for. */
  #asking: string | null = null;
  #tries = 0;
  #isClosed = false;

  constructor(options: EagerOptions) {
    this.#options = options;
  }

  /** The turn may well be over with these words. `speechMs`: of the whole turn. */
  begin(text: string, speechMs: number): void {
    const words = wordsIn(text);
    if (words === '' || this.#isClosed) return;
    if (words === this.#asking || words === this.#draft?.words) return;
    this.drop();
    if (this.#tries >= MAX_TRIES || speechMs > MAX_SPEECH_MS) return;
    this.#tries += 1;
    void this.#begin(words);
  }

  /** The caller has said something else. */
  changed(text: string): void {
    const words = wordsIn(text);
    if (words !== this.#draft?.words && words !== this.#asking) this.drop();
  }

  /** The reply to this very request, if it was begun; whoever takes it, owns it. */
  take(
    llm: Pick<LlmProvider, 'reply'>,
    request: ReplyRequest,
    signal: AbortSignal,
  ): AsyncGenerator<ReplyPart, LlmUsage | undefined> | null {
    const draft = this.#draft;
    this.#draft = null;
    this.#asking = null;
    if (draft === null) return null;
    if (draft.isFor(llm, request)) return draft.adopt(request, signal);
    draft.giveUp();
    return null;
  }

  /** Given up, whatever there is. */
  drop(): void {
    this.#asking = null;
    this.#draft?.giveUp();
    this.#draft = null;
  }

  /** The caller's turn is over: the next has its own tries. What was begun waits to be taken. */
  turnOver(): void {
    this.#tries = 0;
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.drop();
  }

  async #begin(words: string): Promise<void> {
    this.#asking = words;
    try {
      const asked = await this.#options.ask(this.#options.partial());
      if (this.#asking !== words || asked === null) return;
      this.#draft = new Draft(asked, words, this.#options.onUsage);
    } catch (error) {
      this.#options.log.debug('draft.failed', { error: toAppError(error) });
    } finally {
      if (this.#asking === words) this.#asking = null;
    }
  }
}

class Draft {
  readonly words: string;
  readonly #asked: DraftRequest;
  readonly #onUsage: EagerOptions['onUsage'];
  readonly #abort = new AbortController();
  /** Its own: a model that remembers must not remember what was never said. */
  readonly #state: Map<string, unknown>;
  readonly #parts: ReplyPart[] = [];
  #chars = 0;
  #end: { readonly usage: LlmUsage | undefined } | { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;

  constructor(asked: DraftRequest, words: string, onUsage: EagerOptions['onUsage']) {
    this.words = words;
    this.#asked = asked;
    this.#onUsage = onUsage;
    this.#state = new Map(asked.request.state);
    void this.#run();
  }

  /** The same words to the same model, as the transcript has them. One that failed is for nobody. */
  isFor(llm: Pick<LlmProvider, 'reply'>, request: ReplyRequest): boolean {
    if (this.#end !== null && 'error' in this.#end) return false;
    const mine = this.#asked.request;
    return (
      llm === this.#asked.llm &&
      mine.language === request.language &&
      inputOf(mine) === inputOf(request) &&
      JSON.stringify(mine.tools ?? []) === JSON.stringify(request.tools ?? []) &&
      isSameTalk(mine.messages, request.messages)
    );
  }

  async *adopt(
    { state }: ReplyRequest,
    signal: AbortSignal,
  ): AsyncGenerator<ReplyPart, LlmUsage | undefined> {
    const stop = (): void => this.#abort.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    this.#wake?.();
    try {
      for (;;) {
        const part = this.#parts.shift();
        if (part !== undefined) {
          this.#chars -= charsOf(part);
          this.#wake?.();
          yield part;
          continue;
        }
        if (this.#end === null) await this.#change();
        else if ('error' in this.#end) throw this.#end.error;
        else return this.#end.usage;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      if (this.#end === null) stop();
      state.clear();
      for (const [key, value] of this.#state) state.set(key, value);
    }
  }

  /** Nobody will hear of it; what it cost is told. Once. */
  giveUp(): void {
    const end = this.#end;
    this.#abort.abort();
    this.#wake?.();
    if (end !== null) {
      if ('usage' in end && end.usage !== undefined)
        this.#onUsage(end.usage.inputTokens, end.usage.outputTokens);
      return;
    }
    // A model that is stopped half-way does not say what it has taken: the bill will.
    const { messages } = this.#asked.request;
    const asked = messages.reduce((sum, { content }) => sum + roughTokens(content), 0);
    const said = this.#parts.map((part) => ('text' in part ? part.text : '')).join('');
    this.#onUsage(asked, roughTokens(said));
  }

  async #run(): Promise<void> {
    const { llm, request } = this.#asked;
    const { signal } = this.#abort;
    try {
      const stream = llm.reply({ ...request, state: this.#state }, signal);
      for (;;) {
        const step = await stream.next();
        if (step.done === true) {
          this.#end = { usage: step.value };
          break;
        }
        this.#parts.push(step.value);
        this.#chars += charsOf(step.value);
        this.#wake?.();
        while (this.#isFull && !signal.aborted) await this.#change();
        if (!signal.aborted) continue;
        await stream.return(undefined);
        this.#end = { error: new AppError('E_ABORTED', 'the draft was given up') };
        break;
      }
    } catch (error) {
      this.#end = { error };
    }
    this.#wake?.();
  }

  get #isFull(): boolean {
    return this.#parts.length >= MAX_PARTS || this.#chars >= MAX_CHARS;
  }

  /** Until a part has come or gone, or there is no more to come. */
  #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = () => {
      this.#wake = null;
      resolve();
    };
    return promise;
  }
}

function charsOf(part: ReplyPart): number {
  return 'text' in part ? part.text.length : 0;
}

/** The one that holds the words may have pushed the oldest one out of the window. */
function isSameTalk(mine: readonly ChatMessage[], theirs: readonly ChatMessage[]): boolean {
  const isSystem = ({ role }: ChatMessage): boolean => role === 'system';
  const [a, b] = [mine, theirs].map((messages) => messages.filter((each) => !isSystem(each)));
  const [orders, others] = [mine, theirs].map((messages) => messages.filter(isSystem));
  if (a === undefined || b === undefined || a.length < b.length || a.length > b.length + 1)
    return false;
  return (
    JSON.stringify(orders) === JSON.stringify(others) &&
    a.slice(a.length - b.length).every(({ role, content }, at) => {
      const other = b[at];
      if (role !== other?.role) return false;
      return content === other.content || wordsIn(content) === wordsIn(other.content);
    })
  );
}

/** Without what recognisers change their minds about: case, punctuation, spaces. */
function wordsIn(text: string): string {
  return bareWords(text).replaceAll(' ', '');
}

function inputOf({ input }: ReplyRequest): string {
  if (input.kind === 'dtmf') return `dtmf ${input.digits}`;
  return `${input.kind} ${wordsIn(input.text)}`;
}
