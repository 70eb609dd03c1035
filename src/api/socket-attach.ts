/** What sockets on calls need from the rest of the process, and how they get onto a call. */
import type { Actor } from '#lib/actor.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { AudioPump } from '#sessions/audio-pump.ts';
import type {
  AttachRefusal,
  AttachRole,
  Attachment,
  CallAttaching,
} from '#sessions/call-attach-types.ts';
import { can, type Caller } from './auth.ts';
import { liveCall } from './call-view.ts';
import { Problem } from './problem.ts';
import { fromStore, type RecordSource } from './record-source.ts';
import type { Resampling } from './socket-audio.ts';
import type { SocketRequest } from './socket-route.ts';

export type SocketPorts = {
  readonly attaching: CallAttaching;
  readonly resampling: Resampling;
  /** Writes the audit row of somebody who is about to hear a live call. Errors: E_DATABASE*. */
  noteListening(actor: Actor, callId: Id): Promise<void>;
};

export type CallSocketsPart = RecordSource &
  SocketPorts & {
    readonly clock: Clock;
    readonly pump: AudioPump;
    /** Errors: RATE_LIMITED. */
    spendCall(caller: Caller): void;
  };

/** Close codes; of a call that is over, or somebody else's, is said what is said of none. */
const CLOSE_CODES: Readonly<Record<AttachRefusal, number>> = {
  ...{ NOT_FOUND: 4404, OVER: 4404, WRONG_ROLE: 4409, TAKEN: 4409, FULL: 4429 },
};

export type Attached =
  | { readonly ok: true; readonly attachment: Attachment }
  | { readonly ok: false; readonly code: number; readonly reason: Exclude<AttachRefusal, 'OVER'> };

export function attach(part: SocketPorts, caller: Caller, callId: Id, role: AttachRole): Attached {
  const { accountId, agentIds: allowedAgentIds } = caller;
  const result = part.attaching.attach(accountId, callId, { role, allowedAgentIds });
  if (result.ok) return result;
  const { refusal } = result;
  const reason = refusal === 'OVER' ? 'NOT_FOUND' : refusal;
  return { ok: false, code: CLOSE_CODES[refusal], reason };
}

/** Before somebody hears a call: who may, and the row that says so. Errors: FORBIDDEN, UNAVAILABLE, NODE_TIMEOUT. */
export async function noteListening(
  part: CallSocketsPart,
  { actor, caller }: Pick<SocketRequest<unknown, unknown>, 'actor' | 'caller'>,
  callId: Id,
): Promise<void> {
  if (!can(caller.role, 'sup')) throw new Problem('FORBIDDEN');
  // A call that nobody will hear leaves no row; the socket then says that there is none.
  const call = await liveCall(part, caller, callId).catch((error: unknown) => {
    if (error instanceof Problem && error.problem === 'NOT_FOUND') return null;
    throw error;
  });
  if (call !== null) await fromStore(part, part.noteListening(actor, callId));
}
