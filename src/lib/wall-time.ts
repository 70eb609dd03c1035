/** What the clocks of a time zone show at an instant. */

export type WallTime = {
  /** The local calendar day, as the Unix ms of that day's midnight in UTC. */
  readonly dayMs: number;
  /** Minute of the local day by the clock on the wall, 0..1439, also on days when clocks change. */
  readonly minute: number;
};

/** Making a formatter costs a thousand times its use; there are only as many as there are time zones. */
type Zone = { readonly formatter: Intl.DateTimeFormat; minute: number; wall: WallTime | null };
const zones = new Map<string, Zone>();
const MAX_ZONES = 1_000;
const MINUTE_MS = 60_000;
/** Since then every offset is a whole number of minutes (Liberia was the last). */
const WHOLE_MINUTES_SINCE_MS = Date.UTC(1973, 0, 1);

/** `timeZone` is an IANA name, `ms` Unix time from the year 100 on. Errors: RangeError for an unknown zone. */
export function wallTimeAt(ms: number, timeZone: string): WallTime {
  const zone = zoneOf(timeZone);
  const minute = Math.floor(ms / MINUTE_MS);
  // Calls that arrive within one minute, and the rules of one call, ask for the same answer.
  if (zone.wall !== null && zone.minute === minute && ms >= WHOLE_MINUTES_SINCE_MS)
    return zone.wall;
  zone.minute = minute;
  zone.wall = readWall(zone.formatter, ms);
  return zone.wall;
}

function readWall(formatter: Intl.DateTimeFormat, ms: number): WallTime {
  const shown = formatter.format(ms).match(/\d+/g) ?? [];
  const [month = 1, day = 1, year = 1970, hour = 0, minute = 0] = shown.map(Number);
  return { dayMs: Date.UTC(year, month - 1, day), minute: hour * 60 + minute };
}

/** True for an IANA name that this platform knows; offsets such as `+08:00` are none. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+\-/]{0,63}$/.test(name)) return false;
  try {
    zoneOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function zoneOf(timeZone: string): Zone {
  const known = zones.get(timeZone);
  if (known !== undefined) return known;
  const formatter = new Intl.DateTimeFormat('en-US-u-nu-latn', {
    timeZone,
    calendar: 'gregory',
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  });
  // A name is known in any capitals, so a client could make very many.
  if (zones.size >= MAX_ZONES) zones.clear();
  const zone = { formatter, minute: Number.NaN, wall: null };
  zones.set(timeZone, zone);
  return zone;
}
