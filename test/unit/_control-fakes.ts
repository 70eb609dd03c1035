/** Live control as the facade sees it: every command is kept, and answered as a test wants. */
import type { CallControl, ControlResult } from '#sessions/call-control-types.ts';
import type { Actor } from '#lib/actor.ts';
import type { AudioFileReader } from '#api/call-audio.ts';
import type { CallControlPorts } from '#api/call-control.ts';
import type { AuditEntry } from '#store/audit.ts';

export const PLAYBACK = '00000000-0000-4000-8000-0000000000e1';

export type ControlFakes = {
  readonly ports: CallControlPorts;
  /** Command and its options, in order. */
  readonly commands: [name: string, options: unknown][];
  readonly audited: AuditEntry[];
  /** What every command is answered with; null: it takes effect. */
  answer: Extract<ControlResult<never>, { readonly ok: false }> | null;
  sound: Awaited<ReturnType<AudioFileReader['load']>>;
  /** How often a sound was given back. */
  released: number;
};

export function makeControl(): ControlFakes {
  const fakes: ControlFakes = {
    ports: {} as CallControlPorts,
    commands: [],
    audited: [],
    answer: null,
    sound: { ok: true, pcm: new Int16Array(8000), release: () => undefined },
    released: 0,
  };
  const act = async <T>(name: string, options: unknown, data: T): Promise<ControlResult<T>> => {
    fakes.commands.push([name, options]);
    return fakes.answer ?? { ok: true, data };
  };
  const control: CallControl = {
    play: (_account, _id, { pcm, onOver: _onOver, ...options }) =>
      act(
        'play',
        { ...options, samples: pcm.length },
        {
          playbackId: PLAYBACK,
          durationMs: pcm.length / 8,
        },
      ),
    say: (_account, _id, options) => act('say', options, { turn: 3 }),
    dtmf: (_account, _id, options) => act('dtmf', options, { sent: options.digits }),
    hold: (_account, _id, options) => act('hold', options, { on: options.on }),
    mute: (_account, _id, options) => act('mute', options, options),
    message: (_account, _id, options) => act('message', options, { accepted: true as const }),
    recording: (_account, _id, options) =>
      act('recording', options, { recordingStatus: 'active' as const }),
  };
  const ports: CallControlPorts = {
    control,
    audioFiles: {
      load: async (_owner, fetch) => {
        await fetch();
        return fakes.sound.ok ? { ...fakes.sound, release: () => fakes.released++ } : fakes.sound;
      },
    },
    audit: { note: async (_actor: Actor, entry) => void fakes.audited.push(entry) },
  };
  return Object.assign(fakes, { ports });
}
