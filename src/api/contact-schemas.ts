/** Shapes of contacts (contract 2.8). */
import { Type } from 'typebox';
import { PHONE_MAX_CHARS } from '#lib/phone.ts';
import { pageFields } from './paging.ts';
import { EXAMPLE_ID, IdSchema, nullable, PaginationSchema, ref, TimeSchema } from './schemas.ts';

export const MAX_NOTE = 4_000;
export const MAX_TAGS = 50;
export const MAX_TAG = 64;
export const MAX_IMPORT = 10_000;

const name = Type.String({ minLength: 1, maxLength: 255, pattern: '\\S' });
const phone = Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS });
export const EMAIL_PATTERN = '^[^\\s@]+@[^\\s@]+$';

const optional = {
  email: Type.Optional(nullable(Type.String({ maxLength: 255, pattern: EMAIL_PATTERN }))),
  company: Type.Optional(nullable(Type.String({ minLength: 1, maxLength: 255 }))),
  tags: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: MAX_TAG }), {
      ...{ maxItems: MAX_TAGS, uniqueItems: true },
    }),
  ),
  note: Type.Optional(nullable(Type.String({ maxLength: MAX_NOTE }))),
  attributes: Type.Optional(
    Type.Unsafe<Record<string, unknown>>({
      type: 'object',
      description:
        'Whatever you keep of them; at most 16 KiB as JSON, keys of at most 64 characters',
    }),
  ),
  do_not_call: Type.Optional(
    Type.Boolean({ description: 'Calls to the number are refused, whoever places them' }),
  ),
};

const bodyExample = { name: 'Ann', phone: '+15550100', tags: ['vip'] };

export const ContactBody = Type.Object(
  { name, phone, ...optional },
  { additionalProperties: false, examples: [bodyExample] },
);

export const ContactPatch = Type.Object(
  { name: Type.Optional(name), phone: Type.Optional(phone), ...optional },
  { additionalProperties: false, minProperties: 1, examples: [{ do_not_call: true }] },
);

export const ImportBody = Type.Object(
  { contacts: Type.Array(ContactBody, { maxItems: MAX_IMPORT }) },
  { additionalProperties: false, examples: [{ contacts: [bodyExample] }] },
);

export const ImportSchema = Type.Object(
  {
    created: Type.Integer(),
    updated: Type.Integer(),
    rejected: Type.Array(Type.Object({ line: Type.Integer(), reason: Type.String() })),
  },
  { examples: [{ created: 1, updated: 0, rejected: [{ line: 3, reason: 'phone is no number' }] }] },
);

export const ContactSchema = Type.Object(
  {
    id: IdSchema,
    name: Type.String(),
    phone: Type.String({ description: 'With the account’s country code where it has one' }),
    email: nullable(Type.String()),
    company: nullable(Type.String()),
    tags: Type.Array(Type.String()),
    note: nullable(Type.String()),
    attributes: Type.Unsafe<Readonly<Record<string, unknown>>>({ type: 'object' }),
    do_not_call: Type.Boolean(),
    last_call_at: nullable(TimeSchema),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'Contact',
    examples: [
      {
        id: EXAMPLE_ID,
        name: 'Ann',
        phone: '+15550100',
        email: null,
        company: null,
        tags: ['vip'],
        note: null,
        attributes: {},
        do_not_call: false,
        last_call_at: null,
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

export const ContactsListQuery = Type.Object(
  {
    ...pageFields,
    q: Type.Optional(
      Type.String({
        maxLength: 100,
        description:
          'A part of name, phone, e-mail or company, case-insensitive. For a viewer it is looked for in name and company alone, digits and mail addresses left out',
      }),
    ),
    tag: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_TAG })),
    do_not_call: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

export const ContactsListSchema = Type.Object({
  contacts: Type.Array(ref(ContactSchema)),
  pagination: ref(PaginationSchema),
});
