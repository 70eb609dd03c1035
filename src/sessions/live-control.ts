/** The commands that a call takes from its answer to its end (contract 2.7). Made by the call, used by CallController. */
import { newId } from '#lib/ids.ts';
import type { DtmfMode } from '#lib/trunk.ts';
import type { AudioSide, MediaSession } from '#media/types.ts';
import type {
  ControlObstacle,
  ControlResult,
  DtmfOptions,
  PlayOptions,
  RecordingAction,
  SayOptions,
} from './call-control-types.ts';
import type { CallDigits } from './call-digits.ts';
import type { CallHold } from './call-hold.ts';
import type { CallRecordings, RecordingChange } from './call-recordings.ts';
import type { LiveCallView } from './call-service-types.ts';
import type { CallStory } from './story.ts';
import type { Talk } from './talk.ts';

export type LiveControlParts = {
  readonly story: CallStory;
  readonly conversation: Talk;
  readonly recordings: CallRecordings;
  readonly digits: CallDigits;
  readonly holding: CallHold;
  /** Null once it is closed. */
  readonly media: () => MediaSession | null;
};

/** Whether the call may be recorded; `notice`: what must be heard before anything is, null: nothing. */
export type RecordingPermit = { readonly isGiven: boolean; readonly notice: string | null };

type RecordingStatus = { readonly recordingStatus: LiveCallView['recordingStatus'] };

export class LiveControl {
  readonly #parts: LiveControlParts;
  readonly #muted = { caller: false, agent: false };
  #latestRecording: Promise<unknown> = Promise.resolve();

  constructor(parts: LiveControlParts) {
    this.#parts = parts;
  }

  say({ text, interrupt, interruptible }: SayOptions): ControlResult<{ turn: number }> {
    if (this.#parts.holding.isOn) return obstacle('on_hold');
    const how = { urgent: interrupt, interruptible };
    const turn = this.#parts.conversation.asking.say(text, how);
    return turn === null ? this.#notSaid() : { ok: true, data: { turn } };
  }

  play(options: PlayOptions): ControlResult<{ playbackId: string; durationMs: number }> {
    if (this.#parts.holding.isOn) return obstacle('on_hold');
    const { pcm, title, loop: repeats, interruptible } = options;
    const sound = { pcm, title: `[Audio: ${title}]` };
    const how = { repeats, interruptible };
    const isTaken = this.#parts.conversation.asking.play(sound, how, () => options.onOver?.());
    if (!isTaken) return this.#notSaid();
    return { ok: true, data: { playbackId: newId(), durationMs: Math.round(pcm.length / 8) } };
  }

  dtmf(
    options: DtmfOptions & { readonly mode: DtmfMode },
  ): Promise<ControlResult<{ sent: string }>> {
    return this.#parts.digits.send(options);
  }

  hold(on: boolean, music: boolean): Promise<ControlResult<{ on: boolean }>> {
    return this.#parts.holding.set(on, music);
  }

  mute(side: AudioSide, on: boolean): ControlResult<{ side: AudioSide; on: boolean }> {
    const { media, conversation, recordings } = this.#parts;
    if (this.#muted[side] !== on) {
      this.#muted[side] = on;
      media()?.mute({ side, on });
      if (side === 'caller') conversation.muteCaller(on);
      else if (on) recordings.noticeUnheard();
    }
    return { ok: true, data: { side, on } };
  }

  message(text: string, respond: boolean): ControlResult<{ accepted: true }> {
    const { asking } = this.#parts.conversation;
    if (!respond && !asking.takesNotes) return obstacle('no_notes');
    const isTaken = asking.note(text, respond);
    return isTaken ? { ok: true, data: { accepted: true } } : this.#notSaid();
  }

  /** One command after the other, in the order they came; `permit` is asked when a start has its turn. */
  recording(
    action: RecordingAction,
    permit: () => Promise<RecordingPermit>,
  ): Promise<ControlResult<RecordingStatus>> {
    const before = this.#latestRecording;
    const result = (async () => {
      await Promise.allSettled([before]);
      if (action === 'start') return this.#startRecording(await permit());
      const { recordings } = this.#parts;
      if (action === 'stop') return this.#recordingDone(await recordings.stop());
      return this.#recordingDone(action === 'pause' ? recordings.pause() : recordings.resume());
    })();
    this.#latestRecording = result;
    return result;
  }

  #startRecording({ isGiven, notice }: RecordingPermit): ControlResult<RecordingStatus> {
    const { recordings, holding } = this.#parts;
    if (!isGiven) return { ok: false, refusal: 'CONSENT_MISSING' };
    // Nobody would hear the notice.
    const needsNotice = notice !== null && !recordings.isRecording;
    if (needsNotice && holding.isOn) return obstacle('on_hold');
    if (needsNotice && this.#muted.agent) return obstacle('agent_muted');
    return this.#recordingDone(recordings.start(notice));
  }

  #recordingDone(change: RecordingChange): ControlResult<RecordingStatus> {
    if (change === 'notNow') return this.#notSaid();
    if (change === 'notPossible') return obstacle('not_recording');
    return { ok: true, data: { recordingStatus: this.#parts.story.snapshot().recordingStatus } };
  }

  #notSaid(): ControlResult<never> {
    if (this.#parts.story.isOver) return { ok: false, refusal: 'CALL_NOT_ACTIVE' };
    return obstacle('waiting_full');
  }
}

function obstacle(detail: ControlObstacle): ControlResult<never> {
  return { ok: false, refusal: 'INVALID_STATE', detail };
}
