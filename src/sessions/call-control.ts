/** Live control (contract 2.7): finds the call, refuses what its state does not allow, and waits no longer than 2 s. */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { DtmfMode } from '#lib/trunk.ts';
import type { CallControl, ControlObstacle, ControlResult } from './call-control-types.ts';
import { isLiveStatus } from './call-service-types.ts';
import type { LiveControl, RecordingPermit } from './live-control.ts';
import type { AccountDirectory, AccountPolicy, ContactPolicy, TrunkDirectory } from './ports.ts';
import { mayRecord } from './recording-choice.ts';
import type { CallStory } from './story.ts';

/** A call of this node, live or just over. */
export type FoundCall = { readonly story: CallStory; readonly control: LiveControl | null };

export type CallControllerOptions = {
  readonly find: (accountId: Id, id: Id) => FoundCall | null;
  readonly trunks: Pick<TrunkDirectory, 'of'>;
  readonly accounts: AccountDirectory;
  readonly contacts: Pick<ContactPolicy, 'mayRecord'>;
  readonly clock: Clock;
  readonly log: Log;
};

type Controlled = { readonly story: CallStory; readonly control: LiveControl };

const COMMAND_MS = 2000;
/** For what only the database knows for certain, and caches mostly know. */
const LOOKUP_MS = 500;
const DEFAULT_DTMF_MODE: DtmfMode = 'rfc4733';

export class CallController implements CallControl {
  readonly #options: CallControllerOptions;

  constructor(options: CallControllerOptions) {
    this.#options = options;
  }

  play(
    ...[accountId, id, options]: Parameters<CallControl['play']>
  ): ReturnType<CallControl['play']> {
    return this.#command(accountId, id, ({ control }) => control.play(options));
  }

  say(...[accountId, id, options]: Parameters<CallControl['say']>): ReturnType<CallControl['say']> {
    return this.#command(accountId, id, ({ control }) => control.say(options));
  }

  dtmf(
    ...[accountId, id, options]: Parameters<CallControl['dtmf']>
  ): ReturnType<CallControl['dtmf']> {
    return this.#command(accountId, id, async ({ story, control }) => {
      if (story.channel !== 'phone') return refuse('INVALID_STATE', 'no_keys');
      return control.dtmf({ ...options, mode: options.mode ?? (await this.#modeOf(story)) });
    });
  }

  hold(
    ...[accountId, id, { on, music }]: Parameters<CallControl['hold']>
  ): ReturnType<CallControl['hold']> {
    return this.#command(accountId, id, ({ control }) => control.hold(on, music));
  }

  mute(
    ...[accountId, id, { side, on }]: Parameters<CallControl['mute']>
  ): ReturnType<CallControl['mute']> {
    return this.#command(accountId, id, ({ control }) => control.mute(side, on));
  }

  message(
    ...[accountId, id, options]: Parameters<CallControl['message']>
  ): ReturnType<CallControl['message']> {
    const { text, respond } = options;
    return this.#command(accountId, id, ({ control }) => control.message(text, respond));
  }

  recording(
    ...[accountId, id, { action }]: Parameters<CallControl['recording']>
  ): ReturnType<CallControl['recording']> {
    return this.#command(accountId, id, ({ story, control }) =>
      control.recording(action, () => this.#permitFor(story)),
    );
  }

  async #permitFor({ accountId, remoteNumber: number }: CallStory): Promise<RecordingPermit> {
    const { contacts, clock, log } = this.#options;
    const policy = await this.#policyOf(accountId);
    const choice = { requested: true, agent: null, policy, byDefault: false };
    const isGiven = await mayRecord(choice, { accountId, number, contacts, clock, log });
    return { isGiven, notice: policy?.recordingNotice ?? null };
  }

  async #policyOf(accountId: Id): Promise<AccountPolicy | null> {
    return this.#lookup('the settings', () => this.#options.accounts.settings(accountId), null);
  }

  async #modeOf({ accountId, trunkId }: CallStory): Promise<DtmfMode> {
    if (trunkId === null) return DEFAULT_DTMF_MODE;
    const of = async (): Promise<DtmfMode> => {
      const { usable } = await this.#options.trunks.of(accountId);
      return usable.find(({ id }) => id === trunkId)?.dtmfMode ?? DEFAULT_DTMF_MODE;
    };
    return this.#lookup('the trunk', of, DEFAULT_DTMF_MODE);
  }

  /** `otherwise` when nobody can say it in time: the command must work without the database. */
  async #lookup<T>(what: string, ask: () => Promise<T>, otherwise: T): Promise<T> {
    const { clock, log } = this.#options;
    try {
      return await withDeadline(ask(), LOOKUP_MS, what, clock);
    } catch (error) {
      log.warn('control.unsure', { what, error: toAppError(error) });
      return otherwise;
    }
  }

  async #command<T>(
    accountId: Id,
    id: Id,
    act: (call: Controlled) => ControlResult<T> | Promise<ControlResult<T>>,
  ): Promise<ControlResult<T>> {
    const { clock } = this.#options;
    const found = this.#options.find(accountId, id);
    if (found === null) return refuse('NOT_FOUND');
    const { story, control } = found;
    const { channel, status } = story.snapshot();
    if (channel === 'text' || channel === 'external') return refuse('INVALID_STATE');
    if (story.isOver || !isLiveStatus(status)) return refuse('CALL_NOT_ACTIVE');
    if (!story.isAnswered) return refuse('CALL_NOT_ANSWERED');
    if (control === null) return refuse('CALL_NOT_ACTIVE');
    try {
      const work = Promise.resolve(act({ story, control }));
      const result = await withDeadline(work, COMMAND_MS, 'a command', clock);
      // Whatever else was in its way: it came too late.
      return !result.ok && story.isOver ? refuse('CALL_NOT_ACTIVE') : result;
    } catch (error) {
      if (story.isOver) return refuse('CALL_NOT_ACTIVE');
      if (error instanceof AppError && error.code === 'E_TIMEOUT') return refuse('TIMEOUT');
      throw error;
    }
  }
}

function refuse(
  refusal: Extract<ControlResult<never>, { ok: false }>['refusal'],
  detail?: ControlObstacle,
): ControlResult<never> {
  return { ok: false, refusal, ...(detail === undefined ? {} : { detail }) };
}
