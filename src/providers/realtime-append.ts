/** The message that carries a frame of the caller's sound, fifty a second and call: written into the same bytes each time. */
import { base64Length, writeBase64 } from '#lib/base64.ts';

const HEAD = '{"type":"input_audio_buffer.append","audio":"';
const TAIL = '"}';

export class AppendMessage {
  #bytes = Buffer.alloc(0);

  /** UTF-8 of the message; used again by the next call. */
  of(audio: Uint8Array): Buffer {
    const size = HEAD.length + base64Length(audio.length) + TAIL.length;
    if (this.#bytes.length !== size) {
      this.#bytes = Buffer.alloc(size);
      this.#bytes.write(HEAD, 'latin1');
      this.#bytes.write(TAIL, size - TAIL.length, 'latin1');
    }
    writeBase64(audio, this.#bytes, HEAD.length);
    return this.#bytes;
  }
}
