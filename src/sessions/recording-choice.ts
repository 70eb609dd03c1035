/** Whether a call is recorded: who says so, and whether the other side has agreed (contract 4.6). */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { AccountPolicy, ContactPolicy } from './ports.ts';

export type RecordingChoice = {
  /** Whoever placed the call. */
  readonly requested: boolean | undefined;
  readonly agent: boolean | null;
  /** Null: not known now. */
  readonly policy: AccountPolicy | null;
  /** The installation's. */
  readonly byDefault: boolean;
};

export type ConsentPorts = {
  readonly accountId: Id;
  /** The other side. */
  readonly number: string | null;
  readonly contacts: Pick<ContactPolicy, 'mayRecord'>;
  readonly clock: Clock;
  readonly log: Log;
};

/** The other side hears nothing until this is over. */
const CONSENT_MS = 500;

/** The request, else the agent, else account or installation. */
export function wantsRecording({ requested, agent, policy, byDefault }: RecordingChoice): boolean {
  return requested ?? agent ?? (policy?.recordingDefault === true || byDefault);
}

/** Never rejects: without a consent that is known, where one is needed, nothing is recorded. */
export async function mayRecord(choice: RecordingChoice, ports: ConsentPorts): Promise<boolean> {
  const { accountId, number, contacts, clock, log } = ports;
  if (!wantsRecording(choice)) return false;
  if (choice.policy === null) {
    log.warn('recording.left', { accountId, note: 'nobody knows whether a consent is needed' });
    return false;
  }
  if (!choice.policy.requireConsent) return true;
  if (number === null) return false;
  try {
    const asked = contacts.mayRecord(accountId, number);
    return await withDeadline(asked, CONSENT_MS, 'looking for the consent', clock);
  } catch (error) {
    log.warn('recording.left', { accountId, error: toAppError(error) });
    return false;
  }
}
