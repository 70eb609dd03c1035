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

/** What is in the chunks: samples, which readers get as a WAV, or a file of Ogg/Opus. */
export type RecordingFormat = 'wav' | 'ogg';

/** What a writer needs to seal: made once per recording, never used for another. */
export type RecordingSeal = {
  readonly recordingId: Id;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Absent: `wav`. */
  readonly format?: RecordingFormat;
};

const ALGORITHM = 'aes-256-gcm';
const MAGIC = Buffer.from('CALLYREC', 'latin1');
const END_MAGIC = Buffer.from('CEND', 'latin1');
const VERSION = 1;
const NONCE_BYTES = 12;
/**
 * First byte of the nonce: a chunk's is made from its index, those of an end mark and of a tail are random. They never
 * meet. An end mark that follows a tail has the tail's random bytes.
 */
const CHUNK_NONCE = 0;
const END_NONCE = 1;
const TAIL_NONCE = 2;
const END_OF_TAIL_NONCE = 3;
const CHUNK_FLAG = 0;
const END_FLAG = 1;
const TAIL_FLAG = 2;
const TAIL_MAGIC = Buffer.from('CTAL', 'latin1');
/** Before the ciphertext of a tail: magic, length, nonce, tag. */
export const SEALED_TAIL_BYTES = 36;
const MAX_CHUNKS = 0xffff_ffff;
const FORMATS: readonly RecordingFormat[] = ['wav', 'ogg'];
const FORMAT_AT = 40;

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
export function sealedHeader(recordingId: Id, format: RecordingFormat = 'wav'): Buffer {
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
  header[FORMAT_AT] = FORMATS.indexOf(format);
  return header;
}

/** The format of this recording, by its header; refuses one that is not exactly this recording's. Errors: E_MEDIA. */
export function checkSealedHeader(header: Uint8Array, recordingId: Id): RecordingFormat {
  if (!looksSealed(header) || header.length < SEALED_HEADER_BYTES) {
    throw damaged('it is not a sealed recording');
  }
  const version = Buffer.from(header).readUInt16BE(8);
  if (version !== VERSION) throw damaged(`its version ${version} is not known here`);
  const format = FORMATS[header[FORMAT_AT] as number];
  if (format === undefined || !sealedHeader(recordingId, format).equals(header)) {
    throw damaged('its header is another one');
  }
  return format;
}

/** Seals and opens the parts of one recording. */
export class SealedAudio {
  readonly format: RecordingFormat;
  readonly #key: Uint8Array;
  readonly #header: Buffer;
  /** Additional data: header, index, last flag, and in the end mark the length. */
  readonly #bound = Buffer.alloc(SEALED_HEADER_BYTES + 13);

  constructor(seal: RecordingSeal) {
    if (seal.key.length !== SEALED_KEY_BYTES) {
      throw new AppError('E_INTERNAL', 'a recording key has 32 bytes');
    }
    this.#key = seal.key;
    this.format = seal.format ?? 'wav';
    this.#header = sealedHeader(seal.recordingId, this.format);
    this.#header.copy(this.#bound, 0);
  }

  get header(): Buffer {
    return this.#header;
  }

  /** The last chunk of a file that was mended, by its end: it was sealed as a tail. */
  #tail: { readonly index: number; readonly nonce: Uint8Array } | null = null;

  /**
   * Ciphertext and tag of chunk `index`. The nonce follows from the index: the caller seals each index once, with one
   * content, and never again.
   */
  sealChunk(index: number, samples: Uint8Array): Buffer {
    const cipher = createCipheriv(ALGORITHM, this.#key, chunkNonce(index));
    cipher.setAAD(this.#bind(index, CHUNK_FLAG));
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
    const isTail = this.#tail?.index === index;
    const nonce = isTail ? (this.#tail?.nonce as Uint8Array) : chunkNonce(index);
    const decipher = this.#decipher(nonce, sealed.subarray(length));
    decipher.setAAD(this.#bind(index, isTail ? TAIL_FLAG : CHUNK_FLAG));
    try {
      const samples = decipher.update(sealed.subarray(0, length));
      decipher.final();
      return samples;
    } catch (error) {
      throw damaged(`chunk ${index} does not open`, error);
    }
  }

  /**
   * What has been gathered of chunk `index` before it is full, for a mend after a crash: magic, length, nonce, tag,
   * ciphertext. It may be made again with more in it.
   */
  sealTail(index: number, bytes: Uint8Array): Buffer {
    const tail = Buffer.alloc(SEALED_TAIL_BYTES + bytes.length);
    TAIL_MAGIC.copy(tail, 0);
    tail.writeUInt32BE(bytes.length, 4);
    tail[8] = TAIL_NONCE;
    tail.set(randomBytes(NONCE_BYTES - 1), 9);
    const cipher = createCipheriv(ALGORITHM, this.#key, tail.subarray(8, 20));
    cipher.setAAD(this.#bind(index, TAIL_FLAG));
    cipher.update(bytes).copy(tail, SEALED_TAIL_BYTES);
    cipher.final();
    cipher.getAuthTag().copy(tail, 20);
    return tail;
  }

  /**
   * A tail as the last chunk of a file, and the end that goes behind it; null when none of chunk `index` begins here.
   * Nothing is sealed anew but the end.
   */
  tailAsChunk(
    index: number,
    tail: Buffer,
  ): { readonly chunk: Buffer; readonly end: Buffer } | null {
    if (tail.length < SEALED_TAIL_BYTES || !TAIL_MAGIC.equals(tail.subarray(0, 4))) return null;
    const length = tail.readUInt32BE(4);
    if (tail[8] !== TAIL_NONCE || length === 0 || length > SEALED_CHUNK_BYTES) return null;
    if (tail.length < SEALED_TAIL_BYTES + length) return null;
    const cut = tail.subarray(SEALED_TAIL_BYTES, SEALED_TAIL_BYTES + length);
    const chunk = Buffer.concat([cut, tail.subarray(20, SEALED_TAIL_BYTES)]);
    const before = this.#tail;
    this.#tail = { index, nonce: Buffer.from(tail.subarray(8, 20)) };
    try {
      this.openChunk(index, chunk);
    } catch (error) {
      this.#tail = before;
      if (error instanceof AppError) return null;
      throw error;
    }
    const dataBytes = index * SEALED_CHUNK_BYTES + length;
    return { chunk, end: this.#sealEnd(dataBytes, END_OF_TAIL_NONCE, tail.subarray(9, 20)) };
  }

  /** The 40 bytes that close a recording of `dataBytes`; those of each call differ. */
  sealEnd(dataBytes: number, random: Uint8Array = randomBytes(NONCE_BYTES - 1)): Buffer {
    return this.#sealEnd(dataBytes, END_NONCE, random);
  }

  #sealEnd(dataBytes: number, kind: number, random: Uint8Array): Buffer {
    const end = Buffer.alloc(SEALED_END_BYTES);
    END_MAGIC.copy(end, 0);
    end.writeBigUInt64BE(BigInt(dataBytes), 4);
    end[12] = kind;
    end.set(random.subarray(0, NONCE_BYTES - 1), 13);
    const cipher = createCipheriv(ALGORITHM, this.#key, end.subarray(12, 24));
    cipher.setAAD(this.#endBound(dataBytes));
    cipher.final();
    cipher.getAuthTag().copy(end, 24);
    return end;
  }

  /**
   * Bytes of samples in a file of `fileBytes` that ends in `end`, which also tells how its last chunk was sealed.
   * Errors: E_MEDIA when anything was cut off or added.
   */
  openEnd(end: Uint8Array, fileBytes: number): number {
    const mark = Buffer.from(end);
    if (mark.length !== SEALED_END_BYTES || !END_MAGIC.equals(mark.subarray(0, 4))) {
      throw damaged('it has no end');
    }
    const dataBytes = Number(mark.readBigUInt64BE(4));
    const isAfterTail = mark[12] === END_OF_TAIL_NONCE && dataBytes > 0;
    if (!(isAfterTail || mark[12] === END_NONCE) || !Number.isSafeInteger(dataBytes)) {
      throw damaged('its end is wrong');
    }
    if (sealedFileBytes(dataBytes) !== fileBytes) throw damaged('its length is not the one it had');
    const decipher = this.#decipher(mark.subarray(12, 24), mark.subarray(24));
    decipher.setAAD(this.#endBound(dataBytes));
    try {
      decipher.final();
    } catch (error) {
      throw damaged('its end does not open', error);
    }
    const nonce = Buffer.from(mark.subarray(12, 24));
    nonce[0] = TAIL_NONCE;
    this.#tail = isAfterTail ? { index: sealedChunkCount(dataBytes) - 1, nonce } : null;
    return dataBytes;
  }

  #decipher(nonce: Uint8Array, tag: Uint8Array) {
    return createDecipheriv(ALGORITHM, this.#key, nonce, {
      authTagLength: SEALED_TAG_BYTES,
    }).setAuthTag(tag);
  }

  #bind(index: number, flag: number): Uint8Array {
    this.#bound.writeUInt32BE(index, SEALED_HEADER_BYTES);
    this.#bound[SEALED_HEADER_BYTES + 4] = flag;
    return this.#bound.subarray(0, SEALED_HEADER_BYTES + 5);
  }

  #endBound(dataBytes: number): Uint8Array {
    this.#bound.writeUInt32BE(sealedChunkCount(dataBytes), SEALED_HEADER_BYTES);
    this.#bound[SEALED_HEADER_BYTES + 4] = END_FLAG;
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
