/**
 * MiniMax may repeat the whole sound in its last message (providers.md 6.1): what has come is told from what is new by the
 * bytes themselves, whatever the message calls itself.
 */
import { createHash, type Hash } from 'node:crypto';
import { brokenMessage } from '../vendor-json.ts';

export class HeardSound {
  #hash: Hash = createHash('sha1');
  #bytes = 0;

  /** Another piece begins. */
  reset(): void {
    this.#hash = createHash('sha1');
    this.#bytes = 0;
  }

  /** What is new in a message's sound; only the last may repeat the others. Errors: E_PROVIDER_SERVER. */
  take(hex: string, isLast: boolean): Buffer {
    if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(hex)) {
      throw brokenMessage('minimax', 'sound that is not hexadecimal');
    }
    const bytes = Buffer.from(hex, 'hex');
    if (isLast && this.#isRepeated(bytes)) return this.#heard(bytes.subarray(this.#bytes));
    return this.#heard(bytes);
  }

  #isRepeated(bytes: Buffer): boolean {
    if (this.#bytes === 0 || bytes.length < this.#bytes) return false;
    const head = createHash('sha1').update(bytes.subarray(0, this.#bytes)).digest();
    return head.equals(this.#hash.copy().digest());
  }

  #heard(bytes: Buffer): Buffer {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    return bytes;
  }
}
