/**
 * How loud the place is that the caller calls from, and from where on a sound stands out of it. The floor is the quietest
 * of the last seconds, so it follows a step up also while the detector takes the noise for speech; the margin above it
 * is learnt from how much the noise swings. Levels are RMS of 16-bit frames of 20 ms; allocates nothing.
 */

/** Silence of A-law is 8, comfort noise about as much: a line that is cut off between words tells nothing of the place. */
const CUT_OFF = 10;
/** About -44 dBm0: nothing below is speech. */
const LEAST_GATE_DB = 40;
/** Where the floor is assumed before any quiet frame was heard: steady noise at the start is then not speech. */
const FIRST_FLOOR_DB = 50.4;
/** Of a line that has been nothing but cut off so far. */
const CLEAN_FLOOR_DB = 30;
const CLEAN_AFTER_FRAMES = 2;
/** The quietest of 10 frames each: 1.6 s of them count, 3 s while somebody speaks, whose words leave gaps. */
const BLOCK_FRAMES = 10;
const BLOCKS = 15;
const BLOCKS_QUIET = 8;
/** Speech stands out by what noise swings and this much more, within these bounds. */
const OVER_SWING_DB = 3;
const LEAST_MARGIN_DB = 5.5;
const MOST_MARGIN_DB = 15;
const FIRST_SWING_DB = 5;
/** The swing is what 19 of 20 frames of noise stay under. */
const SWING_STEP_DB = 0.5;
const SWING_QUANTILE = 0.95;
/** A frame that sounds like speech and is below the gate may be the caller speaking low: it counts this much. */
const VOICED_SHARE = 0.25;
/** What began like speech and was none tells that the margin is too small. */
const MISTAKEN_DB = 1.5;

export class NoiseFloor {
  readonly #blocks = new Float64Array(BLOCKS).fill(FIRST_FLOOR_DB);
  #block = 0;
  #frames = 0;
  #lowest = Number.POSITIVE_INFINITY;
  #smoothDb = FIRST_FLOOR_DB;
  #floorDb = FIRST_FLOOR_DB;
  #swingDb = FIRST_SWING_DB;
  #silent = 0;
  /** Level of the frame before; NaN: none that counts. */
  #heldDb = Number.NaN;
  #isNew = true;

  /** The level that speech exceeds. */
  get gate(): number {
    return this.#over(Math.min(MOST_MARGIN_DB, this.#swingDb + OVER_SWING_DB));
  }

  /** The level of what may be a sound of its own, however much the place swings. */
  get leastGate(): number {
    return this.#over(LEAST_MARGIN_DB);
  }

  /**
   * A frame that is not the agent's own voice or a key's tone. `isVoiced`: the detector takes it for speech by its sound;
   * `isSpeaking`: it is part of what was told as speech.
   */
  hear(level: number, isVoiced: boolean, isSpeaking: boolean): void {
    if (level < CUT_OFF) return this.#cutOff();
    const db = 20 * Math.log10(level);
    // A frame that is cut off in its middle is quieter than the place: first and last of what is heard do not count.
    if (!Number.isNaN(this.#heldDb)) this.#lower(this.#heldDb);
    this.#heldDb = this.#silent > 0 ? Number.NaN : db;
    this.#silent = 0;
    if (++this.#frames === BLOCK_FRAMES) this.#endBlock(isSpeaking);
    if (isSpeaking) return;
    const isOver = db - this.#floorDb > this.#swingDb;
    const share = isOver && isVoiced ? VOICED_SHARE : 1;
    this.#swingDb += share * SWING_STEP_DB * (isOver ? SWING_QUANTILE : SWING_QUANTILE - 1);
    this.#swingDb = Math.min(this.#swingDb, MOST_MARGIN_DB);
  }

  /** What had been told as speech was too short to be any. */
  mistaken(): void {
    this.#swingDb = Math.min(this.#swingDb + MISTAKEN_DB, MOST_MARGIN_DB);
  }

  #over(marginDb: number): number {
    const margin = Math.max(LEAST_MARGIN_DB, marginDb);
    return 10 ** (Math.max(LEAST_GATE_DB, this.#floorDb + margin) / 20);
  }

  #lower(db: number): void {
    this.#smoothDb += (db - this.#smoothDb) * (db < this.#smoothDb ? 0.5 : 0.3);
    this.#lowest = Math.min(this.#lowest, this.#smoothDb);
    this.#floorDb = Math.min(this.#floorDb, this.#lowest);
    this.#isNew = false;
  }

  #cutOff(): void {
    this.#heldDb = Number.NaN;
    this.#silent++;
    // What lets nothing through between words has words alone behind it: their quietest is no place's noise, and a gate
    // above it would shut out the caller, a little more with each thing he says.
    if (this.#silent % BLOCK_FRAMES === 0 && !this.#isNew) {
      this.#lowest = CLEAN_FLOOR_DB;
      this.#smoothDb = CLEAN_FLOOR_DB;
      this.#endBlock(false);
    }
    if (this.#silent < CLEAN_AFTER_FRAMES || !this.#isNew) return;
    this.#blocks.fill(CLEAN_FLOOR_DB);
    this.#floorDb = CLEAN_FLOOR_DB;
    this.#smoothDb = CLEAN_FLOOR_DB;
    this.#isNew = false;
  }

  #endBlock(isSpeaking: boolean): void {
    this.#blocks[this.#block] = this.#lowest;
    this.#block = (this.#block + 1) % BLOCKS;
    this.#frames = 0;
    this.#lowest = Number.POSITIVE_INFINITY;
    const count = isSpeaking ? BLOCKS : BLOCKS_QUIET;
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 1; i <= count; i++)
      lowest = Math.min(lowest, this.#blocks[(this.#block + BLOCKS - i) % BLOCKS] as number);
    this.#floorDb = lowest;
  }
}
