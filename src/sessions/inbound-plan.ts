/** What an answer rule's action comes to at the telephone (contract section 5). */
import type { CompleteAction } from '#lib/answer-rule.ts';

export type InboundPlan = {
  /** 180 and this long before anything else. */
  readonly delayRingMs: number;
  readonly then:
    | { readonly type: 'answer'; readonly announceOnly: boolean; readonly greeting: string | null }
    | { readonly type: 'refuse'; readonly status: number; readonly reason: string | null }
    /** Rings, so that another device may take the call, and is then refused with 480. */
    | { readonly type: 'ring' };
};

/**
 * Forwarding and voicemail need call control, which does not exist yet: until then such a call falls to the agent, as
 * a failed forward does. The rule is in the record all the same.
 */
export function planOf(action: CompleteAction): InboundPlan {
  const { answer, useAgent, greeting, delayRingMs, reject, forward, voicemail } = action;
  if (!answer) {
    const then =
      reject === null ? ({ type: 'ring' } as const) : { type: 'refuse' as const, ...reject };
    return { delayRingMs, then };
  }
  const announceOnly = !useAgent && forward === null && voicemail === null && greeting !== null;
  return { delayRingMs, then: { type: 'answer', announceOnly, greeting } };
}

/** True for what is only evaluated and stored so far. */
export function needsCallControl({ answer, forward, voicemail }: CompleteAction): boolean {
  return answer && (forward !== null || voicemail !== null);
}
