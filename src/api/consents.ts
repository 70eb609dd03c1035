/** What people have allowed or refused: being recorded, being called, being kept (contract 2.8, 4.6). */
import { Type, type Static } from 'typebox';
import type { Role } from '#lib/actor.ts';
import type { Clock } from '#lib/clock.ts';
import { maskDeep, maskNumber, maskText } from '#lib/mask.ts';
import { normalizePhone, PHONE_MAX_CHARS } from '#lib/phone.ts';
import type { Consent, Consents } from '#store/consents.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { invalid } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import {
  answers,
  EXAMPLE_ID,
  IdSchema,
  nullable,
  ok,
  PaginationSchema,
  ref,
  TimeSchema,
} from './schemas.ts';
import { refuseFreeForm } from './validation.ts';

export type ConsentsPart = { readonly consents: Consents; readonly clock: Clock };

const URL = '/api/v1/consents';
const TAGS = ['Consents'];
const KindSchema = Type.Enum(['recording', 'outbound', 'data']);
const phone = Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS });
const evidence = (description: string) =>
  Type.Unsafe<Record<string, unknown>>({ type: 'object', description });

const ConsentBody = Type.Object(
  {
    phone,
    kind: KindSchema,
    granted: Type.Boolean({ description: 'False revokes' }),
    source: Type.String({ minLength: 1, maxLength: 64, description: 'How it came about' }),
    evidence: Type.Optional(
      evidence('What proves it; at most 16 KiB as JSON, keys of at most 64 characters'),
    ),
  },
  {
    additionalProperties: false,
    examples: [{ phone: '+15550100', kind: 'recording', granted: true, source: 'web form' }],
  },
);

export const ConsentSchema = Type.Object(
  {
    id: IdSchema,
    phone: Type.String({ description: 'With the account’s country code where it has one' }),
    kind: KindSchema,
    granted: Type.Boolean(),
    source: Type.String(),
    call_id: nullable(IdSchema),
    evidence: Type.Unsafe<Readonly<Record<string, unknown>>>({ type: 'object' }),
    created_at: TimeSchema,
  },
  {
    $id: 'Consent',
    examples: [
      {
        id: EXAMPLE_ID,
        phone: '+15550100',
        kind: 'recording',
        granted: true,
        source: 'web form',
        call_id: null,
        evidence: {},
        created_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

const ListQuery = Type.Object(
  {
    ...pageFields,
    phone: Type.Optional(
      Type.String({
        ...{ minLength: 1, maxLength: PHONE_MAX_CHARS },
        description: 'However it is written; not for a viewer, who sees numbers masked',
      }),
    ),
    kind: Type.Optional(KindSchema),
  },
  { additionalProperties: false },
);

export function addConsentRoutes(app: ApiServer, part: ConsentsPart): void {
  app.route({
    method: 'POST',
    url: URL,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: 'recordConsent',
      tags: TAGS,
      summary: 'Record that somebody has allowed or refused something',
      description:
        'The newest consent of a number and kind is in force, for calls from 1 s later on. A revoked `outbound` refuses calls to the number; `recording` is what `require_consent` asks for.',
      body: ConsentBody,
      response: answers(201, ref(ConsentSchema), {
        description: 'The consent',
        hasBody: true,
        problems: [],
      }),
    },
    handler: async (request, reply) => {
      const { evidence: proof = {}, ...rest } = request.body;
      refuseFreeForm(proof, '/evidence');
      const normal = normalizePhone(rest.phone);
      if (normal === null) throw invalid('/phone', 'phone');
      const fields = { ...rest, phone: normal, evidence: proof };
      const made = await fromStore(part, part.consents.add(actorOf(request), fields));
      reply.code(201);
      return ok(consentView(made, callerOf(request).role));
    },
  });
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listConsents',
      tags: TAGS,
      summary: 'List consents, newest first',
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({
          consents: Type.Array(ref(ConsentSchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page; masked for viewers', problems: [] },
      ),
    },
    handler: async (request) => {
      const { phone: wanted, kind = null, ...paging } = request.query;
      const page = pageOf(paging);
      const normal = wanted === undefined ? null : normalizePhone(wanted);
      if (wanted !== undefined && normal === null) throw invalid('?phone', 'phone');
      const { role } = callerOf(request);
      // A filter must not tell a viewer what masking hides: there are but 10,000 numbers behind four stars.
      if (role === 'viewer' && normal !== null && maskNumber(normal) !== normal)
        throw invalid('?phone', 'masked', { limit: 'what is shown' });
      const query = { ...page, phone: normal, kind };
      const found = await fromStore(part, part.consents.list(actorOf(request), query));
      return ok({
        consents: found.rows.map((consent) => consentView(consent, role)),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function consentView(consent: Consent, role: Role): Static<typeof ConsentSchema> {
  const isMasked = role === 'viewer';
  return {
    id: consent.id,
    phone: isMasked ? maskNumber(consent.phone) : consent.phone,
    kind: consent.kind,
    granted: consent.granted,
    source: isMasked ? maskText(consent.source) : consent.source,
    call_id: consent.callId,
    evidence: (isMasked ? maskDeep(consent.evidence) : consent.evidence) as Record<string, unknown>,
    created_at: consent.createdAt,
  };
}
