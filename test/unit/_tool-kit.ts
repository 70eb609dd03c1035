/** A call that tools are asked from: a real story over a journal in memory. */
import type { JournalEntry } from '#lib/call-events.ts';
import { silentLog } from '#lib/log.ts';
import type { SimulatedClock } from '#lib/clock.ts';
import { CallStory, type StoryOptions } from '#sessions/story.ts';
import { AGENT } from './_fakes.ts';

export const CALL_ID = '00000000-0000-4000-8000-000000000003';

export function toolStory(clock: SimulatedClock, facts: Partial<StoryOptions> = {}) {
  const entries: JournalEntry[] = [];
  const story = new CallStory({
    journal: { append: (entry) => entries.push(entry) },
    ...{ clock, node: 'n1', callId: CALL_ID },
    ...{ accountId: AGENT.accountId, agentId: AGENT.id, agentName: AGENT.name },
    ...{ direction: 'inbound', channel: 'phone', from: '+15550100', to: '8001' },
    ...{ remoteNumber: '+15550100', remoteName: null, trunkId: null, sipCallId: null },
    ...{ variables: {}, requestId: null, metadata: {}, maskAtRest: false, trunkTransport: null },
    ...{ customerId: null, squadId: null, ruleId: null, callerApp: null, campaignId: null },
    ...facts,
  });
  return { story, entries, feed: story.feed, messages: story.messages };
}

export { silentLog };
