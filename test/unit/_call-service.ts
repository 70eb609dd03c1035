/** The call service with everything around it faked: agents, rules, trunks, contacts, a SIP agent that is scripted. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Action, AnswerDefault } from '#lib/answer-rule.ts';
import type { JournalEntry } from '#lib/call-events.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import { unrestricted, type AccountTrunk, type Trunk, type TrunkSource } from '#lib/trunk.ts';
import { Calls, type CallsOptions } from '#sessions/calls.ts';
import type { InboundCall, OutboundRequest, OutboundResult, SipAgent } from '#sip/types.ts';
import { AGENT, createRig, FakeDialog } from './_fakes.ts';

export const ACCOUNT = AGENT.accountId;
export const OTHER_ACCOUNT = '00000000-0000-4000-8000-0000000000ff';
export const SECOND: AgentConfig = {
  ...AGENT,
  id: '00000000-0000-4000-8000-0000000000a2',
  name: 'Second',
};
export const SQUAD = '00000000-0000-4000-8000-0000000000b1';
export const RULE = '00000000-0000-4000-8000-0000000000c1';
export const TRUNK_A = '00000000-0000-4000-8000-0000000000d1';
export const TRUNK_B = '00000000-0000-4000-8000-0000000000d2';
export const CARRIER = '192.0.2.20';

export function trunkOf(changes: Partial<AccountTrunk> = {}): AccountTrunk {
  const trunk: Trunk = {
    ...{ id: TRUNK_A, name: 'a', host: CARRIER, port: 5060, transport: 'udp' },
    ...{ username: null, password: null, realm: null, domain: null, outboundProxy: null },
    ...{ fromNumber: '+15550199', displayName: null, localHost: null, codecs: ['PCMA'] },
  };
  return { ...unrestricted(trunk), ...changes };
}

export const REFUSED = {
  ...{ ok: false, cause: 'refused', status: 486, reason: null, q850: null },
  ...{ retryAfter: false, authFailed: false },
} as const satisfies OutboundResult;

export const OFFER = [
  ...['v=0', 'o=- 1 1 IN IP4 192.0.2.9', 's=-', 'c=IN IP4 192.0.2.9', 't=0 0'],
  ...['m=audio 4000 RTP/AVP 8', ''],
].join('\r\n');

export type ServiceOptions = {
  readonly changes?: Partial<CallsOptions>;
  readonly trunks?: readonly AccountTrunk[];
  /** What `sources` says of a caller's address. */
  readonly at?: readonly TrunkSource[];
  readonly believes?: boolean;
  /** The one rule of the account, which matches every call. */
  readonly action?: Action;
  readonly answerDefault?: AnswerDefault;
  readonly settings?: Partial<{
    countryCode: string | null;
    maxConcurrentCalls: number;
    recordingDefault: boolean;
    requireConsent: boolean;
    recordingNotice: string | null;
  }>;
  /** Trunks whose host has no address. */
  readonly isLost?: (trunk: Trunk) => boolean;
  /** How each INVITE of ours comes out. */
  readonly dial?: (request: OutboundRequest, signal: AbortSignal) => Promise<OutboundResult>;
};

export function createService(options: ServiceOptions = {}) {
  const rig = createRig();
  const entries: JournalEntry[] = [];
  const dialled: OutboundRequest[] = [];
  let take: (call: InboundCall) => void = () => undefined;
  const sip = {
    isUp: true,
    onCall: (handler: typeof take) => void (take = handler),
    setDraining: () => undefined,
    localAddressFor: (trunk: Trunk) =>
      options.isLost?.(trunk) === true
        ? Promise.reject(new AppError('E_SIP_REJECTED', 'no way to it'))
        : Promise.resolve('192.0.2.1'),
    call: (request: OutboundRequest, signal: AbortSignal) => {
      dialled.push(request);
      return options.dial?.(request, signal) ?? Promise.resolve(REFUSED);
    },
  } as unknown as SipAgent;
  const recorded: (string | null)[] = [];
  const { media } = rig.deps;
  const trunks = options.trunks ?? [trunkOf()];
  const asked: string[] = [];
  const calls = new Calls({
    deps: {
      ...rig.deps,
      media: {
        ...media,
        open: (wanted) => {
          recorded.push(wanted.recordingPath);
          return media.open(wanted);
        },
      },
    },
    sip,
    journal: { append: (entry) => entries.push(entry) },
    agents: {
      forInbound: () => Promise.resolve(AGENT),
      byId: (_account, id) =>
        Promise.resolve([AGENT, SECOND].find((agent) => agent.id === id) ?? null),
      defaultFor: () => Promise.resolve(AGENT),
      accountOfNumber: (called) => Promise.resolve(called === '9009' ? OTHER_ACCOUNT : ACCOUNT),
      forCall: (accountId, { agentId, squadId }) => {
        const named = agentId === SECOND.id || squadId === SQUAD ? SECOND : AGENT;
        const found = squadId === SQUAD ? SQUAD : null;
        return Promise.resolve({ agent: { ...named, accountId }, squadId: found });
      },
    },
    rules: { forRouting: (accountId) => Promise.resolve(routingOf(accountId, options)) },
    trunks: {
      of: () =>
        Promise.resolve({ usable: trunks, ids: [TRUNK_A, TRUNK_B], hasActive: trunks.length > 0 }),
      at: () => options.at ?? [],
      believes: () => options.believes ?? true,
    },
    contacts: {
      mayCall: (_account, number) => {
        asked.push(number);
        return Promise.resolve(number !== '+15550166');
      },
      mayRecord: (_account, number) => Promise.resolve(number === '+15550100'),
      ownNumber: (_account, number) =>
        Promise.resolve(
          number === '+15550111'
            ? { trunkId: null }
            : number === '+15550112'
              ? { trunkId: TRUNK_B }
              : null,
        ),
    },
    accounts: {
      settings: () =>
        Promise.resolve({
          ...{ countryCode: null, maxConcurrentCalls: 100 },
          ...{ recordingDefault: false, requireConsent: false, recordingNotice: null },
          ...options.settings,
        }),
    },
    node: 'n1',
    maxCalls: 10,
    recordByDefault: () => false,
    providersFor: rig.setup.providers,
    normaliseNumber: (text) => text,
    shownAddress: (local) => local,
    ...options.changes,
  });
  calls.accept();
  return {
    ...{ calls, dialled, entries, asked, recorded, rig, clock: rig.clock },
    arrive: (call: InboundCall) => take(call),
    types: () => entries.map(({ event }) => event.type),
    last: () => entries.at(-1)?.event,
    record: () => Object.assign({}, ...entries.map((entry) => entry.record)) as Recorded,
  };
}

type Recorded = Readonly<Record<string, unknown>>;

function routingOf(accountId: Id, { action, answerDefault = 'agent' }: ServiceOptions) {
  const at = '2026-01-01T00:00:00.000Z';
  const rule = { id: RULE, name: 'r', enabled: true, priority: 1, conditions: {} };
  return {
    accountId,
    calendar: { timezone: 'UTC', countryCode: null, holidays: [], answerDefault },
    rules: action === undefined ? [] : [{ ...rule, action, createdAt: at, updatedAt: at }],
  };
}

/** An INVITE that writes down what is answered. */
export function createInvite(
  given: { headers?: Readonly<Record<string, string>>; called?: string; from?: string } = {},
) {
  const log: string[] = [];
  let cancel: () => void = () => undefined;
  const from = given.from ?? '+15550100';
  const party = { user: from, host: 'h', displayName: null, uri: '', anonymous: from === '' };
  const dialog = new FakeDialog(log);
  const call: InboundCall = {
    ...{ sipCallId: 'x', from: party, to: party, called: given.called ?? '8001' },
    ...{ transport: 'udp', sourceAddress: CARRIER, sourcePort: 5060 },
    ...{ receivedAddress: '192.0.2.1', offer: OFFER },
    header: (name) => given.headers?.[name],
    progress: (status) => log.push(String(status)),
    answer: () => {
      log.push('200');
      return Promise.resolve(dialog);
    },
    reject: (status, reason, headers) => {
      const retry = headers?.['Retry-After'] === undefined ? '' : ' Retry-After';
      log.push(`${status} ${reason ?? ''}${retry}`);
    },
    onCancel: (listener) => {
      cancel = () => listener({ by: 'remote', status: 487, reason: null, q850: null });
    },
  };
  return { call, log, dialog, cancel: () => cancel() };
}
