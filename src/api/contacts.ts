/** The account's contacts (contract 2.8). */
import type { Static } from 'typebox';
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import { maskDeep, maskNumber, maskText } from '#lib/mask.ts';
import { normalizePhone } from '#lib/phone.ts';
import type { Role } from '#lib/actor.ts';
import type { Contact, ContactFields, Contacts } from '#store/contacts.ts';
import { importView, readList, readTable } from './contact-import.ts';
import {
  ContactBody,
  ContactPatch,
  ContactSchema,
  ContactsListQuery,
  ContactsListSchema,
  ImportBody,
  ImportSchema,
} from './contact-schemas.ts';
import { acceptCsv } from './csv-body.ts';
import { pageOf, paginationOf } from './paging.ts';
import { present } from './place-call.ts';
import { invalid, Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok, ref } from './schemas.ts';
import { refuseFreeForm, validatorCompiler } from './validation.ts';

export type ContactsPart = { readonly contacts: Contacts; readonly clock: Clock };

const URL = '/api/v1/contacts';
const TAGS = ['Contacts'];

export function addContactRoutes(app: ApiServer, part: ContactsPart): void {
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addReplace(app, part);
  addPatch(app, part);
  addDelete(app, part);
  // A scope of its own: here alone the body may be a table.
  app.register(async (scope) => {
    acceptCsv(scope as unknown as ApiServer);
    addImport(scope as unknown as ApiServer, part);
  });
}

function addCreate(app: ApiServer, part: ContactsPart): void {
  app.route({
    method: 'POST',
    url: URL,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: 'createContact',
      tags: TAGS,
      summary: 'Add a contact',
      description: 'One contact per number of the account.',
      body: ContactBody,
      response: answers(201, ref(ContactSchema), {
        description: 'The contact',
        hasBody: true,
        problems: ['CONFLICT'],
      }),
    },
    handler: async (request, reply) => {
      const work = part.contacts.add(actorOf(request), wholeOf(request.body));
      const made = await fromStore(part, work);
      reply.code(201);
      return ok(contactView(made, callerOf(request).role));
    },
  });
}

function addList(app: ApiServer, part: ContactsPart): void {
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listContacts',
      tags: TAGS,
      summary: 'List contacts, newest first',
      querystring: ContactsListQuery,
      response: answers(200, ContactsListSchema, { description: 'One page', problems: [] }),
    },
    handler: async (request) => {
      const { q = null, tag = null, do_not_call: doNotCall = null, ...paging } = request.query;
      const page = pageOf(paging);
      // A filter must not tell a viewer what masking hides.
      if (callerOf(request).role === 'viewer' && tag !== null && maskText(tag) !== tag)
        throw invalid('?tag', 'masked', { limit: 'what is shown' });
      const query = { ...page, keyword: q, tag, doNotCall };
      const found = await fromStore(part, part.contacts.list(actorOf(request), query));
      const { role } = callerOf(request);
      return ok({
        contacts: found.rows.map((contact) => contactView(contact, role)),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addGet(app: ApiServer, part: ContactsPart): void {
  app.route({
    method: 'GET',
    url: `${URL}/:id`,
    config: { capability: 'any' },
    schema: {
      operationId: 'getContact',
      tags: TAGS,
      summary: 'Read a contact',
      params: IdParams,
      response: answers(200, ref(ContactSchema), {
        description: 'The contact; masked for viewers',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const work = part.contacts.get(actorOf(request), request.params.id);
      return ok(contactView(existing(await fromStore(part, work)), callerOf(request).role));
    },
  });
}

function addReplace(app: ApiServer, part: ContactsPart): void {
  app.route({
    method: 'PUT',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'replaceContact',
      tags: TAGS,
      summary: 'Replace a contact',
      description: 'What is left out gets its default.',
      params: IdParams,
      body: ContactBody,
      response: answers(200, ref(ContactSchema), {
        description: 'As it is now',
        hasBody: true,
        problems: ['NOT_FOUND', 'CONFLICT'],
      }),
    },
    handler: async (request) => {
      const fields = wholeOf(request.body);
      const work = part.contacts.update(actorOf(request), request.params.id, fields);
      return ok(contactView(existing(await fromStore(part, work)), callerOf(request).role));
    },
  });
}

function addPatch(app: ApiServer, part: ContactsPart): void {
  app.route({
    method: 'PATCH',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'updateContact',
      tags: TAGS,
      summary: 'Change fields of a contact',
      description: 'Each field given is replaced as a whole; `null` clears it.',
      params: IdParams,
      body: ContactPatch,
      response: answers(200, ref(ContactSchema), {
        description: 'As it is now',
        hasBody: true,
        problems: ['NOT_FOUND', 'CONFLICT'],
      }),
    },
    handler: async (request) => {
      const fields = fieldsOf(request.body);
      const work = part.contacts.update(actorOf(request), request.params.id, fields);
      return ok(contactView(existing(await fromStore(part, work)), callerOf(request).role));
    },
  });
}

function addDelete(app: ApiServer, part: ContactsPart): void {
  app.route({
    method: 'DELETE',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'deleteContact',
      tags: TAGS,
      summary: 'Delete a contact',
      description: 'With it goes its `do_not_call`; a revoked consent stays in force.',
      params: IdParams,
      response: answers(200, Type.Null(), {
        description: 'The contact is gone',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const work = part.contacts.remove(actorOf(request), request.params.id);
      if (!(await fromStore(part, work))) throw new Problem('NOT_FOUND');
      return ok(null);
    },
  });
}

function addImport(app: ApiServer, part: ContactsPart): void {
  app.route({
    method: 'POST',
    url: `${URL}/import`,
    config: { capability: 'dev', idempotent: true },
    // A table is read by the handler; a list is checked as everywhere.
    validatorCompiler: (route) => {
      const check = validatorCompiler(route as never);
      return (value: unknown) =>
        route.httpPart === 'body' && typeof value === 'string' ? { value } : check(value);
    },
    schema: {
      operationId: 'importContacts',
      tags: TAGS,
      summary: 'Add and change many contacts by number',
      description:
        'A list, or `text/csv` with a header: columns `name` and `phone`, if wanted `email`, `company`, `tags` (separated by `;`), `note`, `do_not_call`; any other column becomes an attribute. A contact with a known number is changed in what is said of it. Lines that cannot be used are told, the others are imported.',
      consumes: ['application/json', 'text/csv'],
      body: ImportBody,
      response: answers(200, ImportSchema, {
        description: 'What came of it; `line` counts from 1, in a table the header is line 1',
        hasBody: true,
        problems: ['CONFLICT'],
      }),
    },
    handler: async (request) => {
      const body: Static<typeof ImportBody> | string = request.body;
      const read = typeof body === 'string' ? readTable(body) : readList(body.contacts);
      const done = await fromStore(part, part.contacts.import(actorOf(request), read.contacts));
      return ok(importView(read, done));
    },
  });
}

function fieldsOf(body: Static<typeof ContactPatch>): Partial<ContactFields> {
  const { phone, attributes, do_not_call: doNotCall, ...rest } = body;
  if (attributes !== undefined) refuseFreeForm(attributes, '/attributes');
  const normal = phone === undefined ? undefined : normalizePhone(phone);
  if (normal === null) throw invalid('/phone', 'phone');
  return { ...rest, ...present({ phone: normal, attributes, doNotCall }) };
}

function wholeOf(body: Static<typeof ContactBody>): ContactFields {
  return {
    ...{ email: null, company: null, tags: [], note: null, attributes: {}, doNotCall: false },
    ...(fieldsOf(body) as Pick<ContactFields, 'name' | 'phone'>),
  };
}

function existing(contact: Contact | null): Contact {
  if (contact === null) throw new Problem('NOT_FOUND');
  return contact;
}

/** A viewer sees numbers and notes masked (contract 1.3). */
function contactView(contact: Contact, role: Role): Static<typeof ContactSchema> {
  const isMasked = role === 'viewer';
  const text = <T extends string | null>(value: T): T =>
    (isMasked && value !== null ? maskText(value) : value) as T;
  return {
    id: contact.id,
    name: text(contact.name),
    phone: isMasked ? maskNumber(contact.phone) : contact.phone,
    email: text(contact.email),
    company: text(contact.company),
    tags: contact.tags.map(text),
    note: text(contact.note),
    attributes: (isMasked ? maskDeep(contact.attributes) : contact.attributes) as Record<
      string,
      unknown
    >,
    do_not_call: contact.doNotCall,
    last_call_at: contact.lastCallAt,
    created_at: contact.createdAt,
    updated_at: contact.updatedAt,
  };
}
