/** As kubectl shows ages: the largest unit, or two where the first is small. */
export function formatDuration(seconds: number): string {
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600), Math.floor(seconds / 60)];
  if (days >= 8) return `${days}d`;
  if (days >= 2) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (hours >= 8) return `${hours}h`;
  if (hours >= 3) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (minutes >= 10) return `${minutes}m`;
  if (minutes >= 2) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  return `${seconds}s`;
}

const prefixes = ['', 'k', 'M', 'G', 'T', 'P'];

/** A count, a size or a rate in powers of 1,000: `980`, `1.2k`, `88M`. Below ten with a decimal, unless it is whole. */
export function formatFigure(value: number): string {
  const rounded = (scaled: number): number => (scaled < 9.95 ? Math.round(scaled * 10) / 10 : Math.round(scaled));
  let [scaled, index] = [rounded(value), 0];
  for (; scaled >= 1000 && index < prefixes.length - 1; index++) scaled = rounded(value / 1000 ** (index + 1));
  return `${scaled}${prefixes[index]}`;
}

/**
 * The clock time of an instant, `08:33:20`; with its date if that is not the one of `at`: `2026-11-26 08:33:20`. Both in ISO
 * 8601.
 *
 * @param timeZone Of the IANA database; the machine's by default.
 */
export function formatTime(instant: string, at: string, timeZone?: string): string {
  const [date, time] = localTime(instant, timeZone);
  return date === localTime(at, timeZone)[0] ? time : `${date} ${time}`;
}

function localTime(instant: string, timeZone: string | undefined): readonly [date: string, time: string] {
  const text = new Date(instant).toLocaleString('sv-SE', { timeZone }); // Sweden writes ISO 8601
  const [date = '', time = ''] = text.split(' ');
  return [date, time];
}
