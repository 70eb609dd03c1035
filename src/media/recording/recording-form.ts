/** What the bytes of a recording are: samples as they come (the WAV that readers get), or Ogg/Opus. */
import { WAV_FRAME_BYTES, WAV_HEADER_BYTES, wavDurationMs } from '#lib/wav.ts';

/** Samples in, bytes of the file out. One call at a time; what rejects has changed nothing and may be tried again. */
export type RecordingForm = {
  /** The bytes that `samples` (stereo, 16 bit) have completed. */
  add(samples: Uint8Array): Promise<readonly Uint8Array[]>;
  /** The bytes that end the file. */
  end(): Promise<readonly Uint8Array[]>;
  /** How much is heard of a file that ends after so many bytes, ms: of all that was given, or the end of a chunk. */
  durationMs(bytes: number): number;
  /** What a reader gets for so many bytes of the file. */
  readerBytes(bytes: number): number;
  /** More than a chunk is heard in each chunk: what is gathered is kept on disk before it is one. */
  readonly isDense: boolean;
  close(): void;
};

/** The samples themselves; readers make the header. */
export class SamplesForm implements RecordingForm {
  readonly isDense = false;

  add(samples: Uint8Array): Promise<readonly Uint8Array[]> {
    return Promise.resolve([samples]);
  }

  end(): Promise<readonly Uint8Array[]> {
    return Promise.resolve([]);
  }

  durationMs(bytes: number): number {
    return wavDurationMs(bytes);
  }

  readerBytes(bytes: number): number {
    return WAV_HEADER_BYTES + bytes - (bytes % WAV_FRAME_BYTES);
  }

  close(): void {
    // Holds nothing.
  }
}
