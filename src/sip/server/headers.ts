/** Names of SIP header fields: canonical spelling, compact forms, and which of them are comma-separated lists. */

/** `name` is the spelling that goes on the wire, `key` is what lookups compare. */
export type HeaderName = { readonly name: string; readonly key: string };

/** One header line. A list header may hold several values in one line. */
export type Header = HeaderName & { readonly value: string };

const LIST_HEADERS =
  'Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Call-Info Contact ' +
  'Content-Encoding Content-Language Diversion Error-Info History-Info In-Reply-To P-Asserted-Identity ' +
  'P-Associated-URI P-Preferred-Identity Path Proxy-Require Reason Record-Route Recv-Info Reject-Contact Require ' +
  'Route Security-Client Security-Server Security-Verify Service-Route Supported Unsupported Via Warning';

const OTHER_HEADERS =
  'Authentication-Info Authorization CSeq Call-ID Content-Disposition Content-Length Content-Type Date Event Expires ' +
  'From Identity Info-Package Join MIME-Version Max-Forwards Min-Expires Min-SE Organization P-Access-Network-Info ' +
  'P-Charging-Vector P-Early-Media Priority Privacy Proxy-Authenticate Proxy-Authorization RAck RSeq Refer-Sub ' +
  'Refer-To Referred-By Replaces Reply-To Request-Disposition Retry-After SIP-ETag SIP-If-Match Server ' +
  'Session-Expires Subject Subscription-State Target-Dialog Timestamp To User-Agent User-to-User WWW-Authenticate';

/** Compact forms of the IANA registry of SIP header fields. */
const COMPACT: Readonly<Record<string, string>> = {
  a: 'Accept-Contact',
  b: 'Referred-By',
  c: 'Content-Type',
  d: 'Request-Disposition',
  e: 'Content-Encoding',
  f: 'From',
  i: 'Call-ID',
  j: 'Reject-Contact',
  k: 'Supported',
  l: 'Content-Length',
  m: 'Contact',
  n: 'Identity-Info',
  o: 'Event',
  r: 'Refer-To',
  s: 'Subject',
  t: 'To',
  u: 'Allow-Events',
  v: 'Via',
  x: 'Session-Expires',
  y: 'Identity',
};

const lists = new Set(LIST_HEADERS.split(' ').map((name) => name.toLowerCase()));

/** Every known spelling: canonical, lower case, compact. Other spellings go through toLowerCase first. */
const known = new Map<string, HeaderName>();
for (const name of [...LIST_HEADERS.split(' '), ...OTHER_HEADERS.split(' '), 'Identity-Info']) {
  const entry = { name, key: name.toLowerCase() };
  known.set(name, entry).set(entry.key, entry);
}
for (const [letter, name] of Object.entries(COMPACT)) {
  const entry = { name, key: name.toLowerCase() };
  known.set(letter, entry).set(letter.toUpperCase(), entry);
}

/** The canonical name of a header field; an unknown one keeps the spelling it came with. */
export function headerName(raw: string): HeaderName {
  const exact = known.get(raw);
  if (exact !== undefined) return exact;
  const key = raw.toLowerCase();
  return known.get(key) ?? { name: raw, key };
}

/** True when several values may share one line, split by commas (RFC 3261 7.3.1). */
export function isListHeader(name: string): boolean {
  return lists.has(headerName(name).key);
}
