/** How one call sounds beside its words: what is behind the agent's voice, what is heard on hold and while a tool works. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { beepSound, typingSound } from '#media/built-in-sounds.ts';
import { holdTune } from '#media/hold-tune.ts';
import { SAMPLE_RATE_HZ, type MediaSession } from '#media/types.ts';

/** Sounds by name, `file:name` or URL, in shared memory and made to go round. Errors: AppError. */
export type SoundLibrary = {
  loop(accountId: string, source: string): Promise<Int16Array>;
};

export type CallSoundsOptions = {
  readonly agent: AgentConfig;
  /** Null: there are but those that need none. */
  readonly library: SoundLibrary | null;
  readonly clock: Clock;
  readonly log: Log;
  /** Null before it is opened and once it is closed. */
  readonly media: () => Pick<MediaSession, 'setVoiceGain' | 'setBackground' | 'playEffect'> | null;
};

/** A tool that is done sooner is not heard at work, and between two bouts of typing somebody thinks. */
const TYPING_AFTER_MS = 400;
const TYPING_PAUSE_MS = 350;

export class CallSounds {
  readonly #options: CallSoundsOptions;
  #background: Promise<Int16Array | null> = Promise.resolve(null);
  #music: Int16Array | null = null;
  #typing: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: CallSoundsOptions) {
    this.#options = options;
  }

  /** Asks for what will be needed while it rings. Returns at once. */
  load(): void {
    const { agent } = this.#options;
    this.#background = this.#loop(agent.background ?? null);
    void this.#loop(agent.sounds?.holdMusic ?? null).then((music) => (this.#music = music));
  }

  /** The media runs. A background that is not there yet comes in when it is. */
  begin(hasNotice: boolean): void {
    const { agent, media } = this.#options;
    const { sounds } = agent;
    if (sounds !== undefined && sounds.voiceGainDb !== 0) media()?.setVoiceGain(sounds.voiceGainDb);
    if (hasNotice && sounds?.noticeBeep === true) media()?.playEffect(beepSound(), { alone: true });
    void this.#background.then((pcm) => {
      if (pcm === null || this.#isClosed) return;
      const { backgroundGainDb = 0, duckDb = 9, ducksForCaller = false } = sounds ?? {};
      media()?.setBackground({ pcm, gainDb: backgroundGainDb, duckDb, ducksForCaller });
    });
  }

  /** What is heard on hold: the built-in tune for as long as there is nothing else. */
  get holdMusic(): Int16Array {
    return this.#music ?? holdTune();
  }

  /** A tool is at work, or none is any more. */
  toolsWork(on: boolean): void {
    const { agent, clock } = this.#options;
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
    this.#isClosed = true;
  }

  /** Never rejects: a call without its background is a call. */
  async #loop(source: string | null): Promise<Int16Array | null> {
    const { agent, library, log } = this.#options;
    if (source === null || library === null) return null;
    try {
      return await library.loop(agent.accountId, source);
    } catch (error) {
      log.warn('sound.failed', { agentId: agent.id, error: toAppError(error) });
      return null;
    }
  }
}
