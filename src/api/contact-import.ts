/** Many contacts in one request: a CSV table, or a list (contract 2.8). */
import { normalizePhone } from '#lib/phone.ts';
import type { ContactImport, ImportedContact } from '#store/contact-import.ts';
import type { Static } from 'typebox';
import {
  EMAIL_PATTERN,
  MAX_IMPORT,
  MAX_NOTE,
  MAX_TAG,
  MAX_TAGS,
  type ContactBody,
} from './contact-schemas.ts';
import { readCsv, type RejectedLine } from './csv-body.ts';
import { present } from './place-call.ts';
import { freeFormFaults } from './validation.ts';

export type ReadContacts = {
  readonly contacts: readonly ImportedContact[];
  readonly rejected: readonly RejectedLine[];
};

const BAD_PHONE = 'phone is no number';
const EMAIL = new RegExp(EMAIL_PATTERN);
const YES = /^(?:1|true|yes|y|是)$/i;
const NO = /^(?:|0|false|no|n|否)$/i;
const KNOWN = new Set(['name', 'phone', 'email', 'company', 'tags', 'note', 'do_not_call']);

/** What cannot be used is told by its place in the list; the rest is imported. */
export function readList(contacts: readonly Static<typeof ContactBody>[]): ReadContacts {
  const rejected: RejectedLine[] = [];
  const read = contacts.flatMap((contact, at): ImportedContact[] => {
    const line = at + 1;
    const { name, email, company, tags, note, attributes, do_not_call: doNotCall } = contact;
    const phone = normalizePhone(contact.phone);
    const fault =
      phone === null
        ? BAD_PHONE
        : attributes !== undefined && freeFormFaults(attributes, '').length > 0
          ? 'attributes are too large'
          : null;
    if (phone !== null && fault === null) {
      const fields = present({ email, company, tags, note, attributes, doNotCall });
      return [{ line, name, phone, ...fields }];
    }
    rejected.push({ line, reason: fault ?? BAD_PHONE });
    return [];
  });
  return { contacts: read, rejected };
}

/**
 * Columns `name` and `phone`, and if wanted `email`, `company`, `tags` (separated by `;`), `note`, `do_not_call`; any
 * other column becomes an attribute. Empty cells say nothing. Errors: VALIDATION_FAILED, see `readCsv`.
 */
export function readTable(text: string): ReadContacts {
  const table = readCsv(text, { required: ['name', 'phone'], maxRows: MAX_IMPORT });
  const rejected = [...table.rejected];
  const contacts = table.rows.flatMap(({ line, cells }): ImportedContact[] => {
    const read = contactOf(cells);
    if (typeof read !== 'string') return [{ line, ...read }];
    rejected.push({ line, reason: read });
    return [];
  });
  return { contacts, rejected };
}

/** The contact of one line, or why it is none. */
function contactOf(cells: ReadonlyMap<string, string>): Omit<ImportedContact, 'line'> | string {
  const cell = (name: string): string | undefined => cells.get(name) || undefined;
  const name = cell('name');
  const phone = normalizePhone(cell('phone') ?? '');
  const [email, company, note] = [cell('email'), cell('company'), cell('note')];
  const tags = cell('tags')
    ?.split(';')
    .flatMap((tag) => tag.trim() || []);
  const isBarred = cells.get('do_not_call') ?? '';
  if (name === undefined) return 'name is missing';
  if (name.length > 255) return 'name is too long';
  if (phone === null) return BAD_PHONE;
  if (email !== undefined && (email.length > 255 || !EMAIL.test(email))) return 'email is none';
  if ((company?.length ?? 0) > 255) return 'company is too long';
  if ((note?.length ?? 0) > MAX_NOTE) return 'note is too long';
  if (tags !== undefined && (tags.length > MAX_TAGS || tags.some((tag) => tag.length > MAX_TAG)))
    return 'tags are too many or too long';
  if (!YES.test(isBarred) && !NO.test(isBarred)) return 'do_not_call is neither yes nor no';
  const others = [...cells].filter(([column, value]) => !KNOWN.has(column) && value !== '');
  const attributes = Object.fromEntries(others);
  if (freeFormFaults(attributes, '').length > 0) return 'attributes are too large';
  return {
    name,
    phone,
    ...present({ email, company, note }),
    ...(tags === undefined ? {} : { tags: [...new Set(tags)] }),
    ...(others.length === 0 ? {} : { attributes }),
    ...(isBarred === '' ? {} : { doNotCall: YES.test(isBarred) }),
  };
}

/** Lines in order, whoever refused them. */
export function importView(read: ReadContacts, done: ContactImport) {
  const rejected = [...read.rejected, ...done.rejected].sort((a, b) => a.line - b.line);
  return { created: done.created, updated: done.updated, rejected };
}
