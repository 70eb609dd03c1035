/**
 * Finds out who has answered a call of ours, and does what the agent's `voicemail` asks for when it is a machine. The
 * greeting does not wait for it: a person is greeted at once, and a machine's greeting is stopped when it is known.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { AmdCause, AmdResult } from '#lib/call-events.ts';
import type { Log } from '#lib/log.ts';
import { ToneFinder } from '#media/speech/tone-finder.ts';
import type { MediaEvent, MediaSession, MediaTap } from '#media/types.ts';
import { AnswerClassifier, type AmdEvent, type AmdVerdict } from './amd.ts';
import type { AudioPump } from './audio-pump.ts';
import type { CallFrame } from './call-frames.ts';
import { fillIn } from './history.ts';
import type { CallStory } from './story.ts';
import type { Talk } from './talk.ts';

export type AnswerWatchOptions = {
  readonly story: Pick<CallStory, 'callId' | 'callTimeMs' | 'fact' | 'feed'>;
  readonly agent: AgentConfig;
  readonly media: Pick<MediaSession, 'tap'>;
  readonly pump: AudioPump;
  readonly talk: Pick<Talk, 'asking' | 'hold' | 'interrupt' | 'pace'>;
  /** Words of the other side will come. */
  readonly reads: boolean;
  /** A notice is said before the greeting. */
  readonly hasNotice: boolean;
  readonly log: Log;
  /** Nothing is left to be said: the call may be hung up. */
  readonly onOver: () => void;
};

/** `metadata.amd` of the record. */
export type AmdFacts = {
  readonly result: AmdResult;
  readonly cause: AmdCause;
  /** Since the answer. */
  readonly ms: number;
  /** Whether a voicemail box was sent the whole message; absent where none was to be left. */
  readonly message_left?: boolean;
};

const CHUNK = 1600;
/** A menu pauses between its options. */
const MENU_PACE = { minMs: 1_200, maxMs: 3_000 };
const MAX_QUOTED = 400;

export class AnswerWatch {
  readonly #options: AnswerWatchOptions;
  readonly #classifier: AnswerClassifier;
  readonly #tones: ToneFinder;
  readonly #tap: MediaTap;
  readonly #unsubscribe: () => void;
  readonly #caller = new Int16Array(CHUNK);
  readonly #agent = new Int16Array(CHUNK);
  #facts: AmdFacts | null = null;
  #latestTurn = 0;
  /** A machine speaks, and the agent waits to leave its message. */
  #isWaiting = false;
  #isWatching = true;
  #isClosed = false;

  constructor(options: AnswerWatchOptions) {
    this.#options = options;
    this.#classifier = new AnswerClassifier({ reads: options.reads });
    this.#tones = new ToneFinder((tone) => this.#take({ type: 'tone', ...tone }));
    this.#tap = options.media.tap();
    // Nobody here would answer a function.
    this.#unsubscribe = options.story.feed.subscribe(
      (frame) => this.#onFrame(frame),
      () => false,
    );
    options.pump.add(this);
  }

  get facts(): AmdFacts | null {
    return this.#facts;
  }

  /** What has answered is no person, and nobody talks to it. */
  get isMachine(): boolean {
    return this.#facts?.result === 'machine' || this.#facts?.result === 'fax';
  }

  onMedia(event: MediaEvent): void {
    if (event.type === 'speech.started' || event.type === 'speech.stopped') this.#take(event);
    // Whatever had been begun before the machine was known.
    if (event.type === 'playout.started' && this.#isWaiting) this.#options.talk.interrupt();
  }

  pump(): void {
    const { story } = this.#options;
    for (;;) {
      const count = this.#tap.read(this.#caller, this.#agent);
      if (count === 0) break;
      this.#tones.push(this.#caller, count, story.callTimeMs());
    }
    this.#take({ type: 'time' });
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#stopWatching();
  }

  #stopWatching(): void {
    if (!this.#isWatching) return;
    this.#isWatching = false;
    this.#options.pump.remove(this);
    this.#unsubscribe();
    this.#tap.close();
  }

  #onFrame(frame: CallFrame): void {
    if (frame.type === 'reply') this.#latestTurn = Math.max(this.#latestTurn, frame.turn);
    if (frame.type !== 'heard') return;
    this.#take({ type: 'words', text: frame.text, isFinal: frame.isFinal });
  }

  #take(event: AmdEvent): void {
    if (!this.#isWatching) return;
    const nowMs = this.#options.story.callTimeMs();
    for (const verdict of this.#classifier.take(event, nowMs)) {
      if (verdict.type === 'result') this.#note(verdict, nowMs);
      // The turn machine first hears of what was heard.
      queueMicrotask(() => {
        if (!this.#isClosed) this.#act(verdict);
      });
    }
    if (this.#classifier.isOver(nowMs)) this.#stopWatching();
  }

  #note({ result, cause }: AmdVerdict & { readonly type: 'result' }, nowMs: number): void {
    const { story, log } = this.#options;
    this.#facts = { result, cause, ms: Math.round(nowMs) };
    log.info('call.answeredBy', { callId: story.callId, result, cause });
    story.fact('amd.result', this.#facts);
  }

  #act(verdict: AmdVerdict): void {
    if (verdict.type === 'ready') {
      if (this.#isWaiting) this.#leaveMessage();
      return;
    }
    switch (verdict.result) {
      case 'human':
      case 'no_speech':
        return;
      case 'fax':
        return this.#options.onOver();
      case 'ivr':
        return this.#meetMenu();
      case 'machine':
        return this.#meetMachine();
    }
  }

  #meetMachine(): void {
    const { agent, talk, onOver } = this.#options;
    const action = agent.voicemail?.action ?? 'hang_up';
    if (action === 'continue') {
      talk.asking.note(NOTES[agent.language].machine, false);
    } else if (action === 'hang_up' || this.#message === '') onOver();
    else {
      this.#isWaiting = true;
      this.#setLeft(false);
      talk.interrupt();
      talk.hold(true, 'machine');
    }
  }

  /** The agent's own, else what it would greet a person with. */
  get #message(): string {
    const { voicemail, greeting, variables } = this.#options.agent;
    return fillIn(voicemail?.message ?? greeting ?? '', variables).trim();
  }

  #leaveMessage(): void {
    const { talk, onOver } = this.#options;
    this.#stopWaiting();
    const how = { urgent: true, interruptible: false, isExact: true };
    const turn = talk.asking.say(this.#message, how, (isWhole) => {
      this.#setLeft(isWhole);
      // Once the transcript has it.
      if (!this.#isClosed) queueMicrotask(onOver);
    });
    if (turn === null) onOver();
  }

  #stopWaiting(): void {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#options.talk.hold(false, 'machine');
  }

  #setLeft(isLeft: boolean): void {
    if (this.#facts !== null) this.#facts = { ...this.#facts, message_left: isLeft };
  }

  /** The agent hears the menu out, and then does what it asks for. */
  #meetMenu(): void {
    const { agent, talk, hasNotice } = this.#options;
    const wasWaiting = this.#isWaiting;
    this.#stopWaiting();
    talk.pace(MENU_PACE);
    const isGreeting = this.#latestTurn <= (hasNotice ? 2 : 1);
    if (isGreeting) talk.interrupt();
    const heard = this.#classifier.heard.slice(-MAX_QUOTED);
    const { menu, keys } = NOTES[agent.language];
    const hasKeys = agent.tools?.builtins.includes('send_dtmf') === true;
    const text = menu.replace('{heard}', () => heard) + (hasKeys ? keys : '');
    talk.asking.note(text, isGreeting || wasWaiting);
  }
}

const NOTES = {
  en: {
    machine: 'A voicemail box has answered, not a person.',
    menu: 'An automated phone menu has answered, not a person. It said: "{heard}". Say nothing that is meant for a person until one answers.',
    keys: ' Press the keys it asks for with send_dtmf.',
  },
  zh: {
    machine: '接听的是语音信箱，不是真人。',
    menu: '接听的是自动语音菜单，不是真人。它说：“{heard}”。在真人接听之前，不要说给真人听的话。',
    keys: '请用 send_dtmf 按它要求的键。',
  },
} as const;
