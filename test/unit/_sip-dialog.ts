/** A dialog on a simulated clock whose far end a test plays by hand. */
import { SimulatedClock } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { DialogLeg, type LegOptions } from '#sip/dialog.ts';
import type { SipEnd } from '#sip/types.ts';
import { FakeLink } from './_sip-link.ts';

export const SDP = 'v=0\r\nm=audio 1 RTP/AVP 8\r\n';
export const TYPE = { 'content-type': 'application/sdp' };
export const CHALLENGE = { 'proxy-authenticate': 'Digest realm="r", nonce="n"' };

export type Rig = {
  readonly link: FakeLink;
  readonly clock: SimulatedClock;
  readonly leg: DialogLeg;
  readonly ends: SipEnd[];
  overs: number;
};

export function rig(options: Partial<LegOptions> = {}): Rig {
  const link = new FakeLink();
  const clock = new SimulatedClock();
  const ends: SipEnd[] = [];
  const made: { overs: number } = { overs: 0 };
  const leg = new DialogLeg({
    link,
    clock,
    log: silentLog,
    key: { callId: 'c1', localTag: 'us', remoteTag: 'them' },
    dialogId: 'd1',
    role: 'callee',
    credentials: null,
    lateOffer: false,
    onOver: () => {
      made.overs += 1;
    },
    ...options,
  });
  leg.onEnd((end) => ends.push(end));
  return Object.assign(made, { link, clock, leg, ends });
}

export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'fulfilled',
    (error: unknown) => toAppError(error).code,
  );
}
