/**
 * Sealed recordings (contract 4.6, docs/decisions/0005): a header, chunks of 64 KiB of samples, an end mark. Each chunk
 * is AES-256-GCM under the key of its recording alone; header, index and last flag are authenticated with it, so that
 * what was cut off, swapped, moved or changed does not open. Only encodes and decodes; reading and writing are others'.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { AppError } from './errors.ts';
import { isId, type Id } from './ids.ts';

export const SEALED_KEY_BYTES = 32;
export const SEALED_HEADER_BYTES = 64;
export const SEALED_END_BYTES = 40;
/** Samples in every chunk but the last, which may hold fewer. 64 KiB are 2.048 s. */
export const SEALED_CHUNK_BYTES = 65_536;
export const SEALED_TAG_BYTES = 16;

/** What a writer needs to seal: made once per recording, never used for another. */
export type RecordingSeal = {
  readonly recordingId: Id;
  /** 32 bytes. */
  readonly key: Uint8Array;
};

const ALGORITHM = 'aes-256-gcm';
const MAGIC = Buffer.from('CALLYREC', 'latin1');
const END_MAGIC = Buffer.from('CEND', 'latin1');
const VERSION = 1;
const NONCE_BYTES = 12;
/** First byte of the nonce: a chunk's is made from its index, an end mark's is random. The two never meet. */
const CHUNK_NONCE = 0;
const END_NONCE = 1;
const MAX_CHUNKS = 0xffff_ffff;

/** Bytes of the whole file for so many bytes of samples. */
export function sealedFileBytes(dataBytes: number): number {
  return chunksOffset(dataBytes) + SEALED_END_BYTES;
}

export function sealedChunkCount(dataBytes: number): number {
  return Math.ceil(dataBytes / SEALED_CHUNK_BYTES);
}

/** Where chunk `index` begins in the file, when all before it are full. */
export function sealedChunkOffset(index: number): number {
  return SEALED_HEADER_BYTES + index * (SEALED_CHUNK_BYTES + SEALED_TAG_BYTES);
}

/** Where the chunks of so many bytes of samples end. */
function chunksOffset(dataBytes: number): number {
  return SEALED_HEADER_BYTES + dataBytes + sealedChunkCount(dataBytes) * SEALED_TAG_BYTES;
}

/** True for the first bytes of a sealed recording, of whatever version. */
export function looksSealed(start: Uint8Array): boolean {
  return start.length >= MAGIC.length && MAGIC.equals(start.subarray(0, MAGIC.length));
}

/** The 64 bytes at the start of the file. Numbers are big-endian. */
export function sealedHeader(recordingId: Id): Buffer {
  if (!isId(recordingId)) throw new AppError('E_INTERNAL', 'a recording needs an id');
  const header = Buffer.alloc(SEALED_HEADER_BYTES);
  MAGIC.copy(header, 0);
  header.writeUInt16BE(VERSION, 8);
  header.writeUInt16BE(SEALED_HEADER_BYTES, 10);
  header.writeUInt32BE(SEALED_CHUNK_BYTES, 12);
  header.writeUInt32BE(8000, 16); // sample rate
  header.writeUInt16BE(2, 20); // channels
  header.writeUInt16BE(16, 22); // bits per sample
  Buffer.from(recordingId.replaceAll('-', ''), 'hex').copy(header, 24);
  return header;
}

/** Refuses a header that is not exactly this recording's. Errors: E_MEDIA. */
export function checkSealedHeader(header: Uint8Array, recordingId: Id): void {
  if (!looksSealed(header) || header.length < SEALED_HEADER_BYTES) {
    throw damaged('it is not a sealed recording');
  }
  const version = Buffer.from(header).readUInt16BE(8);
  if (version !== VERSION) throw damaged(`its version ${version} is not known here`);
  if (!sealedHeader(recordingId).equals(header)) throw damaged('its header is another one');
}

/** Seals and opens the parts of one recording. */
export class SealedAudio {
  readonly #key: Uint8Array;
  readonly #header: Buffer;
  /** Additional data: header, index, last flag, and in the end mark the length. */
  readonly #bound = Buffer.alloc(SEALED_HEADER_BYTES + 13);

  constructor(seal: RecordingSeal) {
    if (seal.key.length !== SEALED_KEY_BYTES) {
      throw new AppError('E_INTERNAL', 'a recording key has 32 bytes');
    }
    this.#key = seal.key;
    this.#header = sealedHeader(seal.recordingId);
    this.#header.copy(this.#bound, 0);
  }

  get header(): Buffer {
    return this.#header;
  }

  /**
   * Ciphertext and tag of chunk `index`. The nonce follows from the index: the caller seals each index once, with one
   * content, and never again.
   */
  sealChunk(index: number, samples: Uint8Array): Buffer {
    const cipher = createCipheriv(ALGORITHM, this.#key, chunkNonce(index));
    cipher.setAAD(this.#chunkBound(index));
    const sealed = Buffer.allocUnsafe(samples.length + SEALED_TAG_BYTES);
    cipher.update(samples).copy(sealed, 0);
    cipher.final();
    cipher.getAuthTag().copy(sealed, samples.length);
    return sealed;
  }

  /** The samples of chunk `index`. Errors: E_MEDIA when a single bit is not what was sealed there. */
  openChunk(index: number, sealed: Uint8Array): Buffer {
    const length = sealed.length - SEALED_TAG_BYTES;
    if (length < 0 || length > SEALED_CHUNK_BYTES) throw damaged(`chunk ${index} is cut off`);
    const decipher = this.#decipher(chunkNonce(index), sealed.subarray(length));
    decipher.setAAD(this.#chunkBound(index));
    try {
      const samples = decipher.update(sealed.subarray(0, length));
      decipher.final();
      return samples;
    } catch (error) {
      throw damaged(`chunk ${index} does not open`, error);
    }
  }

  /** The 40 bytes that close a recording of `dataBytes`; those of each call differ. */
  sealEnd(dataBytes: number, random: Uint8Array = randomBytes(NONCE_BYTES - 1)): Buffer {
    const end = Buffer.alloc(SEALED_END_BYTES);
    END_MAGIC.copy(end, 0);
    end.writeBigUInt64BE(BigInt(dataBytes), 4);
    end[12] = END_NONCE;
    end.set(random.subarray(0, NONCE_BYTES - 1), 13);
    const cipher = createCipheriv(ALGORITHM, this.#key, end.subarray(12, 24));
    cipher.setAAD(this.#endBound(dataBytes));
    cipher.final();
    cipher.getAuthTag().copy(end, 24);
    return end;
  }

  /** Bytes of samples in a file of `fileBytes` that ends in `end`. Errors: E_MEDIA when anything was cut off or added. */
  openEnd(end: Uint8Array, fileBytes: number): number {
    const mark = Buffer.from(end);
    if (mark.length !== SEALED_END_BYTES || !END_MAGIC.equals(mark.subarray(0, 4))) {
      throw damaged('it has no end');
    }
    const dataBytes = Number(mark.readBigUInt64BE(4));
    if (mark[12] !== END_NONCE || !Number.isSafeInteger(dataBytes))
      throw damaged('its end is wrong');
    if (sealedFileBytes(dataBytes) !== fileBytes) throw damaged('its length is not the one it had');
    const decipher = this.#decipher(mark.subarray(12, 24), mark.subarray(24));
    decipher.setAAD(this.#endBound(dataBytes));
    try {
      decipher.final();
    } catch (error) {
      throw damaged('its end does not open', error);
    }
    return dataBytes;
  }

  #decipher(nonce: Uint8Array, tag: Uint8Array) {
    return createDecipheriv(ALGORITHM, this.#key, nonce, {
      authTagLength: SEALED_TAG_BYTES,
    }).setAuthTag(tag);
  }

  #chunkBound(index: number): Uint8Array {
    this.#bound.writeUInt32BE(index, SEALED_HEADER_BYTES);
    this.#bound[SEALED_HEADER_BYTES + 4] = 0;
    return this.#bound.subarray(0, SEALED_HEADER_BYTES + 5);
  }

  #endBound(dataBytes: number): Uint8Array {
    this.#bound.writeUInt32BE(sealedChunkCount(dataBytes), SEALED_HEADER_BYTES);
    this.#bound[SEALED_HEADER_BYTES + 4] = 1;
    this.#bound.writeBigUInt64BE(BigInt(dataBytes), SEALED_HEADER_BYTES + 5);
    return this.#bound;
  }
}

function chunkNonce(index: number): Buffer {
  if (!Number.isInteger(index) || index < 0 || index > MAX_CHUNKS) {
    throw new AppError('E_INTERNAL', 'a recording cannot have so many chunks');
  }
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce[0] = CHUNK_NONCE;
  nonce.writeUInt32BE(index, 8);
  return nonce;
}

function damaged(what: string, cause?: unknown): AppError {
  return new AppError('E_MEDIA', `a recording is damaged: ${what}`, { cause });
}
