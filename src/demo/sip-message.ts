/** Just enough SIP (RFC 3261) text for a caller: read a message, find headers, write a message. */

export type SipMessage = {
  /** Request method, or null for a response. */
  readonly method: string | null;
  readonly uri: string;
  /** Status of a response; 0 for a request. */
  readonly status: number;
  readonly reason: string;
  /** Lower-case long names with their values, in order of appearance. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
};

const COMPACT: Record<string, string> = {
  i: 'call-id',
  m: 'contact',
  l: 'content-length',
  c: 'content-type',
  f: 'from',
  t: 'to',
  v: 'via',
  k: 'supported',
};

/** Undefined when `text` is no SIP message (keep-alives, noise). */
export function parseSip(text: string): SipMessage | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  // A line that starts with white space continues the one before (RFC 3261 7.3.1).
  const lines = text
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n');
  const first = lines[0] ?? '';
  const response = /^SIP\/2\.0 (\d{3}) ?(.*)$/.exec(first);
  const request = /^([A-Z]+) (\S+) SIP\/2\.0$/.exec(first);
  if (!response && !request) return undefined;
  const headers = lines.slice(1).map((line): [string, string] => {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim().toLowerCase();
    return [COMPACT[name] ?? name, line.slice(colon + 1).trim()];
  });
  return {
    method: request?.[1] ?? null,
    uri: request?.[2] ?? '',
    status: Number(response?.[1] ?? 0),
    reason: response?.[2] ?? '',
    headers,
    body: text.slice(end + 4),
  };
}

export function headersOf(message: SipMessage, name: string): string[] {
  return message.headers.filter(([key]) => key === name).map(([, value]) => value);
}

export function headerOf(message: SipMessage, name: string): string {
  return headersOf(message, name)[0] ?? '';
}

/** The URI inside `"Name" <sip:...>;params`, or of the bare form. */
export function uriOf(nameAddress: string): string {
  const inside = /<([^>]+)>/.exec(nameAddress)?.[1];
  return inside ?? nameAddress.split(';')[0]?.trim() ?? '';
}

export function tagOf(nameAddress: string): string {
  return /;\s*tag=([^;>\s]+)/i.exec(nameAddress)?.[1] ?? '';
}

/** Values of a header that may be a comma list of `<...>` entries, in order (Record-Route). */
export function listOf(message: SipMessage, name: string): string[] {
  return headersOf(message, name)
    .flatMap((value) => value.split(/,(?=\s*(?:"[^"]*"\s*)?<)/))
    .map((entry) => entry.trim());
}

export type SipTarget = {
  readonly uri: string;
  readonly user: string;
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
};

/** Reads `sip:user@host:port;transport=tcp`; undefined when it is not such a URI. IPv6 literals are not taken. */
export function parseTarget(uri: string): SipTarget | undefined {
  const found = /^sip:(?:([^@;]+)@)?([^:;@\s[\]]+)(?::(\d{1,5}))?((?:;[^;\s]+)*)$/i.exec(
    uri.trim(),
  );
  if (!found) return undefined;
  const transport = /;transport=tcp\b/i.test(found[4] ?? '') ? 'tcp' : 'udp';
  const port = Number(found[3] ?? 5060);
  if (port < 1 || port > 65535) return undefined;
  return { uri: uri.trim(), user: found[1] ?? '', host: found[2] ?? '', port, transport };
}

/** A message as bytes on the wire; Content-Length is counted in bytes. */
export function writeSip(
  startLine: string,
  headers: readonly (readonly [string, string])[],
  body = '',
): string {
  const lines = headers.map(([name, value]) => `${name}: ${value}`);
  return `${[startLine, ...lines, `Content-Length: ${Buffer.byteLength(body)}`].join('\r\n')}\r\n\r\n${body}`;
}
