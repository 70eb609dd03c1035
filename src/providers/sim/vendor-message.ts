/** A client's text message as a simulator reads it. */

/** Null: no JSON object. */
export function parsedMessage(data: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(data.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null; // the vendor answers that with a code of its own
  }
}
