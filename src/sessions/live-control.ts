/** The commands that a call takes from its answer to its end (contract 2.7). Made by the call, used by CallController. */
import { newId } from '#lib/ids.ts';
import type { DtmfMode } from '#lib/trunk.ts';
import type { AudioSide, MediaSession } from '#media/types.ts';
import type {
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
import type { Conversation } from './conversation.ts';
import type { CallStory } from './story.ts';

export type LiveControlParts = {
  readonly story: CallStory;
  readonly conversation: Conversation;
  readonly recordings: CallRecordings;
  readonly digits: CallDigits;
  readonly holding: CallHold;
  /** Null once it is closed. */
  readonly media: () => MediaSession | null;
};

type RecordingStatus = { readonly recordingStatus: LiveCallView['recordingStatus'] };

export class LiveControl {
  readonly #parts: LiveControlParts;
  readonly #muted = { caller: false, agent: false };

  constructor(parts: LiveControlParts) {
    this.#parts = parts;
  }

  say({ text, interrupt, interruptible }: SayOptions): ControlResult<{ turn: number }> {
    if (this.#parts.holding.isOn) return onHold();
    const how = { urgent: interrupt, interruptible };
    const turn = this.#parts.conversation.asking.say(text, how);
    return turn === null ? this.#notSaid() : { ok: true, data: { turn } };
  }

  play(options: PlayOptions): ControlResult<{ playbackId: string; durationMs: number }> {
    if (this.#parts.holding.isOn) return onHold();
    const { pcm, title, loop: repeats, interruptible } = options;
    const sound = { pcm, title: `[Audio: ${title}]` };
    const isTaken = this.#parts.conversation.asking.play(sound, { repeats, interruptible });
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
    const { media, conversation } = this.#parts;
    if (this.#muted[side] !== on) {
      this.#muted[side] = on;
      media()?.mute({ side, on });
      if (side === 'caller') conversation.muteCaller(on);
    }
    return { ok: true, data: { side, on } };
  }

  message(text: string, respond: boolean): ControlResult<{ accepted: true }> {
    const isTaken = this.#parts.conversation.asking.note(text, respond);
    return isTaken ? { ok: true, data: { accepted: true } } : this.#notSaid();
  }

  /** `notice`: what must be heard before anything is recorded; null: nothing. */
  async recording(
    action: RecordingAction,
    notice: string | null,
  ): Promise<ControlResult<RecordingStatus>> {
    const change = await this.#changeRecording(action, notice);
    if (change === 'notNow') return this.#notSaid();
    if (change === 'onHold') return onHold();
    if (change === 'notPossible') {
      return { ok: false, refusal: 'INVALID_STATE', detail: 'not_recording' };
    }
    return { ok: true, data: { recordingStatus: this.#parts.story.snapshot().recordingStatus } };
  }

  async #changeRecording(
    action: RecordingAction,
    notice: string | null,
  ): Promise<RecordingChange | 'onHold'> {
    const { recordings, holding } = this.#parts;
    if (action === 'stop') return recordings.stop();
    if (action === 'pause') return recordings.pause();
    if (action === 'resume') return recordings.resume();
    // One file at a time: the one before must be complete.
    await recordings.settled;
    // Nobody would hear the notice.
    if (notice !== null && holding.isOn && !recordings.isRecording) return 'onHold';
    return recordings.start(notice);
  }

  #notSaid(): ControlResult<never> {
    if (this.#parts.story.isOver) return { ok: false, refusal: 'CALL_NOT_ACTIVE' };
    return { ok: false, refusal: 'INVALID_STATE', detail: 'waiting_full' };
  }
}

function onHold(): ControlResult<never> {
  return { ok: false, refusal: 'INVALID_STATE', detail: 'on_hold' };
}
