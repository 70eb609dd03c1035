/** The Range header of one request for a body of known size (RFC 9110 14). */

/** Both ends inclusive. */
export type ByteRange = { readonly from: number; readonly to: number };

/**
 * The one range asked for; `whole` when there is none, or one that a server may ignore (another unit, broken syntax,
 * several ranges); `none` when it lies outside.
 */
export function byteRangeOf(
  header: string | undefined,
  bytes: number,
): ByteRange | 'whole' | 'none' {
  const parts = /^bytes *= *(\d*) *- *(\d*)$/i.exec(header?.trim() ?? '');
  const [, first = '', last = ''] = parts ?? [];
  if (first === '' && last === '') return 'whole';
  if (first === '') {
    const length = Number(last);
    return length === 0 || bytes === 0
      ? 'none'
      : { from: Math.max(0, bytes - length), to: bytes - 1 };
  }
  const from = Number(first);
  if (last !== '' && Number(last) < from) return 'whole';
  if (from >= bytes) return 'none';
  return { from, to: last === '' ? bytes - 1 : Math.min(Number(last), bytes - 1) };
}
