/** An answered call under command, on a simulated clock. */
import assert from 'node:assert/strict';
import { silentLog } from '#lib/log.ts';
import { CallController, type CallControllerOptions } from '#sessions/call-control.ts';
import type { CallControl, ControlResult } from '#sessions/call-control-types.ts';
import { runCall, type LiveCall } from '#sessions/call.ts';
import type { AccountPolicy } from '#sessions/ports.ts';
import { createRig, settle, type Rig } from './_fakes.ts';

export const POLICY: AccountPolicy = {
  ...{ countryCode: null, maxConcurrentCalls: 10, recordingDefault: false },
  ...{ requireConsent: false, recordingNotice: null },
};
export const SAY = { text: 'One moment please', interrupt: false, interruptible: true };
export const PLAY = { pcm: new Int16Array(4000), title: 'a.wav', loop: false, interruptible: true };
export const DTMF = { digits: '1w#', toneMs: 100, gapMs: 80 };

export type Setup = {
  readonly rig: Rig;
  readonly call: LiveCall;
  readonly control: CallControl;
  readonly accountId: string;
  readonly id: string;
};

/** An answered call whose greeting is over, unrecorded unless `records`. */
export async function answered(
  options: Parameters<typeof createRig>[0] & {
    records?: boolean;
    notice?: string;
    ports?: Partial<CallControllerOptions>;
    greeted?: boolean;
  } = {},
): Promise<Setup> {
  const { records = false, notice = null, ports = {}, greeted = true, ...rest } = options;
  const rig = createRig(rest);
  const setup = { ...rig.setup, records: () => Promise.resolve(records), notice };
  const call = runCall(rig.deps, setup);
  const { accountId, callId: id } = rig.setup.story;
  const control = new CallController({
    find: (account, callId) =>
      account === accountId && callId === id
        ? { story: call.story, control: call.control() }
        : null,
    trunks: { of: () => Promise.resolve({ usable: [], ids: [], hasActive: false }) },
    accounts: { settings: () => Promise.resolve(POLICY) },
    contacts: { mayRecord: () => Promise.resolve(false) },
    clock: rig.clock,
    log: silentLog,
    ...ports,
  });
  await settle();
  if (greeted) await pass(rig, 1000);
  return { rig, call, control, accountId, id };
}

export async function pass(rig: Rig, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    rig.clock.advance(Math.min(100, left));
    await settle();
  }
}

export const messages = (rig: Rig): string[] =>
  rig.setup.story.transcript.map(
    ({ role, content, interrupted }) => `${role}: ${content}${interrupted === true ? ' /' : ''}`,
  );

export async function over({ rig, call }: Setup): Promise<void> {
  rig.dialog.end('remote');
  await pass(rig, 300);
  await call.done;
  assert.equal(rig.clock.pending, 0, 'no timer is left');
}

export const refusal = (result: ControlResult<unknown>): string =>
  result.ok ? 'ok' : [result.refusal, result.detail, result.vendorCode].filter(Boolean).join(' ');
