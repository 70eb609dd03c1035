/** The console API besides its calls (contract 2.6 rows 1, 13 to 15): overview, contacts, extensions, status. */
import { Type } from 'typebox';
import type { Actor, Role } from '#lib/actor.ts';
import { localDateAt, startOfLocalDate } from '#lib/local-date.ts';
import { maskNumber, maskText } from '#lib/mask.ts';
import type { CallCounts, ConsoleReads, TrunkFacts } from '#store/console-reads.ts';
import type { Contact, Contacts } from '#store/contacts.ts';
import type { Extensions } from '#store/extensions.ts';
import type { Caller } from './auth.ts';
import { liveCalls } from './call-view.ts';
import {
  ContactsQuery,
  ContactsSchema,
  ExtensionsSchema,
  OverviewSchema,
  RealtimeSchema,
} from './console-admin-schemas.ts';
import { consoleMessage } from './console-messages.ts';
import { extensionStatusOf, realtimeStatusOf, RealtimeCache } from './console-status.ts';
import type { Installation } from './installation.ts';
import { consolePaginationOf, pageOf } from './paging.ts';
import type { Readiness } from './ports.ts';
import { fromStore, type RecordSource } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, ok } from './schemas.ts';

export type ConsolePart = RecordSource & {
  readonly contacts: Contacts;
  readonly extensions: Extensions;
  readonly console: ConsoleReads;
  readonly installation: Installation;
  readonly readiness: Readiness;
  readonly version: string;
};

const TAGS = ['Call center'];
const NoBody = Type.Object({});

export function addConsoleRoutes(app: ApiServer, part: ConsolePart): void {
  addOverview(app, part);
  addContacts(app, part);
  addExtensions(app, part);
  addRealtime(app, part);
}

function addOverview(app: ApiServer, part: ConsolePart): void {
  app.route({
    method: 'GET',
    url: '/api/call-center/overview',
    config: { capability: 'any' },
    schema: {
      operationId: 'getConsoleOverview',
      tags: TAGS,
      summary: 'See trunk, server and today’s calls at a glance',
      querystring: NoBody,
      response: answers(200, OverviewSchema, {
        description: 'The overview',
        hasMessage: true,
        problems: ['NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const live = await liveCalls(part, callerOf(request));
      const [trunks, today] = await Promise.all([
        fromStore(part, part.console.trunks(actor)),
        countToday(part, actor),
      ]);
      const vos = vosOf(trunks, part.installation);
      const startedMs = Date.parse(part.installation.startedAt);
      const overview = {
        configured: vos.configured,
        vos,
        server: {
          version: part.version,
          startedAt: part.installation.startedAt,
          uptimeSeconds: Math.max(0, Math.floor((part.clock.wallMs() - startedMs) / 1000)),
          nodes: 1,
        },
        activeCalls: live.length,
        today,
      };
      return ok(overview, consoleMessage(request, 'overview'));
    },
  });
}

/** Calls since midnight in the account's zone. */
async function countToday(part: ConsolePart, actor: Actor): Promise<CallCounts> {
  const zone = await fromStore(part, part.records.timeZone(actor.accountId));
  const midnightMs = startOfLocalDate(localDateAt(part.clock.wallMs(), zone), zone);
  return fromStore(part, part.console.callsSince(actor, new Date(midnightMs).toISOString()));
}

/** The trunk that outbound calls take: the first active row, else the environment's, else a row that is switched off. */
function vosOf(trunks: readonly TrunkFacts[], { environmentTrunk }: Installation) {
  const [first] = trunks;
  // Registrations are not kept yet, so no trunk is ever registered.
  const state = { registered: false, registeredUntil: null, lastError: null };
  if (first?.isActive === true || (first !== undefined && environmentTrunk === null)) {
    const { name, host, port, transport, isActive } = first;
    const where = { name, host, port, transport };
    return { configured: true, active: isActive, ...where, ...state, source: 'database' as const };
  }
  if (environmentTrunk !== null) {
    const { name, host, port, transport } = environmentTrunk;
    const where = { name, host, port, transport };
    return { configured: true, active: true, ...where, ...state, source: 'environment' as const };
  }
  const nowhere = { name: null, host: null, port: null, transport: null };
  return { configured: false, active: false, ...nowhere, ...state, source: 'none' as const };
}

function addContacts(app: ApiServer, part: ConsolePart): void {
  app.route({
    method: 'GET',
    url: '/api/call-center/contacts',
    config: { capability: 'any' },
    schema: {
      operationId: 'listConsoleContacts',
      tags: TAGS,
      summary: 'List contacts, newest first',
      querystring: ContactsQuery,
      response: answers(200, ContactsSchema, {
        description: 'One page',
        hasMessage: true,
        problems: [],
      }),
    },
    handler: async (request) => {
      const { role } = callerOf(request);
      const page = pageOf(request.query);
      const keyword = request.query.keyword?.trim() ?? '';
      const query = { ...page, keyword: keyword === '' ? null : keyword };
      const found = await fromStore(part, part.contacts.list(actorOf(request), query));
      const items = found.rows.map((contact) => contactView(contact, role));
      const answer = { items, pagination: consolePaginationOf(page, found) };
      return ok(answer, consoleMessage(request, 'contacts'));
    },
  });
}

function contactView(contact: Contact, role: Role) {
  const { id, name, phone, email, company, tags, doNotCall, lastCallAt } = contact;
  const rest = { id, doNotCall, lastCallAt };
  if (role !== 'viewer') return { ...rest, name, phone, email, company, tags: [...tags] };
  return {
    ...rest,
    company: company === null ? null : maskText(company),
    tags: tags.map(maskText),
    name: maskText(name),
    phone: maskNumber(phone),
    email: email === null ? null : maskText(email),
  };
}

function addExtensions(app: ApiServer, part: ConsolePart): void {
  app.route({
    method: 'GET',
    url: '/api/call-center/extensions',
    config: { capability: 'any' },
    schema: {
      operationId: 'listConsoleExtensions',
      tags: TAGS,
      summary: 'List extensions with what they are doing',
      querystring: NoBody,
      response: answers(200, ExtensionsSchema, {
        description: 'All extensions',
        hasMessage: true,
        problems: ['NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const live = await liveCalls(part, callerOf(request));
      const found = await fromStore(part, part.extensions.list(actorOf(request)));
      const items = found.items.map((one) => ({
        id: one.id,
        extension: one.extension,
        name: one.name,
        kind: one.kind,
        department: one.department,
        status: extensionStatusOf(one, live),
        enabled: one.enabled,
      }));
      return ok({ total: found.total, items }, consoleMessage(request, 'extensions'));
    },
  });
}

function addRealtime(app: ApiServer, part: ConsolePart): void {
  const cache = new RealtimeCache(part.clock);
  const measure = async (actor: Actor, caller: Caller) => {
    const [live, trunks, today] = await Promise.all([
      liveCalls(part, caller),
      fromStore(part, part.console.trunks(actor)),
      countToday(part, actor),
    ]);
    const { state } = part.readiness.check();
    const updatedAt = new Date(part.clock.wallMs()).toISOString();
    return realtimeStatusOf({
      ...{ live, trunks, today, state, updatedAt },
      installation: part.installation,
    });
  };
  app.route({
    method: 'GET',
    url: '/api/call-center/realtime/status',
    config: { capability: 'any' },
    schema: {
      operationId: 'getRealtimeStatus',
      tags: TAGS,
      summary: 'See what is going on now',
      description: 'At most 2 s old.',
      querystring: NoBody,
      response: answers(200, RealtimeSchema, {
        description: 'The status',
        hasMessage: true,
        problems: ['NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const key = `${caller.accountId} ${caller.agentIds?.join(' ') ?? '*'}`;
      const status = await cache.get(key, () => measure(actorOf(request), caller));
      return ok(status, consoleMessage(request, 'status'));
    },
  });
}
