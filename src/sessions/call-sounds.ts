/** How one call sounds beside its words: what is behind the agent's voice, what is heard on hold and while a tool works. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { beepSound, typingSound } from '#media/mix/built-in-sounds.ts';
import { holdTune } from '#media/mix/hold-tune.ts';
import type { BackgroundSound } from '#media/mix/mix-types.ts';
import { SAMPLE_RATE_HZ, type MediaSession } from '#media/types.ts';

/** Sounds by name, `file:name` or URL, in shared memory and made to go round. Errors: AppError. */
export type SoundLibrary = {
  /** Of the installation, where an agent has no hold music of its own; null or absent: the built-in tune. */
  readonly holdMusic?: string | null;
  loop(accountId: string, source: string): Promise<Int16Array>;
};

export type CallSoundsOptions = {
  /** Who speaks first. */
  readonly agent: AgentConfig;
  /** Null: there are but those that need none. */
  readonly library: SoundLibrary | null;
  readonly clock: Clock;
  readonly log: Log;
  /** Null before it is opened and once it is closed. */
  readonly media: () => Pick<MediaSession, 'setVoiceGain' | 'setBackground' | 'playEffect'> | null;
};

/** An agent, and what goes with it. */
type Dress = {
  readonly agent: AgentConfig;
  /** Null: none, or it cannot be had. */
  readonly background: Promise<Int16Array | null>;
  music: Int16Array | null;
};

/** A tool that is done sooner is not heard at work, and between two bouts of typing somebody thinks. */
const TYPING_AFTER_MS = 400;
const TYPING_PAUSE_MS = 350;

export class CallSounds {
  readonly #options: CallSoundsOptions;
  #dress: Dress;
  /** The background as the media plane has it. */
  #heard: BackgroundSound | null = null;
  #typing: TimerHandle | undefined;
  #changing: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: CallSoundsOptions) {
    this.#options = options;
    this.#dress = { agent: options.agent, background: Promise.resolve(null), music: null };
  }

  /** Asks for what will be needed while it rings. Returns at once. */
  load(): void {
    this.#dress = this.#loadFor(this.#options.agent);
  }

  /** The media runs. A background that is not there yet comes in when it is. */
  begin(hasNotice: boolean): void {
    const { media } = this.#options;
    const { sounds } = this.#dress.agent;
    if (sounds !== undefined && sounds.voiceGainDb !== 0) media()?.setVoiceGain(sounds.voiceGainDb);
    if (hasNotice && sounds?.noticeBeep === true) media()?.playEffect(beepSound(), { alone: true });
    this.#putOn(this.#dress);
  }

  /** Another agent speaks, as soon as what the former one says (so many ms more) is over. */
  become(agent: AgentConfig, inMs = 0): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    const next = this.#loadFor(agent);
    clock.clearTimer(this.#changing);
    if (inMs <= 0) this.#change(next);
    else this.#changing = clock.setTimer(() => this.#change(next), inMs);
  }

  /** What is heard on hold: the built-in tune for as long as there is nothing else. */
  get holdMusic(): Int16Array {
    return this.#dress.music ?? holdTune();
  }

  /** A tool is at work, or none is any more. */
  toolsWork(on: boolean): void {
    const { clock } = this.#options;
    const { agent } = this.#dress;
    clock.clearTimer(this.#typing);
    this.#typing = undefined;
    if (!on || this.#isClosed || agent.sounds?.typing !== true) return;
    const type = (): void => {
      const pcm = typingSound();
      this.#options.media()?.playEffect(pcm);
      const lastsMs = (pcm.length * 1000) / SAMPLE_RATE_HZ;
      this.#typing = clock.setTimer(type, lastsMs + TYPING_PAUSE_MS);
    };
    this.#typing = clock.setTimer(type, TYPING_AFTER_MS);
  }

  /** Idempotent. */
  close(): void {
    this.toolsWork(false);
    this.#options.clock.clearTimer(this.#changing);
    this.#isClosed = true;
  }

  #loadFor(agent: AgentConfig): Dress {
    const { library } = this.#options;
    const music = agent.sounds?.holdMusic ?? library?.holdMusic ?? null;
    const background = this.#loop(agent, agent.background ?? null);
    const dress: Dress = { agent, background, music: null };
    void this.#loop(agent, music).then((pcm) => (dress.music = pcm));
    return dress;
  }

  #change(next: Dress): void {
    const before = gainOf(this.#dress.agent);
    this.#dress = next;
    const gainDb = gainOf(next.agent);
    if (gainDb !== before) this.#options.media()?.setVoiceGain(gainDb);
    this.#putOn(next);
  }

  /** The former background goes on until this one is there, and for good where both are the same. */
  #putOn(dress: Dress): void {
    void dress.background.then((pcm) => {
      if (this.#isClosed || this.#dress !== dress) return;
      const { backgroundGainDb: gainDb = 0, duckDb = 9 } = dress.agent.sounds ?? {};
      const ducksForCaller = dress.agent.sounds?.ducksForCaller ?? false;
      const sound = pcm === null ? null : { pcm, gainDb, duckDb, ducksForCaller };
      if (isSame(sound, this.#heard)) return;
      this.#heard = sound;
      this.#options.media()?.setBackground(sound);
    });
  }

  /** Never rejects: a call without its background is a call. */
  async #loop(agent: AgentConfig, source: string | null): Promise<Int16Array | null> {
    const { library, log } = this.#options;
    if (source === null || library === null) return null;
    try {
      return await library.loop(agent.accountId, source);
    } catch (error) {
      log.warn('sound.failed', { agentId: agent.id, error: toAppError(error) });
      return null;
    }
  }
}

function gainOf({ sounds }: AgentConfig): number {
  return sounds?.voiceGainDb ?? 0;
}

/** By its object, not by its samples: each sound is there once. */
function isSame(one: BackgroundSound | null, other: BackgroundSound | null): boolean {
  if (one === null || other === null) return one === other;
  return (
    one.pcm === other.pcm &&
    one.gainDb === other.gainDb &&
    one.duckDb === other.duckDb &&
    one.ducksForCaller === other.ducksForCaller
  );
}
